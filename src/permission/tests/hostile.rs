//! Hostile spellings of paths and hosts, and values that only look as if a pattern meant them.

use std::collections::BTreeSet;

use super::*;

fn hostile_paths() -> Vec<String> {
    let pieces = [
        "..",
        ".",
        "...",
        "",
        "*",
        "**",
        "a*",
        "?",
        "[ab]",
        "{a,b}",
        "~",
        "~root",
        "$HOME",
        "%2e%2e",
        "%00",
        "a\0b",
        "a\nb",
        "a\\b",
        "\\\\server",
        "\u{202e}",
        "ä",
        "a\u{308}",
        "ﬁle",
        "а",
        "\u{ff0e}\u{ff0e}",
        "%2f",
        "..;",
        "....",
        "\u{2215}",
        " a",
        "a ",
        "\t",
        "'",
        "\"",
        "`id`",
        "|",
        ";",
        "&",
        "<",
        ">",
        "#",
        "!",
        "\u{7f}",
        "\u{1b}[0m",
        "(",
        ")",
        "^",
    ];
    let mut all = Vec::new();
    for piece in pieces {
        all.push(format!("/{piece}/**"));
        all.push(format!("/data/{piece}/**"));
        all.push(format!("/data/{piece}/b/**"));
    }
    let whole = [
        "",
        "/",
        "/data",
        "/data/",
        "/data/*",
        "/data**",
        "/data/**/",
        "/data/**/x",
        "/data/***",
        "**",
        "*",
        "data/**",
        "./data/**",
        "../data/**",
        "//data/**",
        "/data//**",
        "//**",
        "file:///data/**",
        "C:/data/**",
        "~/data/**",
        " /data/**",
        "/data/** ",
        "/data/**\n",
        "/data/**\0",
        "/data/.",
        "/data/..",
        "/data/**.txt",
    ];
    all.extend(whole.map(str::to_owned));
    all.push(format!("/{}/**", "a".repeat(MAX_PATH_SEGMENT_BYTES + 1)));
    all.push(format!("{}/**", "/abc".repeat(300)));
    all
}

fn hostile_connects() -> Vec<String> {
    let hosts = [
        "",
        "*",
        "**",
        "*.",
        "*.*.com",
        "a.*",
        "a*.com",
        "*a.com",
        "*.*",
        "example.com.",
        ".example.com",
        "a..b",
        "-a.com",
        "a-.com",
        "a_b.com",
        "ä.de",
        "а.com",
        "a b.com",
        "user@a.com",
        "http://a.com",
        "a.com/",
        "a.com#",
        "a.com?",
        "a.com\\",
        "a\0.com",
        "a\n.com",
        "%61.com",
        "127.1",
        "127.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.256",
        "1.2.3.4.5",
        "1.2.3",
        "*.1.2.3.4",
        "a.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[127.0.0.1]",
        "[fe80::1%eth0]",
        "::1",
        "[::1",
        "::1]",
        "[[::1]]",
        "[a.com]",
        "[]",
        "10.0.0.0/8",
        "a,b",
        "\u{202e}moc",
        "example。com",
        "ｅxample.com",
        "ﬀ.com",
        "*.-a",
        "localhost.",
        "LOCALHOST ",
        " localhost",
        "\u{2460}27.0.0.1",
        "a\u{ad}.com",
        "xn--.",
        "e\u{301}xample.com",
        "example.com%00",
        "example.com%2e",
        "user:pass@example.com",
        "example.com:443@evil.com",
        "[::1%25lo]",
        "[0:0:0:0:0:ffff:7f00:1]",
        "[::ffff:0x7f.0.0.1]",
        "017700000001",
        "127.0.0.0x1",
        "1.2.3.4.",
        "*.0x1",
        "127.0.0.1.",
        "0x.com.0x1",
    ];
    let mut all: Vec<String> = hosts.iter().flat_map(|host| [format!("{host}:443"), format!("{host}:*")]).collect();
    let ports = [
        "",
        "0",
        "00",
        "080",
        "65536",
        "99999",
        "-1",
        "+80",
        " 80",
        "80 ",
        "8O",
        "0x50",
        "1e3",
        "80-90",
        "**",
        "*0",
        "80,81",
        "٨٠",
        "http",
        "80/tcp",
        "\n80",
        "4294967376",
    ];
    all.extend(ports.iter().flat_map(|port| [format!("example.com:{port}"), format!("[::1]:{port}")]));
    all.push("example.com".to_owned());
    all.push(format!("{}.com:1", "a".repeat(MAX_LABEL_BYTES + 1)));
    all.push(format!("{}com:1", "abcdefg.".repeat(40)));
    all
}

