//! `docs/limits.md` says what the program says: each number in it, and each key of `[limits]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use airssys_wasm::quantity::{ByteSize, Millis};
use airssys_wasm::worker::limits as worker;
use airssys_wasm::{
    actor, audit, control, engine, host, limits, logs, manifest, observed, permission, reconcile, remote, source,
    state, storage, trust, watch,
};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there")
}

/// The rows of the table under a heading, each with its first `CELLS` cells.
fn rows<const CELLS: usize>(heading: &str) -> Vec<[String; CELLS]> {
    let text = read("docs/limits.md");
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).expect("the section");
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
        std::array::from_fn(|_| cells.next().expect("a cell"))
    };
    lines.map(cells).collect()
}

fn ms(ms: u64) -> String {
    Millis(ms).to_string()
}

fn bytes(bytes: impl TryInto<u64>) -> String {
    ByteSize(bytes.try_into().unwrap_or_default()).to_string()
}

#[test]
fn the_guide_names_every_key_of_limits_with_its_default_and_ceiling() {
    let none = limits::LimitOverrides::default();
    let of = limits::Limits::resolve(&none, &none);
    let off = |limit: Option<u64>| limit.map_or("off".to_owned(), |limit| limit.to_string());
    let expected: BTreeMap<&str, (String, String)> = [
        ("call", of.call.to_string(), ms(limits::MAX_CALL_MS)),
        ("init", of.init.to_string(), ms(limits::MAX_INIT_MS)),
        ("drain", of.drain.to_string(), ms(limits::MAX_STOP_MS)),
        ("stop", of.stop.to_string(), ms(limits::MAX_STOP_MS)),
        ("memory", of.memory.to_string(), bytes(limits::MAX_MEMORY_BYTES)),
        ("message", of.message.to_string(), bytes(limits::DEFAULT_MESSAGE_BYTES)),
        ("mailbox", of.mailbox.to_string(), limits::MAX_MAILBOX_MESSAGES.to_string()),
        ("mailbox-bytes", of.mailbox_bytes.to_string(), bytes(limits::MAX_MAILBOX_BYTES)),
        ("mailbox-overflow", of.mailbox_overflow.to_string(), "-".to_owned()),
        ("mailbox-wait", of.mailbox_wait.to_string(), ms(limits::MAX_MAILBOX_WAIT_MS)),
        ("sends", of.sends.to_string(), limits::MAX_SENDS.to_string()),
        ("open-requests", of.open_requests.to_string(), limits::MAX_OPEN_REQUESTS.to_string()),
        ("send-rate", off(of.send_rate), limits::MAX_SEND_RATE.to_string()),
        ("send-burst", "one second of send-rate".to_owned(), limits::MAX_SEND_RATE.to_string()),
        ("retries", off(of.retries), limits::MAX_RETRIES.to_string()),
        ("retry-wait", ms(limits::DEFAULT_RETRY_WAIT_MS), ms(limits::MAX_RETRY_WAIT_MS)),
        ("max-cpu-percent", off(of.max_cpu_percent), limits::MAX_CPU_PERCENT.to_string()),
        ("storage", of.storage.to_string(), bytes(limits::MAX_STORAGE_BYTES)),
        ("storage-keys", of.storage_keys.to_string(), limits::MAX_STORAGE_KEYS.to_string()),
    ]
    .map(|(key, default, ceiling)| (key, (default, ceiling)))
    .into();
    let said = rows::<3>("Of one component");
    let said = said.iter().map(|[key, default, ceiling]| (&**key, (default.clone(), ceiling.clone())));
    assert_eq!(said.collect::<BTreeMap<_, _>>(), expected);
}

#[test]
fn the_keys_of_limits_are_those_of_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(&read("schemas/desired.schema.json")).expect("JSON");
    let keys = schema["$defs"]["Limits"]["properties"].as_object().expect("keys").keys().cloned();
    let said = rows::<1>("Of one component").into_iter().map(|[key]| key);
    assert_eq!(said.collect::<BTreeSet<_>>(), keys.collect());
}

