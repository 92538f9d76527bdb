//! The real binary with a component behind a URL: through the worker, verified, committed.

use super::server::{Server, answer};
use crate::components::idle;
use crate::harness::{Release, World, rename_into_place, stderr, stdout};

/// Serves the files that a world publishes.
fn serving(world: &World) -> Server {
    let directory = world.component("web");
    Server::start(move |request, to| {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        match std::fs::read(directory.join(name)) {
            Ok(bytes) => answer(to, "200 OK", &[], &bytes),
            Err(_) => answer(to, "404 Not Found", &[], b""),
        }
    })
}

#[track_caller]
fn applied(world: &World, exit: i32, version: &str) -> String {
    let output = world.on_desired("apply", &[]);
    let told = format!("{}{}", stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(exit), "{told}");
    assert_eq!(world.committed()["one"], version, "{told}");
    told
}

#[test]
fn a_component_behind_a_url_is_installed_updated_and_held_when_it_is_not_the_signed_one() {
    let world = World::new();
    let publish = |version: &str, sequence| {
        let wasm = idle(version);
        world.publish("web", &Release { package: "test:idle", version, sequence, more: "", wasm: &wasm });
    };
    publish("1.0.0", 1);
    let server = serving(&world);
    let url = server.manifest();
    world.desire_text("one", &format!("package = \"test:idle\"\n\n[source.url]\nurl = \"{url}\"\n"));
    applied(&world, 0, "1.0.0");
    assert_eq!(server.paths(), ["/a/Component.toml", "/a/Component.toml.sig", "/a/component.wasm"]);

    publish("1.1.0", 2);
    applied(&world, 0, "1.1.0");

    // A manifest that nobody signed: the wasm that it names is not even asked for.
    publish("1.2.0", 3);
    let manifest = world.component("web").join("Component.toml");
    let good = std::fs::read_to_string(&manifest).expect("readable");
    rename_into_place(&manifest, good.replace("1.2.0", "9.9.9").as_bytes());
    let before = server.paths().len();
    applied(&world, 12, "1.1.0");
    assert!(server.paths()[before..].iter().all(|path| !path.ends_with(".wasm")), "{:?}", &server.paths()[before..]);

    // A wasm of the right size that is another one. It may be half updated: what was fetched before goes on.
    rename_into_place(&manifest, good.as_bytes());
    let wasm = world.component("web").join("component.wasm");
    let mut bytes = std::fs::read(&wasm).expect("readable");
    *bytes.last_mut().expect("not empty") ^= 1;
    rename_into_place(&wasm, &bytes);
    // It is not what the file asks for, though, and so not all done.
    let told = applied(&world, 12, "1.1.0");
    assert!(told.contains("[wrong-digest]"), "{told}");

    // Nothing there at all.
    std::fs::remove_file(&manifest).expect("removed");
    let told = applied(&world, 12, "1.1.0");
    assert!(told.contains("[no-manifest]"), "{told}");
    let plan = world.on_desired("plan", &[]);
    assert_eq!(plan.status.code(), Some(12), "{}{}", stdout(&plan), stderr(&plan));
}