#[test]
fn hostile_spellings_of_paths_and_hosts_are_refused() {
    let (paths, hosts): (BTreeSet<String>, BTreeSet<String>) =
        (hostile_paths().into_iter().collect(), hostile_connects().into_iter().collect());
    assert!(paths.len() >= 150 && hosts.len() >= 180, "only {} paths and {} hosts", paths.len(), hosts.len());
    for path in &paths {
        assert!(path.parse::<Tree>().is_err(), "{path:?} was taken for a directory tree");
    }
    for host in &hosts {
        assert!(host.parse::<Connect>().is_err(), "{host:?} was taken for a host");
    }
    for bad in ["", "localhost:80", "127.0.0.1:*", "127.0.0.1:0", "*:80", "127.0.0.1", "[::ffff:1.2.3.4]:80"] {
        assert!(bad.parse::<Listen>().is_err(), "{bad:?}");
    }
    for bad in ["", "1A", "A-B", "A*", "*", "A=B", "PÄTH", "A\0", "A B"] {
        assert!(bad.parse::<EnvName>().is_err(), "{bad:?}");
    }
    for bad in ["", ".", "a.", ".a", "a..b", "*.a", "a.*.b", "a.**", "**", ">", "A", "a.b_c", "a b", "a.*b", "-a"] {
        assert!(bad.parse::<Topic>().is_err(), "{bad:?}");
    }
    for bad in ["send", "send  a", "sends a", "fs.exec /a/**", "custom. {}", "custom.x 1", "custom.x {", "storage none"]
    {
        assert!(bad.parse::<Entry>().is_err(), "{bad:?}");
    }
}

