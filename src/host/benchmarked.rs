//! Holds the guests of the benchmarks to the interfaces of today: nobody runs those with every change.

use super::QuietLinker;
use crate::engine::{Engine, EngineConfig};

#[test]
fn the_guests_of_the_benchmarks_link_to_this_host() {
    let echo = wat::parse_str(include_str!("../../benches/spine/echo.wat")).expect("a component");
    let guests: [(&str, &[u8]); 3] = [
        ("echo", &echo),
        ("keeper", include_bytes!("../../benches/spine/keeper.wasm")),
        ("relay", include_bytes!("../../benches/spine/relay.wasm")),
    ];
    let engine = Engine::new(&EngineConfig::default()).expect("an engine");
    let linker = QuietLinker::new(&engine).expect("a linker");
    for (name, wasm) in guests {
        let compiled = engine.compile_for_test(wasm).expect(name);
        let linked = linker.link(&compiled).unwrap_or_else(|refused| panic!("{name}: {refused}"));
        assert!(linked.takes_messages(), "{name}");
    }
}
