use proptest::prelude::*;

use super::*;

const HOST: HostSurface<'static> = HostSurface {
    offers: &["airssys:component/log@0.1.0", "wasi:io/streams@0.2.12"],
    items: "",
    calls: &[
        "airssys:component/lifecycle@0.1.0",
        "airssys:component/message-handler@0.1.0",
        "airssys:component/reconfiguration@0.1.0",
    ],
    relays: &["airssys:component/message-handler@0.1.0"],
    asks: &[],
    reconfigures: "airssys:component/reconfiguration@0.1.0",
};

/// From lines such as `export a:b/c@1.0.0 f func()`.
fn surface(lines: &[&str]) -> Surface {
    let mut builder = SurfaceBuilder::default();
    for line in lines {
        let mut words = line.splitn(4, ' ');
        let side = if words.next() == Some("import") { Side::Import } else { Side::Export };
        let interface = words.next().unwrap();
        builder.interface(side, interface).unwrap();
        if let (Some(item), Some(signature)) = (words.next(), words.next()) {
            builder.item(side, interface, item, signature).unwrap();
        }
    }
    builder.finish()
}

fn verdict(before: &[&str], after: &[&str]) -> Verdict {
    surface(after).compare(&surface(before), &HOST).verdict
}

#[test]
fn a_surface_reads_back_as_it_was_built() {
    let built = surface(&["export a:b/c@1.0.0 f func(x: u32)", "import d:e/f g func()", "import d:e/types"]);
    expect_test::expect![[r#"
        import d:e/f
         g func()
        import d:e/types
        export a:b/c@1.0.0
         f func(x: u32)
    "#]]
    .assert_eq(&built.0);
    let imports = built.imports();
    assert_eq!((imports.len(), imports[0].name, &*imports[0].items), (2, "d:e/f", &[("g", "func()")][..]));
    assert!(imports[1].items.is_empty());
    assert_eq!(built.exports(), [Interface { name: "a:b/c@1.0.0", items: vec![("f", "func(x: u32)")] }]);
    let text = serde_json::to_string(&built).unwrap();
    assert_eq!(serde_json::from_str::<Surface>(&text).unwrap(), built);
}

#[test]
fn no_name_can_pass_for_another_line() {
    let mut builder = SurfaceBuilder::default();
    builder.item(Side::Export, "a b\nexport c", "f\n", "func()\nexport d").unwrap();
    let built = builder.finish();
    let exports = built.exports();
    assert_eq!(exports.len(), 1);
    assert_eq!(exports[0].name, "a\\u{20}b\\nexport\\u{20}c");
    assert_eq!(exports[0].items, [("f\\n", "func()\\nexport d")]);
}

#[test]
fn long_signatures_are_kept_by_their_digest_and_too_much_is_refused() {
    let long = |end: &str| format!("func({}{end})", "ä".repeat(400));
    let kept = |signature: &str| surface(&[&format!("export a:b/c f {signature}")]);
    assert_eq!(kept(&long("x")), kept(&long("x")));
    assert_ne!(kept(&long("x")), kept(&long("y")));
    assert!(kept(&long("x")).0.len() < 250);

    let mut builder = SurfaceBuilder::default();
    let all: Result<(), TooLarge> =
        (0..=MAX_SURFACE_ITEMS).try_for_each(|n| builder.item(Side::Import, "a:b/c", &format!("f{n}"), "func()"));
    assert_eq!(all, Err(TooLarge::Items));
    let mut builder = SurfaceBuilder::default();
    let name = "x".repeat(1 << 10);
    let all: Result<(), TooLarge> = (0..300).try_for_each(|n| builder.interface(Side::Import, &format!("{name}{n}")));
    assert_eq!(all, Err(TooLarge::Bytes));
}

#[test]
fn what_goes_or_changes_is_breaking_and_what_comes_is_not() {
    let both = &["export a:b/c@1.0.0 f func()", "export a:b/c@1.0.0 g func()"];
    assert_eq!(verdict(both, both), Verdict::Identical);
    assert_eq!(verdict(&both[..1], both), Verdict::Additive);
    assert_eq!(verdict(both, &both[..1]), Verdict::Breaking);
    assert_eq!(verdict(&["export a:b/c@1.0.0 f func()"], &["export a:b/c@1.0.0 f func(x: u32)"]), Verdict::Breaking);
    assert_eq!(verdict(&["export a:b/c@1.0.0 f func()"], &[]), Verdict::Breaking);
    assert_eq!(verdict(&["export a:b/empty@1.0.0"], &[]), Verdict::Breaking);
    // Imports break nobody.
    assert_eq!(verdict(&["import a:b/c@1.0.0 f func()"], &[]), Verdict::Additive);
    assert_eq!(verdict(&[], &["import a:b/c@1.0.0 f func()"]), Verdict::Additive);
}

#[test]
fn versions_of_one_line_are_the_same_interface() {
    let export = |version: &str| format!("export a:b/c@{version} f func()");
    for (before, after, expected) in [
        ("1.0.0", "1.4.2", Verdict::Identical),
        ("1.4.2", "1.0.0", Verdict::Identical),
        ("0.2.0", "0.2.12", Verdict::Identical),
        ("1.0.0", "2.0.0", Verdict::Breaking),
        ("0.2.0", "0.3.0", Verdict::Breaking),
        ("0.0.1", "0.0.2", Verdict::Breaking),
        ("1.0.0-rc.1", "1.0.0", Verdict::Breaking),
    ] {
        assert_eq!(verdict(&[&export(before)], &[&export(after)]), expected, "{before} -> {after}");
        assert_eq!(satisfies(&format!("a:b/c@{after}"), &format!("a:b/c@{before}")), expected == Verdict::Identical);
    }
    assert!(satisfies("a:b/c", "a:b/c") && !satisfies("a:b/c", "a:b/c@1.0.0"));
}

#[test]
fn what_only_the_host_calls_may_go_and_what_others_reach_may_not() {
    let lifecycle = "export airssys:component/lifecycle@0.1.0 init func(config: string)";
    let handler = "export airssys:component/message-handler@0.1.0 handle func()";
    assert_eq!(verdict(&[lifecycle, handler], &[handler]), Verdict::Additive);
    assert_eq!(verdict(&[lifecycle, handler], &[lifecycle]), Verdict::Breaking);
    let comparison = surface(&[handler]).compare(&surface(&[lifecycle, handler]), &HOST);
    assert_eq!(comparison.exports.removed, ["airssys:component/lifecycle@0.1.0"]);
}

#[test]
fn a_missing_import_is_named_with_what_is_near_it() {
    let wants = surface(&[
        "import airssys:component/log@0.2.0 log func()",
        "import wasi:io/streams@0.2.0 f func()",
        "import acme:other/streams@1.0.0 f func()",
        "import acme:db/query@1.0.0 f func()",
        "import acme:db/types@1.0.0",
    ]);
    let missing = HOST.missing(&wants);
    let missing: Vec<(&str, Option<&str>)> = missing.iter().map(|m| (m.name.as_str(), m.near.as_deref())).collect();
    assert_eq!(
        missing,
        [
            ("acme:db/query@1.0.0", None),
            ("acme:other/streams@1.0.0", Some("wasi:io/streams@0.2.12")),
            ("airssys:component/log@0.2.0", Some("airssys:component/log@0.1.0")),
        ]
    );
}

/// Interfaces of few names, in versions of two lines, with functions of few signatures.
fn any_surface() -> impl Strategy<Value = Surface> {
    let line = (any::<bool>(), 0..3u8, 0..4usize, proptest::option::of((0..3u8, 0..2u8)));
    proptest::collection::vec(line, 0..8).prop_map(|lines| {
        let mut builder = SurfaceBuilder::default();
        for (is_import, interface, version, item) in lines {
            let side = if is_import { Side::Import } else { Side::Export };
            let interface = format!("a:b/i{interface}@{}", ["1.0.0", "1.2.0", "2.0.0", "0.0.1"][version]);
            builder.interface(side, &interface).unwrap();
            if let Some((name, signature)) = item {
                builder.item(side, &interface, &format!("f{name}"), &format!("func(s{signature})")).unwrap();
            }
        }
        builder.finish()
    })
}

fn compared(before: &Surface, after: &Surface) -> Verdict {
    after.compare(before, &HOST).verdict
}

proptest! {
    #[test]
    fn every_surface_is_identical_to_itself(surface in any_surface()) {
        let comparison = surface.compare(&surface, &HOST);
        prop_assert_eq!(comparison.verdict, Verdict::Identical);
        prop_assert!(comparison.exports.is_empty() && comparison.imports.is_empty());
    }

    #[test]
    fn steps_that_break_nobody_break_nobody_together(
        a in any_surface(), b in any_surface(), c in any_surface(),
    ) {
        if compared(&a, &b) != Verdict::Breaking && compared(&b, &c) != Verdict::Breaking {
            prop_assert_ne!(compared(&a, &c), Verdict::Breaking);
        }
    }

    #[test]
    fn what_comes_one_way_goes_the_other(a in any_surface(), b in any_surface()) {
        let (there, back) = (b.compare(&a, &HOST), a.compare(&b, &HOST));
        prop_assert_eq!(there.exports.added.len(), back.exports.removed.len());
        prop_assert_eq!(there.exports.changed.len(), back.exports.changed.len());
        prop_assert_eq!(there.verdict == Verdict::Identical, back.verdict == Verdict::Identical);
        let is_break = !there.exports.removed.is_empty() || !there.exports.changed.is_empty();
        prop_assert_eq!(there.verdict == Verdict::Breaking, is_break);
    }

    #[test]
    fn adding_exports_is_never_breaking_and_taking_one_away_always_is(a in any_surface(), b in any_surface()) {
        let mut builder = SurfaceBuilder::default();
        for surface in [&b, &a] {
            for (side, interfaces) in [(Side::Import, surface.imports()), (Side::Export, surface.exports())] {
                for interface in interfaces.iter().filter(|_| side == Side::Export) {
                    builder.interface(side, interface.name).unwrap();
                    for (item, signature) in &interface.items {
                        builder.item(side, interface.name, item, signature).unwrap();
                    }
                }
            }
        }
        let only_new: Vec<_> = b.exports().iter().map(|i| version::line(i.name)).collect();
        let is_apart = a.exports().iter().all(|i| !only_new.contains(&version::line(i.name)));
        if is_apart {
            let more = builder.finish();
            prop_assert_ne!(compared(&a, &more), Verdict::Breaking);
            prop_assert_eq!(compared(&more, &a) == Verdict::Breaking, !b.exports().is_empty());
        }
    }

    #[test]
    fn no_text_makes_reading_fail(text in "(import|export| )?[a-z \n]{0,40}(import|export| )?[a-z \n]{0,40}") {
        let surface = Surface(text.into());
        let all = surface.imports().len() + surface.exports().len();
        prop_assert!(all <= surface.0.lines().count());
        prop_assert_eq!(compared(&surface, &surface), Verdict::Identical);
    }
}
