//! Random specs, biased to what is likely to break a reader: short names, every optional part, odd text.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use crate::desired::spec::{
    Breaker, Delivery, OnUninstall, Require, RestartPolicy, Source, Spec, Supervision, Trigger,
};
use crate::key::PublicKey;
use crate::limits::{LimitOverrides, Overflow};
use crate::name::InstallationName;
use crate::permission::{Declined, Entry, Grant, Mode};
use crate::quantity::{ByteSize, Millis};

pub fn name() -> impl Strategy<Value = InstallationName> {
    "[a-d]|[a-z0-9]([a-z0-9-]{0,12}[a-z0-9])?".prop_map(|name| name.parse().unwrap())
}

fn grant() -> impl Strategy<Value = Grant> {
    const ENTRIES: [&str; 16] = [
        "send alerter",
        "send pager",
        "send *",
        "receive *",
        "receive a-b",
        "fs.read /data/**",
        "fs.write /data/out/**",
        "net.connect api.example.com:443",
        "net.connect *.example.com:*",
        "net.listen 127.0.0.1:8080",
        "env TZ",
        "storage read-only",
        "publish events.*",
        "subscribe events.created",
        "custom.metrics {\"labels\":[\"a\",\"b\\\"\"],\"prefix\":\"shop\"}",
        "custom.queue {\"depth\":12}",
    ];
    const WITHOUT: [&str; 5] = ["net.connect", "send alerter", "fs.read", "receive b-c", "publish events.created"];
    let entries = proptest::sample::subsequence(&ENTRIES[..], 0..6);
    let without = proptest::sample::subsequence(&WITHOUT[..], 0..3);
    (entries, without).prop_map(|(entries, without)| {
        let entries: Vec<Entry> = entries.into_iter().map(|entry| entry.parse().unwrap()).collect();
        let is_granted = |declined: &Declined| matches!(declined, Declined::Entry(entry) if entries.contains(entry));
        let without = without.into_iter().map(|text| text.parse().unwrap()).filter(|text| !is_granted(text)).collect();
        Grant { permissions: entries.into_iter().collect(), without, mode: Mode::default() }
    })
}

/// Any text, often with what must be escaped in TOML.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{0,8}", "\\PC{0,12}", "[\"'\\\\\n\r\t#=\\[\\]{}.\u{1}\u{7f}\u{85}\u{feff}]{0,8}",]
}