/// A pattern, a value, and whether the pattern means it.
const ROWS: &[(&str, &str, bool)] = &[
    // Trees end at slashes, not within names.
    ("fs.read /data/**", "fs.read /data/**", true),
    ("fs.read /data/**", "fs.read /data/a/**", true),
    ("fs.read /data/**", "fs.read /database/**", false),
    ("fs.read /data/**", "fs.read /data-old/**", false),
    ("fs.read /data/**", "fs.read /data.bak/a/**", false),
    ("fs.read /data/**", "fs.read /dat/**", false),
    ("fs.read /data/**", "fs.read /**", false),
    ("fs.read /data/**", "fs.read /Data/**", false),
    ("fs.read /data/**", "fs.read /srv/data/**", false),
    ("fs.read /data/**", "fs.read //data/**", false),
    ("fs.read /data/**", "fs.read /data//a/**", false),
    ("fs.read /data/**", "fs.read /data/./a/**", false),
    ("fs.read /data/**", "fs.read /data/../data/**", false),
    ("fs.read /data/**", "fs.read /data/../etc/**", false),
    ("fs.read /data/**", "fs.read /data/%2e%2e/etc/**", false),
    ("fs.read /data/**", "fs.read /data\\a/**", false),
    ("fs.read /data/**", "fs.read /data\0/**", false),
    ("fs.read /data/**", "fs.read /d\u{430}ta/**", false),
    ("fs.read /data/**", "fs.read /data /**", false),
    ("fs.read /data/a/**", "fs.read /data/a/b/c/**", true),
    ("fs.read /data/a/**", "fs.read /data/ab/**", false),
    ("fs.read /data/a/**", "fs.read /data/**", false),
    ("fs.read /data/**", "fs.write /data/**", false),
    ("fs.write /data/**", "fs.read /data/a/**", true),
    ("fs.write /data/**", "fs.read /database/**", false),
    // Domains end at dots, and a wildcard is no domain by itself.
    ("net.connect example.com:443", "net.connect example.com:443", true),
    ("net.connect example.com:443", "net.connect EXAMPLE.COM:443", true),
    ("net.connect example.com:443", "net.connect example.com.:443", false),
    ("net.connect example.com:443", "net.connect evilexample.com:443", false),
    ("net.connect example.com:443", "net.connect example.com.evil.org:443", false),
    ("net.connect example.com:443", "net.connect api.example.com:443", false),
    ("net.connect example.com:443", "net.connect example.co:443", false),
    ("net.connect example.com:443", "net.connect example-com:443", false),
    ("net.connect example.com:443", "net.connect ex\u{430}mple.com:443", false),
    ("net.connect example.com:443", "net.connect xn--exmple-4nf.com:443", false),
    ("net.connect example.com:443", "net.connect user@example.com:443", false),
    ("net.connect example.com:443", "net.connect example.com:443@evil.org:443", false),
    ("net.connect *.example.com:443", "net.connect api.example.com:443", true),
    ("net.connect *.example.com:443", "net.connect a.b.example.com:443", true),
    ("net.connect *.example.com:443", "net.connect *.b.example.com:443", true),
    ("net.connect *.example.com:443", "net.connect example.com:443", false),
    ("net.connect *.example.com:443", "net.connect .example.com:443", false),
    ("net.connect *.example.com:443", "net.connect evilexample.com:443", false),
    ("net.connect *.example.com:443", "net.connect api.evilexample.com:443", false),
    ("net.connect *.example.com:443", "net.connect api.example.com.evil.org:443", false),
    ("net.connect *.example.com:443", "net.connect *.com:443", false),
    // Ports and addresses are numbers, not beginnings of numbers.
    ("net.connect example.com:443", "net.connect example.com:4430", false),
    ("net.connect example.com:443", "net.connect example.com:44", false),
    ("net.connect example.com:443", "net.connect example.com:0443", false),
    ("net.connect example.com:443", "net.connect example.com:65979", false),
    ("net.connect example.com:443", "net.connect example.com:*", false),
    ("net.connect example.com:*", "net.connect example.com:1", true),
    ("net.connect 10.0.0.1:80", "net.connect 10.0.0.10:80", false),
    ("net.connect 10.0.0.1:80", "net.connect 10.0.0.01:80", false),
    ("net.connect 10.0.0.1:80", "net.connect 012.0.0.1:80", false),
    ("net.connect 10.0.0.1:80", "net.connect 0xa.0.0.1:80", false),
    ("net.connect 10.0.0.1:80", "net.connect 167772161:80", false),
    ("net.connect 10.0.0.1:80", "net.connect [::ffff:10.0.0.1]:80", false),
    ("net.connect 10.0.0.1:80", "net.connect [::10.0.0.1]:80", false),
    ("net.connect [fe80::1]:80", "net.connect [fe80::1%eth0]:80", false),
    ("net.connect [fe80::1]:80", "net.connect [FE80:0::1]:80", true),
    ("net.connect [fe80::1]:80", "net.connect [fe80::10]:80", false),
    ("net.listen 0.0.0.0:8080", "net.listen 127.0.0.1:8080", false),
    ("net.listen 127.0.0.1:8080", "net.listen 127.0.0.1:80", false),
    ("net.listen 127.0.0.1:8080", "net.connect 127.0.0.1:8080", false),
    // Words are whole.
    ("env TZ", "env TZ", true),
    ("env TZ", "env TZDIR", false),
    ("env TZ", "env tz", false),
    ("env TZ", "env T", false),
    ("storage read-only", "storage read-write", false),
    ("storage admin", "storage read-only", true),
    ("send alert", "send alerter", false),
    ("send alerter", "send alert", false),
    ("send alerter", "send *", false),
    ("send *", "send alerter", true),
    ("send alerter", "receive alerter", false),
    ("receive billing", "receive billing-eu", false),
    ("publish orders.*", "publish orders.created", true),
    ("publish orders.*", "publish orders", false),
    ("publish orders.*", "publish orders-eu.created", false),
    ("publish orders.*", "publish orders.created.eu", false),
    ("publish orders.created", "publish orders.created2", false),
    ("publish orders.*", "subscribe orders.created", false),
    ("subscribe *", "subscribe orders.created", false),
    ("custom.x {\"a\":1}", "custom.x {\"a\":1,\"b\":2}", false),
    ("custom.x {\"a\":1}", "custom.x {\"a\":1.0}", false),
    ("custom.x {\"a\":1}", "custom.xy {\"a\":1}", false),
];

#[test]
fn no_pattern_matches_by_prefix_accident() {
    for (pattern, value, is_allowed) in ROWS {
        let allowed = set(&[pattern]);
        // A spelling that nobody takes is a permission that nobody has.
        let value_read = value.parse::<Entry>();
        let is_included = value_read.as_ref().is_ok_and(|value| allowed.includes(value));
        assert_eq!(is_included, *is_allowed, "{pattern} and {value:?}");
        let Ok(asked) = value_read else { continue };
        let ask: Permissions = [asked.clone()].into_iter().collect();
        let grant = Grant { permissions: allowed.clone(), ..Grant::default() };
        let everything = Grant { permissions: ask.clone(), ..Grant::default() };
        let kinds = [asked.kind()];
        let granted = decide(&ask, &grant, &ask, &kinds);
        let capped = decide(&ask, &everything, &allowed, &kinds);
        for decision in [granted, capped] {
            assert_eq!(decision.effective == ask, *is_allowed, "{pattern} and {value:?}: {decision:?}");
            assert_eq!(decision.is_blocked(), !is_allowed, "{pattern} and {value:?}: {decision:?}");
        }
    }
}
