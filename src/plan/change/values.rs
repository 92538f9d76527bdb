//! Owns how the parts of a spec are written in a plan, value by value.
//!
//! Takes every part out by name, so that a new one does not compile until it has a place here.

use std::collections::{BTreeMap, BTreeSet};

use super::NamedChange;
use crate::desired::spec::{Breaker, Require, RestartPolicy, Source, Supervision, Trigger};
use crate::limits::LimitOverrides;
use crate::name::{InstallationName, LinkName};
use crate::secret::Fingerprints;

/// Values under their keys, in a fixed order.
pub(super) type NamedValues<const N: usize> = [(&'static str, Option<String>); N];

pub(super) fn named_changes<const N: usize>(before: NamedValues<N>, after: NamedValues<N>) -> Vec<NamedChange> {
    let pairs = before.into_iter().zip(after).filter(|((_, before), (_, after))| before != after);
    pairs.map(|((name, before), (_, after))| NamedChange { name: name.to_owned(), before, after }).collect()
}

pub(super) fn limit_changes(before: &LimitOverrides, after: &LimitOverrides) -> Vec<NamedChange> {
    named_changes(limit_texts(before), limit_texts(after))
}

fn limit_texts(limits: &LimitOverrides) -> NamedValues<19> {
    fn text<T: ToString>(value: &Option<T>) -> Option<String> {
        value.as_ref().map(ToString::to_string)
    }
    let LimitOverrides {
        call,
        init,
        drain,
        stop,
        memory,
        message,
        mailbox,
        mailbox_bytes,
        sends,
        open_requests,
        storage,
        storage_keys,
        mailbox_overflow,
        mailbox_wait,
        send_rate,
        send_burst,
        max_cpu_percent,
        retries,
        retry_wait,
    } = limits;
    [
        ("call", text(call)),
        ("init", text(init)),
        ("drain", text(drain)),
        ("stop", text(stop)),
        ("memory", text(memory)),
        ("message", text(message)),
        ("mailbox", text(mailbox)),
        ("mailbox-bytes", text(mailbox_bytes)),
        ("sends", text(sends)),
        ("open-requests", text(open_requests)),
        ("storage", text(storage)),
        ("storage-keys", text(storage_keys)),
        ("mailbox-overflow", text(mailbox_overflow)),
        ("mailbox-wait", text(mailbox_wait)),
        ("send-rate", text(send_rate)),
        ("send-burst", text(send_burst)),
        ("max-cpu-percent", text(max_cpu_percent)),
        ("retries", text(retries)),
        ("retry-wait", text(retry_wait)),
    ]
}

pub(super) fn supervision_values(supervision: &Supervision) -> NamedValues<5> {
    let Supervision { restart, max_restarts, window, backoff, backoff_max } = supervision;
    let restart = match restart {
        RestartPolicy::Permanent => "permanent",
        RestartPolicy::Never => "never",
    };
    [
        ("restart", Some(restart.to_owned())),
        ("max-restarts", Some(max_restarts.to_string())),
        ("window", Some(window.to_string())),
        ("backoff", Some(backoff.to_string())),
        ("backoff-max", Some(backoff_max.to_string())),
    ]
}

pub(super) fn breaker_values(breaker: &Option<Breaker>) -> NamedValues<3> {
    let of = |value: fn(&Breaker) -> String| breaker.as_ref().map(value);
    [
        ("failure-threshold", of(|breaker| breaker.failure_threshold.to_string())),
        ("success-threshold", of(|breaker| breaker.success_threshold.to_string())),
        ("open-time", of(|breaker| breaker.open_time.to_string())),
    ]
}

pub(super) fn require_values(require: &Require) -> NamedValues<2> {
    let Require { version, signer } = require;
    [("version", version.as_ref().map(ToString::to_string)), ("signer", signer.as_ref().map(ToString::to_string))]
}

pub(crate) fn source_text(source: &Source) -> String {
    match source {
        Source::File { path } => format!("file {path}"),
        Source::Git { url, at, path } => format!("git {url} {at} {path}"),
        Source::Url { url, sha256: None } => format!("url {url}"),
        Source::Url { url, sha256: Some(sha256) } => format!("url {url} {sha256}"),
    }
}

pub(super) fn trigger_texts(triggers: &[Trigger]) -> Vec<String> {
    triggers.iter().map(|Trigger { every }| format!("every {every}")).collect()
}

pub(super) fn link_changes(
    before: &BTreeMap<LinkName, InstallationName>,
    after: &BTreeMap<LinkName, InstallationName>,
) -> Vec<NamedChange> {
    let words: BTreeSet<&LinkName> = before.keys().chain(after.keys()).collect();
    let target =
        |links: &BTreeMap<LinkName, InstallationName>, word: &LinkName| links.get(word).map(ToString::to_string);
    let changes = words.into_iter().map(|word| NamedChange {
        name: word.to_string(),
        before: target(before, word),
        after: target(after, word),
    });
    changes.filter(|change| change.before != change.after).collect()
}

pub(super) fn secret_changes(before: &Fingerprints, after: &Fingerprints) -> Vec<NamedChange> {
    let places: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = places.into_iter().filter(|place| before.get(*place) != after.get(*place));
    let shown = |fingerprints: &Fingerprints, place: &String| fingerprints.get(place).map(ToString::to_string);
    let changes = differing.map(|place| NamedChange {
        name: place.clone(),
        before: shown(before, place),
        after: shown(after, place),
    });
    changes.collect()
}