fn config() -> impl Strategy<Value = Map<String, Json>> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_filter_map("finite", |float| serde_json::Number::from_f64(float).map(Json::Number)),
        text().prop_map(Json::String),
    ];
    let value = leaf.prop_recursive(4, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::Array),
            btree_map(text(), inner, 0..4).prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    });
    btree_map(text(), value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn limits() -> impl Strategy<Value = LimitOverrides> {
    let time = || option::of((1u64..=30_000).prop_map(Millis));
    let size = || option::of((1u64..=1 << 20).prop_map(ByteSize));
    let count = || option::of(1u64..=4_096);
    let requests = option::of(1u64..=1_024);
    let storage = (size(), option::of(1u64..=1_000_000));
    let cpu = option::of(1u64..=100);
    let retry = option::of((0u64..=10, option::of((10u64..=60_000).prop_map(Millis))));
    let rate = option::of((1u64..=1_000_000, option::of(1u64..=1_000_000)));
    let overflow = (option::of(proptest::sample::select(&Overflow::ALL[..])), time());
    let overflow = overflow.prop_map(|(overflow, wait)| (overflow, wait.filter(|_| overflow == Some(Overflow::Wait))));
    (time(), time(), time(), size(), count(), size(), count(), requests, (storage, overflow, rate, (cpu, retry)))
        .prop_map(
            |(
                call,
                init,
                stop,
                memory,
                mailbox,
                mailbox_bytes,
                sends,
                open_requests,
                ((storage, storage_keys), (mailbox_overflow, mailbox_wait), rate, (max_cpu_percent, retry)),
            )| {
                LimitOverrides {
                    call,
                    init,
                    stop,
                    memory,
                    mailbox,
                    mailbox_bytes,
                    sends,
                    open_requests,
                    storage,
                    storage_keys,
                    mailbox_overflow,
                    mailbox_wait,
                    send_rate: rate.map(|(rate, _)| rate),
                    send_burst: rate.and_then(|(_, burst)| burst),
                    max_cpu_percent,
                    retries: retry.map(|(retries, _)| retries),
                    retry_wait: retry.and_then(|(_, wait)| wait),
                    ..LimitOverrides::default()
                }
            },
        )
}

fn supervision() -> impl Strategy<Value = Supervision> {
    let policy = prop_oneof![Just(RestartPolicy::Permanent), Just(RestartPolicy::Never)];
    let default = Just(Supervision::default());
    let other = (policy, 1u32..=1_000, 1_000u64..=3_600_000, 10u64..=3_600_000, 0u64..=3_600_000).prop_map(
        |(restart, max_restarts, window, backoff, more)| Supervision {
            restart,
            max_restarts,
            window: Millis(window),
            backoff: Millis(backoff),
            backoff_max: Millis((backoff + more).min(3_600_000)),
        },
    );
    prop_oneof![default, other]
}

fn delivery() -> impl Strategy<Value = Delivery> {
    prop_oneof![Just(Delivery::Memory), Just(Delivery::Durable)]
}

fn require() -> impl Strategy<Value = Require> {
    let version = proptest::sample::select(&["^1.4", "=1.3.9", "*", ">=1.2, <2.0.0-rc.1", "~0.1"][..]);
    let signer = any::<[u8; 32]>().prop_map(PublicKey::from_bytes);
    (option::of(version), option::of(signer))
        .prop_map(|(version, signer)| Require { version: version.map(|text| text.parse().unwrap()), signer })
}

fn path() -> impl Strategy<Value = String> {
    "(\\.\\./|/)?[a-z]{1,6}(/[a-zA-Z0-9 äß大\"'\\\\._-]{1,8}){0,2}[/\"]?"
        .prop_filter("a directory", |path| !path.trim_end_matches('/').ends_with(".wasm"))
}

pub fn spec() -> impl Strategy<Value = Spec> {
    let names = (name(), name(), name(), any::<bool>(), btree_set(name(), 0..3), option::of(name()), delivery());
    let links = btree_map("[a-z]{1,4}".prop_map(|link| link.parse().unwrap()), name(), 0..3);
    let triggers = vec((10u64..=86_400_000).prop_map(|every| Trigger { every: Millis(every) }), 0..3);
    let breaker = (1..=1_000u32, 1..=1_000u32, 10..=3_600_000u64).prop_map(|(failures, successes, open)| Breaker {
        failure_threshold: failures,
        success_threshold: successes,
        open_time: Millis(open),
    });
    let pattern = "[a-z]{1,3}(\\.[a-z]{1,3}){0,2}(\\.\\*)?".prop_map(|text| text.parse().unwrap());
    let subscriptions = btree_set(pattern, 0..3);
    let on_uninstall = prop_oneof![Just(OnUninstall::Keep), Just(OnUninstall::Purge)];
    let tables = (
        require(),
        path(),
        grant(),
        links,
        config(),
        limits(),
        supervision(),
        (option::of(breaker), on_uninstall),
        (triggers, subscriptions),
    );
    (names, tables).prop_map(|(names, tables)| {
        let (name, namespace, package, enabled, mut depends_on, moved_from, delivery) = names;
        let (require, path, grant, links, config, limits, supervision, (breaker, on_uninstall), times) = tables;
        let (mut triggers, subscriptions) = times;
        triggers.sort();
        depends_on.remove(&name);
        Spec {
            package: format!("{namespace}:{package}").parse().unwrap(),
            enabled,
            depends_on,
            moved_from: moved_from.filter(|old| *old != name),
            name,
            require,
            source: Source::File { path },
            grant,
            links: links.into_iter().collect::<BTreeMap<_, _>>(),
            config,
            limits,
            supervision,
            breaker,
            on_uninstall,
            delivery,
            triggers,
            subscriptions,
        }
    })
}