#[test]
fn the_guide_says_the_fixed_limits_as_they_are() {
    let expected = [
        ("stack of a guest", bytes(engine::MAX_WASM_STACK_BYTES)),
        ("core instances in a component", engine::MAX_CORE_INSTANCES.to_string()),
        ("linear memories of a component", engine::MAX_MEMORIES.to_string()),
        ("tables of a component", engine::MAX_TABLES.to_string()),
        ("elements of one table", engine::MAX_TABLE_ELEMENTS.to_string()),
        ("what one host call copies", bytes(host::HOSTCALL_BYTES)),
        ("handles of an instance", host::MAX_HANDLES.to_string()),
        ("host objects of an instance", host::MAX_RESOURCES.to_string()),
        ("random bytes of one call", bytes(host::MAX_RANDOM_BYTES)),
        ("hops of a message", actor::DEFAULT_MAX_HOPS.to_string()),
        ("call of health", format!("{}s", actor::HEALTH_CALL.as_secs())),
        ("length of a storage key", bytes(storage::MAX_KEY_BYTES)),
        ("length of a stored value", bytes(storage::MAX_VALUE_BYTES)),
        ("keys of one page", storage::MAX_PAGE_KEYS.to_string()),
        ("bytes of one page", bytes(storage::MAX_PAGE_BYTES)),
        ("entries of a batch", storage::MAX_BATCH.to_string()),
        ("storage operations of a call", storage::MAX_OPERATIONS.to_string()),
        ("what one call may write", bytes(storage::MAX_TRANSACTION_BYTES)),
        ("line in a log", bytes(logs::MAX_LINE_BYTES)),
        ("log of a component, a second", bytes(logs::GUEST_RATE_BYTES)),
        ("log of a component, at once", bytes(logs::GUEST_BURST_BYTES)),
        ("log file", bytes(logs::MAX_FILE_BYTES)),
        ("log files of a component", logs::MAX_FILES.to_string()),
        ("dead letters in memory", actor::MAX_DEAD_LETTERS.to_string()),
        ("bytes of dead letters in memory", bytes(actor::MAX_DEAD_LETTER_BYTES)),
        ("dead letters in the store", storage::MAX_LETTERS.to_string()),
        ("bytes of dead letters in the store", bytes(storage::MAX_LETTER_BYTES)),
        ("threads in calls that do not end", actor::MAX_STUCK_THREADS.to_string()),
        ("files that an instance has open", host::outside::MAX_OPEN_FILES.to_string()),
        ("lists of directories that an instance has open", host::outside::MAX_OPEN_LISTS.to_string()),
        ("names of a directory that is listed", host::outside::MAX_LISTED_NAMES.to_string()),
        ("sockets of an instance", host::outside::MAX_SOCKETS.to_string()),
        ("lookups of names that an instance has open", host::outside::MAX_LOOKUPS.to_string()),
        ("addresses of names that an instance remembers", permission::MAX_REMEMBERED_ADDRESSES.to_string()),
        ("host deaths with one component in hand", observed::quarantine::MAX_DEATHS.to_string()),
        ("different things that are kept of a component that is observed", actor::MAX_SEEN.to_string()),
        ("denials of a component told apart", actor::MAX_DENIALS_TOLD_APART.to_string()),
        ("time between records of a component's denials", ms(actor::DENIALS_GATHERED_MS)),
        ("text of a record of the audit log", bytes(audit::MAX_WHAT_BYTES)),
        ("file of the audit log", bytes(state::MAX_AUDIT_FILE_BYTES)),
        ("files of the audit log", state::MAX_AUDIT_FILES.to_string()),
        ("records that wait for an audit log that can't be written", reconcile::MAX_WAITING_RECORDS.to_string()),
    ];
    assert_eq!(rows::<2>("Fixed"), expected.map(|(what, limit)| [what.to_owned(), limit]));
}

#[test]
fn the_guide_says_the_limits_of_files_and_sources_as_they_are() {
    let expected = [
        ("desired file", bytes(watch::listing::MAX_DESIRED_FILE_BYTES)),
        ("entries of a desired directory", watch::listing::MAX_DIRECTORY_ENTRIES.to_string()),
        ("Component.toml", bytes(manifest::MAX_MANIFEST_BYTES)),
        ("signature file", bytes(source::file::MAX_SIGNATURE_BYTES)),
        ("trust file", bytes(trust::policy::MAX_POLICY_BYTES)),
        ("wasm", bytes(manifest::MAX_WASM_BYTES)),
        ("addresses of one name", source::url::bounds::MAX_ADDRESSES.to_string()),
        ("redirects of one fetch, where they are allowed", source::url::bounds::MAX_REDIRECTS.to_string()),
        ("fetches at a time", remote::table::MAX_FETCHES.to_string()),
        ("fetches from one host at a time", remote::table::MAX_FETCHES_PER_HOST.to_string()),
        ("connections to the control socket", control::MAX_CONNECTIONS.to_string()),
        ("request on the control socket", bytes(control::MAX_REQUEST_BYTES)),
    ];
    assert_eq!(rows::<2>("Of files and sources"), expected.map(|(what, limit)| [what.to_owned(), limit]));
}

fn time(time: Duration) -> String {
    ms(u64::try_from(time.as_millis()).expect("a short time"))
}

#[test]
fn the_guide_says_the_limits_of_compiling_and_fetching_as_they_are() {
    let expected = [
        ("functions of a component", engine::MAX_FUNCTIONS.to_string()),
        ("imports of a component, or of a module in it", engine::MAX_IMPORTS.to_string()),
        ("exports of a component, or of a module in it", engine::MAX_EXPORTS.to_string()),
        ("core modules of a component", engine::MAX_MODULES.to_string()),
        ("components within a component", engine::MAX_COMPONENTS.to_string()),
        ("instances of components and interfaces in a component", engine::MAX_COMPONENT_INSTANCES.to_string()),
        ("types of components in a component", engine::MAX_COMPONENT_TYPES.to_string()),
        ("compilation that a pass waits for", time(worker::COMPILE_FIRST_TURN)),
        ("compilation", time(worker::COMPILE_TIME)),
        ("processor time of a compilation", ms(worker::COMPILE_CPU_S * 1_000)),
        ("address space of a compilation", bytes(worker::COMPILE_MEMORY_BYTES)),
        ("time until a repository gave an artifact", time(worker::GIT_TIME)),
        ("time until a URL gave manifest and signature", time(worker::URL_TIME)),
        ("time of a fetch without any progress", time(worker::FETCH_QUIET)),
        ("slowest wasm, a second", bytes(worker::WASM_BYTES_A_SECOND)),
        ("processor time of a fetch", ms(worker::FETCH_CPU_S * 1_000)),
        ("address space of a fetch", bytes(worker::FETCH_MEMORY_BYTES)),
        ("file that a fetch writes", bytes(worker::FETCH_FILE_BYTES)),
        ("open files of a fetch", worker::FETCH_OPEN_FILES.to_string()),
    ];
    assert_eq!(rows::<2>("Of compiling and fetching"), expected.map(|(what, limit)| [what.to_owned(), limit]));
}
