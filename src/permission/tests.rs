mod hostile;

use std::collections::BTreeSet;

use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::document::{self, Report, Table};
use crate::test_scale::cases;

fn entry(text: &str) -> Entry {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn set(texts: &[&str]) -> Permissions {
    texts.iter().map(|text| entry(text)).collect()
}

fn read(text: &str) -> Result<Permissions, String> {
    let mut report = Report::new("x.toml", text);
    let parsed = document::parse(text, &mut report);
    let permissions = Permissions::read(Table::document(&parsed), &mut report);
    finish(permissions, report)
}

fn read_grant(text: &str) -> Result<Grant, String> {
    let mut report = Report::new("x.toml", text);
    let parsed = document::parse(text, &mut report);
    let grant = Grant::read(Table::document(&parsed), &mut report);
    finish(grant, report)
}

fn finish<T>(value: T, report: Report<'_>) -> Result<T, String> {
    if report.is_clean() {
        return Ok(value);
    }
    Err(report.into_problems().iter().map(|problem| format!("{problem}\n")).collect())
}

const EVERY_KIND: &str = r#"
fs.read = ["/data/**", "/**"]
fs.write = ["/data/out/**"]
net.connect = ["API.example.com:443", "*.example.com:*", "192.0.2.1:80", "[2001:DB8:0::1]:80"]
net.listen = ["127.0.0.1:8080", "[::1]:8080"]
env = ["TZ"]
storage = "read-write"
send = ["alerter", "*"]
receive = ["*", "notifier-eu"]
publish = ["orders.created"]
subscribe = ["orders.*", "*"]
custom.metrics = { prefix = "shop", labels = ["a", 1, 2.5, true], odd = "\u00e9" }
"#;

#[test]
fn every_kind_reads_from_toml_and_survives_json() {
    let permissions = read(EVERY_KIND).unwrap();
    let shown: Vec<String> = permissions.entries().map(ToString::to_string).collect();
    expect![[r#"
        fs.read "/**"
        fs.read "/data/**"
        fs.write "/data/out/**"
        net.connect "api.example.com:443"
        net.connect "*.example.com:*"
        net.connect "192.0.2.1:80"
        net.connect "[2001:db8::1]:80"
        net.listen "127.0.0.1:8080"
        net.listen "[::1]:8080"
        env "TZ"
        storage "read-write"
        send "*"
        send "alerter"
        receive "*"
        receive "notifier-eu"
        publish "orders.created"
        subscribe "*"
        subscribe "orders.*"
        custom.metrics {"labels":["a",1,2.5,true],"odd":"\u00e9","prefix":"shop"}"#]]
    .assert_eq(&shown.join("\n"));
    let json = serde_json::to_string(&permissions).unwrap();
    expect![[r#"{"fs":{"read":["/**","/data/**"],"write":["/data/out/**"]},"net":{"connect":["api.example.com:443","*.example.com:*","192.0.2.1:80","[2001:db8::1]:80"],"listen":["127.0.0.1:8080","[::1]:8080"]},"env":["TZ"],"storage":"read-write","send":["*","alerter"],"receive":["*","notifier-eu"],"publish":["orders.created"],"subscribe":["*","orders.*"],"custom":{"metrics":{"labels":["a",1,2.5,true],"odd":"é","prefix":"shop"}}}"#]].assert_eq(&json);
    assert_eq!(serde_json::from_str::<Permissions>(&json).unwrap(), permissions);
    assert_eq!(serde_json::to_string(&Permissions::none()).unwrap(), "{}");
}

#[test]
fn problems_are_reported_all_at_once_at_their_own_place() {
    let bad = r#"
fs.read = ["/data", "data/**"]
fs.execute = ["/bin/**"]
net.connect = ["example.com"]
storage = "all"
send = "alerter"
custom.Big = { when = 2026-01-01 }
http = ["x"]
"#;
    expect![[r#"
        error: `fs.read[0]` can't be "/data": a permission is for a whole directory tree and ends with `/**`, as in `/data/**`; single files and other patterns can't be granted
         --> x.toml:2:12
          |
        2 | fs.read = ["/data", "data/**"]
          |            ^^^^^^^

        error: `fs.read[1]` can't be "data/**": the path must be absolute, as in `/data/**`
         --> x.toml:2:21
          |
        2 | fs.read = ["/data", "data/**"]
          |                     ^^^^^^^^^

        error: unknown key `fs.execute`
         --> x.toml:3:4
          |
        3 | fs.execute = ["/bin/**"]
          |    ^^^^^^^
          = help: known here: read, write

        error: `net.connect[0]` can't be "example.com": it is written `host:port`, as in `api.example.com:443`; `*` as the port means every port
         --> x.toml:4:16
          |
        4 | net.connect = ["example.com"]
          |                ^^^^^^^^^^^^^

        error: `storage` can't be "all": it is one of `none`, `read-only`, `read-write` and `admin`
         --> x.toml:5:11
          |
        5 | storage = "all"
          |           ^^^^^

        error: `send` must be an array, not a string
         --> x.toml:6:8
          |
        6 | send = "alerter"
          |        ^^^^^^^^^
          = help: put it in brackets: ["alerter"]

        error: `custom.Big`: the name of a custom permission is a-z, 0-9 and inner hyphens, at most 64 characters
         --> x.toml:7:8
          |
        7 | custom.Big = { when = 2026-01-01 }
          |        ^^^

        error: `custom.Big.when` holds datetime, which has no form in JSON
         --> x.toml:7:23
          |
        7 | custom.Big = { when = 2026-01-01 }
          |                       ^^^^^^^^^^
          = help: write it as a string

        error: unknown key `http`
         --> x.toml:8:1
          |
        8 | http = ["x"]
          | ^^^^
          = help: known here: fs, net, env, storage, send, receive, publish, subscribe, custom

    "#]]
    .assert_eq(&read(bad).unwrap_err());
}

#[test]
fn a_custom_table_is_as_deep_in_json_as_it_can_be_in_a_file() {
    let table = |levels: usize| format!("{{ a = {}{} }}", "[".repeat(levels), "]".repeat(levels));
    let json = |levels: usize| format!("custom.x {}", table(levels).replace("a =", "\"a\":")).parse::<Entry>();
    let is_read = |levels: &usize| {
        // The key is unknown here, and found: the document is not too deep.
        let text = format!("[permissions]\ncustom.x = {}", table(*levels));
        read(&text).is_err_and(|error| error.contains("unknown key `permissions`"))
    };
    let deepest = (1..100).take_while(is_read).last().unwrap();
    assert!(json(deepest).is_ok() && json(deepest + 1).is_err(), "{deepest}");
}

#[test]
fn json_of_another_shape_is_refused() {
    for bad in [
        r#"{"fs":{"execute":["/x/**"]}}"#,
        r#"{"http":[]}"#,
        r#"{"send":["A"]}"#,
        r#"{"storage":"all"}"#,
        r#"{"custom":{"x":1}}"#,
        r#"{"custom":{"x":{"a":null}}}"#,
        r#"{"custom":{"x":{"a":[9223372036854775808]}}}"#,
        r#"{"fs":{"read":["/a/../b/**"]}}"#,
    ] {
        assert!(serde_json::from_str::<Permissions>(bad).is_err(), "{bad}");
    }
}

/// Every pair of the list, as a table of who includes whom.
#[test]
fn inclusion_is_as_the_grammar_says() {
    let includes = [
        ("fs.read /**", "fs.read /etc/**"),
        ("fs.read /data/**", "fs.read /data/**"),
        ("fs.read /data/**", "fs.read /data/a/b/**"),
        ("fs.write /data/**", "fs.read /data/a/**"),
        ("net.connect *.example.com:*", "net.connect api.example.com:443"),
        ("net.connect *.example.com:443", "net.connect a.b.c.example.com:443"),
        ("net.connect *.example.com:*", "net.connect *.api.example.com:*"),
        ("net.connect example.com:*", "net.connect EXAMPLE.com:1"),
        ("net.connect [::1]:*", "net.connect [0:0::1]:9"),
        ("storage admin", "storage read-write"),
        ("storage read-write", "storage read-only"),
        ("send *", "send alerter"),
        ("receive *", "receive alerter"),
        ("publish orders.*", "publish orders.created"),
        ("publish *", "publish orders"),
        ("subscribe a.b.*", "subscribe a.b.c"),
        ("custom.x {\"a\": 1, \"b\": 2}", "custom.x {\"b\":2,\"a\":1}"),
    ];
    for (wide, narrow) in includes {
        assert!(entry(wide).covers(&entry(narrow)), "{wide} > {narrow}");
        assert_eq!(entry(wide).meet(&entry(narrow)), Some(entry(narrow)));
        assert_eq!(entry(narrow).meet(&entry(wide)), Some(entry(narrow)));
    }
    let excludes = [
        ("fs.read /data/**", "fs.read /database/**"),
        ("fs.read /data/**", "fs.read /**"),
        ("fs.read /data/**", "fs.write /data/**"),
        ("fs.read /data/**", "fs.read /DATA/**"),
        ("net.connect *.example.com:*", "net.connect example.com:443"),
        ("net.connect *.example.com:*", "net.connect example.com.evil.org:443"),
        ("net.connect *.example.com:*", "net.connect badexample.com:443"),
        ("net.connect *.example.com:*", "net.connect *.com:443"),
        ("net.connect *.example.com:443", "net.connect api.example.com:4433"),
        ("net.connect *.example.com:443", "net.connect api.example.com:*"),
        ("net.connect 10.0.0.1:*", "net.connect 10.0.0.10:80"),
        ("net.listen 0.0.0.0:80", "net.listen 127.0.0.1:80"),
        ("env TZ", "env TZDIR"),
        ("storage read-only", "storage read-write"),
        ("send alerter", "send *"),
        ("send alert", "send alerter"),
        ("publish orders.*", "publish orders.created.eu"),
        ("publish orders.*", "publish orders"),
        ("publish orders.*", "subscribe orders.created"),
        ("custom.x {\"a\":1}", "custom.x {\"a\":1,\"b\":2}"),
        ("custom.x {\"a\":1}", "custom.y {\"a\":1}"),
    ];
    for (one, other) in excludes {
        assert!(!entry(one).covers(&entry(other)), "{one} must not include {other}");
    }
}

#[test]
fn two_connection_patterns_meet_in_both_directions_at_once() {
    let met = entry("net.connect *.example.com:443").meet(&entry("net.connect api.example.com:*"));
    assert_eq!(met, Some(entry("net.connect api.example.com:443")));
    assert_eq!(entry("net.connect *.example.com:443").meet(&entry("net.connect *.example.com:80")), None);
    let met = entry("fs.read /data/**").meet(&entry("fs.write /data/out/**"));
    assert_eq!(met, Some(entry("fs.read /data/out/**")));
}

fn patterns() -> impl Strategy<Value = Entry> {
    let text = prop_oneof![
        3 => "fs\\.(read|write) (/a|/ab|/b|/a/b|/a/b/c|)/\\*\\*",
        4 => "net\\.connect (\\*\\.)?(a\\.com|b\\.a\\.com|c\\.b\\.a\\.com|ba\\.com|com):(\\*|1|2)",
        1 => "net\\.connect (10\\.0\\.0\\.1|\\[::1\\]):(\\*|1)",
        1 => "net\\.listen 127\\.0\\.0\\.1:(80|81)",
        1 => "env (A|B)",
        1 => "storage (read-only|read-write|admin)",
        2 => "(send|receive) (a|b|\\*)",
        2 => "(publish|subscribe) (a|a\\.b|a\\.\\*|b\\.\\*|\\*)",
        1 => "custom\\.(x|y) \\{\"a\":(1|2)\\}",
    ];
    text.prop_map(|text| entry(&text))
}

fn sets() -> impl Strategy<Value = Permissions> {
    proptest::collection::vec(patterns(), 0..8).prop_map(|entries| entries.into_iter().collect())
}

fn declined() -> impl Strategy<Value = BTreeSet<Declined>> {
    let one =
        prop_oneof![patterns().prop_map(|entry| Declined::Kind(entry.kind())), patterns().prop_map(Declined::Entry)];
    proptest::collection::btree_set(one, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(500)))]

    #[test]
    fn text_and_json_lose_nothing(set in sets()) {
        for entry in set.entries() {
            prop_assert_eq!(&entry.plain().parse::<Entry>().unwrap(), entry);
        }
        let json = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(serde_json::from_str::<Permissions>(&json).unwrap(), set);
    }

    #[test]
    fn subset_is_reflexive_transitive_and_antisymmetric_up_to_reduction(a in sets(), b in sets(), c in sets()) {
        prop_assert!(a.is_subset_of(&a));
        prop_assert!(Permissions::none().is_subset_of(&a));
        // Random sets are rarely comparable; their intersections always are.
        let ab = a.intersect(&b);
        let abc = ab.intersect(&c);
        prop_assert!(abc.is_subset_of(&ab) && ab.is_subset_of(&a) && abc.is_subset_of(&a));
        if a.is_subset_of(&b) && b.is_subset_of(&c) {
            prop_assert!(a.is_subset_of(&c));
        }
        if a.is_subset_of(&b) && b.is_subset_of(&a) {
            prop_assert_eq!(a.reduced(), b.reduced());
        }
        prop_assert!(a.is_subset_of(&a.reduced()) && a.reduced().is_subset_of(&a));
    }

    #[test]
    fn intersect_is_the_greatest_lower_bound(a in sets(), b in sets(), c in sets()) {
        let met = a.intersect(&b);
        prop_assert!(met.is_subset_of(&a) && met.is_subset_of(&b));
        prop_assert_eq!(&met, &b.intersect(&a));
        if c.is_subset_of(&a) && c.is_subset_of(&b) {
            prop_assert!(c.is_subset_of(&met));
        }
        prop_assert_eq!(a.intersect(&a), a.reduced());
    }

    #[test]
    fn meet_is_exact_for_single_entries(a in patterns(), b in patterns(), probe in patterns()) {
        let met = a.meet(&b);
        let allowed = met.as_ref().is_some_and(|met| met.covers(&probe));
        prop_assert_eq!(allowed, a.covers(&probe) && b.covers(&probe));
        prop_assert_eq!(a.covers(&b) && b.covers(&a), a == b);
    }

    #[test]
    fn effective_never_holds_what_ask_grant_or_cap_lacks(
        ask in sets(), granted in sets(), cap in sets(), without in declined(), probe in patterns(),
        observes in any::<bool>(),
    ) {
        // Who observes gets no more than who does not.
        let mode = if observes { Mode::Observe } else { Mode::Enforce };
        let grant = Grant { permissions: granted.clone(), without, mode };
        let decision = decide(&ask, &grant, &cap, ENFORCED_KINDS);
        let effective = &decision.effective;
        prop_assert!(effective.is_subset_of(&ask) && effective.is_subset_of(&granted) && effective.is_subset_of(&cap));
        if effective.includes(&probe) {
            prop_assert!(ask.includes(&probe) && granted.includes(&probe) && cap.includes(&probe));
            prop_assert_eq!(why_forbidden(&probe), None);
        }
        let listed: BTreeSet<&Entry> = decision.named.iter().chain(&decision.covered).collect();
        prop_assert_eq!(listed, effective.entries().collect());
        // Nothing is narrowed in silence.
        if !decision.is_blocked() {
            let known = |entry: &Entry| effective.includes(entry) || decision.declined.contains(entry);
            prop_assert!(ask.entries().all(known));
        }
    }

    #[test]
    fn what_all_three_allow_is_had_in_full(ask in sets(), more in sets(), most in sets()) {
        let union = |other: &Permissions| ask.entries().chain(other.entries()).cloned().collect::<BTreeSet<_>>();
        // Built as sets, so that a second storage level or custom table of the same name stays beside the first.
        let grant = Grant { permissions: Permissions { entries: union(&more) }, ..Grant::default() };
        let cap = Permissions { entries: union(&most) };
        let kinds: Vec<Kind> = ask.entries().map(Entry::kind).collect();
        let decision = decide(&ask, &grant, &cap, &kinds);
        let (forbidden, allowed): (Vec<_>, Vec<_>) = ask.entries().cloned().partition(|e| why_forbidden(e).is_some());
        prop_assert_eq!(&decision.forbidden, &forbidden);
        prop_assert_eq!(decision.is_blocked(), !forbidden.is_empty());
        if forbidden.is_empty() {
            prop_assert_eq!(decision.effective, allowed.into_iter().collect::<Permissions>().reduced());
            prop_assert_eq!(decision.covered, []);
        }
    }

    #[test]
    fn widened_means_not_a_subset_of_before(a in sets(), b in sets()) {
        let delta = Delta::between(&a, &b);
        prop_assert_eq!(delta.widened, !b.is_subset_of(&a));
        prop_assert_eq!(delta.is_empty(), a == b);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,40}") {
        let _ = text.parse::<Entry>();
        let _ = text.parse::<Declined>();
        for kind in ["fs.read", "net.connect", "net.listen", "publish", "custom.x", "env"] {
            if let Ok(entry) = format!("{kind} {text}").parse::<Entry>() {
                prop_assert_eq!(entry.plain().parse::<Entry>().unwrap(), entry);
            }
        }
    }
}

fn grant(text: &str) -> Grant {
    read_grant(text).unwrap()
}

fn shown(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}

#[test]
fn an_ask_is_named_covered_withheld_or_declined() {
    let ask = set(&["send a", "send b", "receive x", "receive y"]);
    let grant = grant("send = [\"a\"]\nreceive = [\"*\"]\nwithout = [\"receive y\"]");
    let all = set(&["send *", "receive *"]);
    let decision = decide(&ask, &grant, &all, ENFORCED_KINDS);
    assert_eq!(decision.effective, set(&["send a", "receive x"]));
    assert_eq!(shown(&decision.named), ["send \"a\""]);
    assert_eq!(shown(&decision.covered), ["receive \"x\""]);
    assert_eq!(shown(&decision.withheld), ["send \"b\""]);
    assert_eq!(shown(&decision.declined), ["receive \"y\""]);
    assert!(decision.is_blocked());
}

#[test]
fn a_declined_kind_keeps_what_was_granted_of_it() {
    let ask = set(&["receive *"]);
    let grant = grant("receive = [\"notifier-eu\"]\nwithout = [\"receive\"]");
    let decision = decide(&ask, &grant, &set(&["receive *"]), ENFORCED_KINDS);
    assert_eq!(decision.effective, set(&["receive notifier-eu"]));
    assert_eq!(shown(&decision.named), ["receive \"notifier-eu\""]);
    assert!(!decision.is_blocked());
}

#[test]
fn declining_an_ask_leaves_what_is_granted_more_narrowly() {
    let ask = set(&["net.connect *.example.com:443", "storage admin", "fs.write /data/**"]);
    let grant = grant(
        "net.connect = [\"api.example.com:*\"]\nstorage = \"read-only\"\nfs.read = [\"/data/in/**\"]\n\
         without = [\"net.connect *.example.com:*\", \"storage admin\", \"fs.write /data/**\"]",
    );
    let decision = decide(&ask, &grant, &ask, &[Kind::NetConnect, Kind::Storage, Kind::FsRead]);
    let given = set(&["net.connect api.example.com:443", "storage read-only", "fs.read /data/in/**"]);
    assert_eq!(decision.effective, given);
    assert_eq!(decision.declined.len(), 3);
    assert!(!decision.is_blocked());
}

#[test]
fn what_is_declined_is_not_given_by_a_wider_entry() {
    let ask = set(&["send alerter", "send billing", "storage read-write"]);
    let grant = grant("send = [\"*\"]\nstorage = \"admin\"\nwithout = [\"send alerter\", \"storage read-write\"]");
    let decision = decide(&ask, &grant, &set(&["send *", "storage admin"]), &[Kind::Send, Kind::Storage]);
    assert_eq!(decision.effective, set(&["send billing"]));
    assert!(!decision.is_blocked());
}

#[test]
fn declining_a_part_of_an_ask_does_not_leave_the_rest_standing_in_silence() {
    let ask = set(&["net.connect *.example.com:443"]);
    let grant = grant("net.connect = [\"*.example.com:443\"]\nwithout = [\"net.connect internal.example.com:443\"]");
    let decision = decide(&ask, &grant, &ask, &[Kind::NetConnect]);
    assert!(decision.effective.is_empty());
    assert_eq!(shown(&decision.withheld), ["net.connect \"*.example.com:443\""]);
}

#[test]
fn no_publisher_gets_more_than_its_cap_and_nobody_gets_what_nothing_enforces() {
    let ask = set(&["send a", "net.listen 127.0.0.1:8080"]);
    let all = grant("send = [\"*\"]\nnet.listen = [\"127.0.0.1:8080\"]");
    let decision = decide(&ask, &all, &Permissions::none(), ENFORCED_KINDS);
    assert_eq!(shown(&decision.over_cap), ["net.listen \"127.0.0.1:8080\"", "send \"a\""]);
    assert!(decision.effective.is_empty());
    let decision = decide(&ask, &all, &ask, &[Kind::Send]);
    assert_eq!(shown(&decision.not_enforced), ["net.listen \"127.0.0.1:8080\""]);
    assert!(decision.is_blocked());
}

#[test]
fn the_forbidden_list_wins_over_ask_grant_and_cap() {
    let forbidden = [
        "fs.write /etc/**",
        "fs.write /etc/passwd/**",
        "fs.write /boot/grub/**",
        "fs.write /sys/**",
        "fs.write /proc/1/**",
        "fs.write /dev/**",
        "fs.write /**",
        "fs.read /**",
        "fs.read /etc/**",
        "fs.read /etc/shadow/**",
        "fs.read /root/**",
        "fs.read /root/.ssh/**",
        "fs.write /root/.ssh/x/**",
        "fs.read /home/**",
        "fs.read /home/alice/**",
        "fs.read /home/alice/.ssh/**",
        "fs.write /home/bob/.ssh/id_ed25519/**",
        "net.connect localhost:22",
        "net.connect localhost:*",
        "net.connect *.localhost:22",
        "net.connect 127.0.0.1:22",
        "net.connect 127.9.9.9:*",
        "net.connect [::1]:22",
        "net.connect a.internal.secret:443",
        "net.connect *.internal.secret:*",
        "net.connect *.secret:80",
        "net.listen 0.0.0.0:22",
        "net.listen 10.0.0.1:3306",
        "net.listen [::1]:5432",
    ];
    for text in forbidden {
        let ask = set(&[text]);
        let grant = Grant { permissions: ask.clone(), ..Grant::default() };
        let decision = decide(&ask, &grant, &ask, &[entry(text).kind()]);
        assert!(decision.effective.is_empty(), "{text}");
        assert_eq!(decision.forbidden, [entry(text)], "{text}");
        assert!(decision.is_blocked());
    }
    let allowed = [
        "fs.write /etcetera/**",
        "fs.read /proc/**",
        "fs.read /home/alice/data/**",
        "fs.read /home/alice/.ssh/known/**",
        "fs.read /rooted/**",
        "fs.write /devices/**",
        "net.connect localhost:2222",
        "net.connect internal.secret:443",
        "net.connect notlocalhost:22",
        "net.connect a.xinternal.secret:1",
        "net.listen 0.0.0.0:2222",
    ];
    for text in allowed {
        assert_eq!(why_forbidden(&entry(text)), None, "{text}");
    }
}

#[test]
fn a_grant_reads_what_it_declines_and_refuses_to_grant_it_as_well() {
    let read = grant("send = [\"a\"]\nwithout = [\"net.connect\", \"send b\", \"storage read-write\"]");
    let json = serde_json::to_string(&read).unwrap();
    expect![[r#"{"permissions":{"send":["a"]},"without":["net.connect","storage read-write","send b"]}"#]]
        .assert_eq(&json);
    assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), read);
    expect![[r#"
        error: send "a" is both granted and declined
         --> x.toml:2:12
          |
        2 | without = ["send a", "sned"]
          |            ^^^^^^^^
          = help: remove one of the two lines

        error: `without[1]` can't be "sned": the kinds are fs.read, fs.write, net.connect, net.listen, env, storage, send, receive, publish, subscribe and custom.<name>
         --> x.toml:2:22
          |
        2 | without = ["send a", "sned"]
          |                      ^^^^^^

        error: unknown key `sned`
         --> x.toml:3:1
          |
        3 | sned = []
          | ^^^^
          = help: did you mean `send`?

    "#]].assert_eq(&read_grant("send = [\"a\"]\nwithout = [\"send a\", \"sned\"]\nsned = []").unwrap_err());
}

#[test]
fn the_lines_to_add_are_complete_for_their_kinds() {
    let granted = grant("send = [\"a\"]\nfs.read = [\"/data/**\"]\nstorage = \"read-only\"");
    let missing = [
        entry("send b"),
        entry("storage admin"),
        entry("net.connect [::1]:80"),
        entry("custom.x {\"a\":[1,{\"b\":\"c\\\"\"}]}"),
    ];
    let lines = granted.lines_with(&missing);
    expect![[r#"
        net.connect = ["[::1]:80"]
        storage = "admin"
        send = ["a", "b"]
        custom.x = { a = [1, { b = 'c"' }] }"#]]
    .assert_eq(&lines.join("\n"));
    let after = Grant { permissions: read(&lines.join("\n")).unwrap(), ..Grant::default() };
    assert!(missing.iter().all(|entry| after.permissions.names(entry)));
}

#[test]
fn a_table_with_too_many_entries_is_refused() {
    let names: Vec<String> = (0..=MAX_ENTRIES_PER_KIND).map(|n| format!("\"n{n}\"")).collect();
    let error = read(&format!("send = [{}]", names.join(","))).unwrap_err();
    assert!(error.contains("more than 256 entries"), "{error}");
}
