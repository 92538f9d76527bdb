//! Makes `offered.txt` out of the WIT of every interface that is offered, and holds the linker to it.
//!
//! A component that imports all of it is built; what it imports is read as any component's is, and it must link.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasmtime::component::Linker;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, TypeDefKind, WorldItem, WorldKey};

use super::{Guest, OFFERED, SURFACE, add_to_linker};
use crate::engine::{Engine, EngineConfig, surface};
use crate::surface::{HostSurface, Surface};

/// Where the WIT of WASI lies that the linker's functions are made of.
fn wasi() -> PathBuf {
    // Packages of other platforms were never fetched.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", &platform()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == "wasmtime-wasi").expect("wasmtime-wasi");
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a directory").join("src/p2/wit")
}

/// The platform of this compiler, as cargo calls it.
fn platform() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8(output.stdout).expect("a text");
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc says for whom it was built").to_owned()
}

/// A component that imports everything there is in the interfaces that are offered.
fn probe() -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(wasi()).expect("the WIT of WASI");
    crate::test_guest::of_world::push_wit(&mut resolve);
    let imports = OFFERED.iter().fold(String::new(), |imports, interface| format!("{imports} import {interface};"));
    let package = resolve
        .push_str("probe.wit", &format!("package test:probe; world probe {{ {imports} }}"))
        .expect("every interface that is offered is in the WIT");
    let world = resolve.select_world(&[package], Some("probe")).expect("the world");
    let mut module = "(module".to_owned();
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else { panic!("only interfaces are imported") };
        let interface = match key {
            WorldKey::Interface(id) => resolve.id_of(*id).expect("it has a name"),
            WorldKey::Name(name) => name.clone(),
        };
        assert!(OFFERED.contains(&interface.as_str()), "{interface} is used by what is offered");
        for function in resolve.interfaces[*id].functions.values() {
            let (params, results) = core_type(&resolve, function);
            let _ = writeln!(module, "(import \"{interface}\" \"{}\" (func {params} {results}))", function.name);
        }
        let types = resolve.interfaces[*id].types.iter();
        for (name, _) in types.filter(|(_, id)| matches!(resolve.types[**id].kind, TypeDefKind::Resource)) {
            let _ = writeln!(module, "(import \"{interface}\" \"[resource-drop]{name}\" (func (param i32)))");
        }
    }
    module.push_str("(memory (export \"memory\") 1) (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable))");
    let mut module = wat::parse_str(&module).expect("a module");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world is embedded");
    ComponentEncoder::default().module(&module).expect("a module of this world").encode().expect("a component")
}

fn core_type(resolve: &Resolve, function: &Function) -> (String, String) {
    let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
    let list = |word: &str, types: &[WasmType]| {
        let words = types.iter().map(|ty| match ty {
            WasmType::I64 | WasmType::PointerOrI64 => " i64",
            WasmType::F32 => " f32",
            WasmType::F64 => " f64",
            WasmType::I32 | WasmType::Pointer | WasmType::Length => " i32",
        });
        format!("({word}{})", words.collect::<String>())
    };
    let results = if signature.results.is_empty() { String::new() } else { list("result", &signature.results) };
    (list("param", &signature.params), results)
}

#[test]
fn what_the_host_says_it_offers_is_what_the_wit_has_and_all_of_it_links() {
    let probe = probe();
    let offered = surface(&probe).expect("a surface");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/host/offered.txt");
    expect_test::expect_file![path].assert_eq(offered.text());
    let words: Vec<&str> = offered.imports().iter().map(|interface| interface.name).collect();
    let unread: Vec<&&str> = OFFERED.iter().filter(|interface| !words.contains(interface)).collect();
    assert!(unread.is_empty(), "{unread:?}");

    let engine = Engine::new(&EngineConfig::default()).expect("an engine");
    let mut linker: Linker<Guest> = Linker::new(engine.wasmtime());
    add_to_linker(&mut linker).expect("a linker");
    let compiled = engine.compile_for_test(&probe).expect("it compiles");
    linker.instantiate_pre(compiled.component()).map(drop).expect("all of it links");
}

#[test]
fn what_is_not_in_an_interface_that_is_offered_is_told_and_all_that_is_fits() {
    let surface_of = |text: &str| -> Surface { serde_json::from_value(text.into()).expect("a text") };
    let all = surface_of(SURFACE.items);
    assert!(SURFACE.unfit(&all).is_empty() && SURFACE.missing(&all).is_empty());
    let send = "import airssys:component/messaging@0.1.0\n send func(link: string)\n send-soon func()\n";
    let unfit = SURFACE.unfit(&surface_of(send));
    let told: Vec<(&str, bool)> = unfit.iter().map(|unfit| (&*unfit.item, unfit.signatures.is_some())).collect();
    assert_eq!(told, [("send", true), ("send-soon", false)]);
    assert!(unfit[1].there.contains(&"send"));
    // A host that says nothing of what is in its interfaces objects to nothing.
    assert!(HostSurface { items: "", ..SURFACE }.unfit(&surface_of(send)).is_empty());
}
