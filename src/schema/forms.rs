//! The TOML formats as types, for their schemas. Nothing is read into them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::Value;

pub use super::words::*;
/// A desired file: one installation.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DesiredFile {
    /// The installation's name; the file's stem when it is absent.
    pub name: Option<Name>,
    /// Which package must come out of the source.
    pub package: Package,
    /// `false`: installed but stopped; its state and mailbox are kept.
    pub enabled: Option<bool>,
    /// Installations that must be ready before this one starts.
    #[schemars(length(max = 256))]
    pub depends_on: Option<Vec<Name>>,
    /// Topics whose messages it takes from its start on; each must be granted.
    #[schemars(length(max = 64))]
    pub subscriptions: Option<Vec<String>>,
    /// The name that it had before; identity and state move over.
    pub moved_from: Option<Name>,
    /// Where messages for it wait: `durable` ones outlive the host.
    pub delivery: Option<Delivery>,
    /// What the artifact must satisfy beyond the trust policy.
    pub require: Option<Require>,
    /// Where the artifact comes from.
    pub source: Source,
    /// What becomes of what it asks for and is not granted.
    pub permissions: Option<PermissionMode>,
    /// What it may do, of what its manifest asks for.
    pub grant: Option<Grant>,
    /// Which installation each link word means; without a line, the installation of the same name.
    pub links: Option<BTreeMap<String, Name>>,
    /// Reaches the component at its start, as JSON.
    pub config: Option<BTreeMap<String, Value>>,
    /// Limits; without a line those of the manifest hold, then the defaults.
    pub limits: Option<Limits>,
    /// What happens after a crash.
    pub supervision: Option<Supervision>,
    /// When it stops sending to a target whose messages end badly; without the table, never.
    pub breaker: Option<Breaker>,
    /// How a new version takes over.
    pub deploy: Option<Deploy>,
    /// Messages that the host sends by itself.
    #[schemars(length(max = 16))]
    pub trigger: Option<Vec<Trigger>>,
}

/// What becomes of what a component asks for and is not granted; it does not get it either way.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum PermissionMode {
    /// It blocks the installation; the default.
    Enforce,
    /// The component runs without it, and `status` shows what it would need.
    Observe,
}

/// Where messages for a component wait.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Delivery {
    /// In memory; the default.
    Memory,
    /// In the store, until the handler's commit.
    Durable,
}

/// What the artifact must satisfy beyond the trust policy.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Require {
    /// Versions accepted, as `^1.4`; an exact one, `=1.3.9`, also allows going back to it.
    pub version: Option<String>,
    /// A key that must be among the signers.
    pub signer: Option<Key>,
}

/// Where the artifact comes from: exactly one of them.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A directory on this machine.
    File(FileSource),
    /// A directory of a Git repository.
    Git(GitSource),
    /// A manifest behind a URL, with signature and wasm beside it.
    Url(UrlSource),
}

/// A directory on this machine.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FileSource {
    /// The directory that holds Component.toml, its signature and the wasm; relative to this file.
    #[schemars(length(min = 1, max = 4095))]
    pub path: String,
}

/// A directory of a Git repository; one of `tag`, `branch` and `commit`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GitSource {
    /// The repository.
    pub url: String,
    /// A tag.
    pub tag: Option<String>,
    /// A branch, which moves.
    pub branch: Option<String>,
    /// A commit, in full.
    pub commit: Option<CommitId>,
    /// The directory in the commit's tree; `.` for its top.
    #[schemars(length(min = 1, max = 4095))]
    pub path: String,
}

/// A manifest behind a URL.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct UrlSource {
    /// Of Component.toml.
    pub url: String,
    /// Pins the wasm.
    pub sha256: Option<Digest>,
}

/// What a component may do.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Permissions {
    /// Directory trees, as `/data/**`.
    pub fs: Option<Files>,
    /// Addresses.
    pub net: Option<Net>,
    /// Environment variables of the host.
    #[schemars(length(max = 256))]
    pub env: Option<Vec<String>>,
    /// The component's own storage.
    pub storage: Option<Storage>,
    /// Links that it may send to; `*` is every one.
    #[schemars(length(max = 256))]
    pub send: Option<Vec<String>>,
    /// Installations that may send here; `*` is every one.
    #[schemars(length(max = 256))]
    pub receive: Option<Vec<String>>,
    /// Topics that it may publish to.
    #[schemars(length(max = 256))]
    pub publish: Option<Vec<String>>,
    /// Topics that it may take messages of.
    #[schemars(length(max = 256))]
    pub subscribe: Option<Vec<String>>,
    /// What host extensions offer.
    pub custom: Option<BTreeMap<String, BTreeMap<String, Value>>>,
}

/// What an operator grants, and what is declined on purpose.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Grant {
    /// Asks that are known and not granted, as `net.connect` or `send alerter`; the first line of the table.
    pub without: Option<Vec<String>>,
    /// Directory trees, as `/data/**`.
    pub fs: Option<Files>,
    /// Addresses.
    pub net: Option<Net>,
    /// Environment variables of the host.
    #[schemars(length(max = 256))]
    pub env: Option<Vec<String>>,
    /// The component's own storage.
    pub storage: Option<Storage>,
    /// Links that it may send to; `*` is every one.
    #[schemars(length(max = 256))]
    pub send: Option<Vec<String>>,
    /// Installations that may send here; `*` is every one.
    #[schemars(length(max = 256))]
    pub receive: Option<Vec<String>>,
    /// Topics that it may publish to.
    #[schemars(length(max = 256))]
    pub publish: Option<Vec<String>>,
    /// Topics that it may take messages of.
    #[schemars(length(max = 256))]
    pub subscribe: Option<Vec<String>>,
    /// What host extensions offer.
    pub custom: Option<BTreeMap<String, BTreeMap<String, Value>>>,
}

/// Directory trees.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Files {
    /// May be read and listed.
    #[schemars(length(max = 256))]
    pub read: Option<Vec<String>>,
    /// May be changed as well.
    #[schemars(length(max = 256))]
    pub write: Option<Vec<String>>,
}

/// Addresses.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Net {
    /// Hosts and ports, as `api.example.com:443`.
    #[schemars(length(max = 256))]
    pub connect: Option<Vec<String>>,
    /// Addresses to listen on, as `127.0.0.1:8080`.
    #[schemars(length(max = 256))]
    pub listen: Option<Vec<String>>,
}

/// How far a component may use its own storage.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Storage {
    /// Not at all.
    None,
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
    /// Everything.
    Admin,
}

/// Limits of one component.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// Longest time of one call; 5s, at most 30s.
    pub call: Option<Time>,
    /// Longest time of instantiation and `init`; 5s, at most 1m.
    pub init: Option<Time>,
    /// How long a stopping component may work off its mailbox; 5s, at most 30s.
    pub drain: Option<Time>,
    /// How long stopping may take in all; 10s, at most 30s.
    pub stop: Option<Time>,
    /// Memory of one instance; 64MiB, at most 4GiB.
    pub memory: Option<Size>,
    /// Largest message taken; 1MiB, which is the most.
    pub message: Option<Size>,
    /// Messages that the mailbox holds; 1024.
    #[schemars(range(min = 1, max = 65536))]
    pub mailbox: Option<u64>,
    /// Bytes that the mailbox holds; 8MiB, at most 256MiB.
    pub mailbox_bytes: Option<Size>,
    /// Messages that one handler call may send; 256.
    #[schemars(range(min = 1, max = 4096))]
    pub sends: Option<u64>,
    /// Answers to requests that one instance may wait for; 64.
    #[schemars(range(min = 1, max = 1024))]
    pub open_requests: Option<u64>,
    /// Bytes of keys and values that it may keep; 64MiB, at most 1GiB.
    pub storage: Option<Size>,
    /// Keys that it may keep; 100000.
    #[schemars(range(min = 1, max = 1000000))]
    pub storage_keys: Option<u64>,
    /// What becomes of a message that comes to the full mailbox; reject.
    pub mailbox_overflow: Option<Overflow>,
    /// Longest time that a message waits outside the full mailbox, beside `mailbox-overflow = "wait"`; 1s, at most 30s.
    pub mailbox_wait: Option<Time>,
    /// Messages that it may send in a second; any number.
    #[schemars(range(min = 1, max = 1000000))]
    pub send_rate: Option<u64>,
    /// Messages that it may send at once, beside `send-rate`; as many as in a second.
    #[schemars(range(min = 1, max = 1000000))]
    pub send_burst: Option<u64>,
    /// Share of one core that its calls may have over time, in percent; whatever is there.
    #[schemars(range(min = 1, max = 100))]
    pub max_cpu_percent: Option<u64>,
    /// Deliveries of a message beyond the first, when those before ended badly; 0.
    #[schemars(range(min = 0, max = 10))]
    pub retries: Option<u64>,
    /// Wait before the second delivery, doubled before each further one, beside `retries`; 100ms, from 10ms to 1m.
    pub retry_wait: Option<Time>,
}

/// What becomes of a message that comes to a full mailbox.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Overflow {
    /// Its sender is told at the call.
    Reject,
    /// The oldest that waits makes room for it, and is a dead letter.
    DropOldest,
    /// It is a dead letter.
    DropNewest,
    /// It waits outside for a limited time, and its sender handles nothing else meanwhile.
    Wait,
}

/// When a component stops sending to a target whose messages end badly, and when it tries again.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Breaker {
    /// Messages in a row that end badly before nothing goes to that target any more; 5.
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<u32>,
    /// Messages that must end well, after that, before everything goes again; 1.
    #[schemars(range(min = 1, max = 1000))]
    pub success_threshold: Option<u32>,
    /// For how long nothing goes; 10s, from 10ms to 1h.
    pub open_time: Option<Time>,
}

/// What happens after a crash.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Supervision {
    /// Which ends lead to a restart; permanent.
    pub restart: Option<Restart>,
    /// Restarts within `window` before the component counts as failed; 5.
    #[schemars(range(min = 1, max = 1000))]
    pub max_restarts: Option<u32>,
    /// The time over which restarts are counted; 1m.
    pub window: Option<Time>,
    /// Wait before the first restart, which doubles with each further one; 100ms.
    pub backoff: Option<Time>,
    /// Longest wait before a restart; 1m.
    pub backoff_max: Option<Time>,
}

/// Which ends lead to a restart.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Restart {
    /// Every crash.
    Permanent,
    /// None.
    Never,
}

/// How a new version takes over.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Deploy {
    /// The old version goes on until the new one is healthy.
    pub strategy: Option<Strategy>,
    /// What becomes of what it keeps when it is uninstalled; keep.
    pub on_uninstall: Option<OnUninstall>,
}

/// How a new version takes over.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum Strategy {
    /// Beside the old one, which then ends.
    BlueGreen,
}

/// What becomes of the data of what is uninstalled.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum OnUninstall {
    /// It stays, and belongs to nobody.
    Keep,
    /// It is removed for good.
    Purge,
}

/// A message that the host sends by itself.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Trigger {
    /// The period; from 10ms to 24h.
    pub every: Time,
}

/// Component.toml: what a publisher says about a component, and signs.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ManifestFile {
    /// The form of the file; 1.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u64,
    /// The oldest airssys-wasm that the component works with.
    pub min_runtime: Option<String>,
    /// From when on the release is accepted, as 2027-01-31T12:00:00Z.
    pub not_before: Option<String>,
    /// Until when the release is accepted.
    pub expires: Option<String>,
    /// The codecs that its handler takes, what it likes best first; without it, all.
    #[schemars(length(min = 1, max = 8))]
    pub codecs: Option<Vec<Codec>>,
    /// Whether it keeps nothing in memory between messages.
    pub stateless: Option<bool>,
    /// The package.
    pub package: PackageTable,
    /// Which bytes it is.
    pub wasm: WasmTable,
    /// What the component asks for.
    pub permissions: Option<Permissions>,
    /// Limits that the publisher suggests.
    pub limits: Option<Limits>,
    /// How the author builds it; the host never does.
    pub build: Option<BuildTable>,
    /// The publisher's own data.
    pub metadata: Option<BTreeMap<String, Value>>,
}

/// The package.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PackageTable {
    /// The publisher's name of it.
    pub name: Package,
    /// The version, without build metadata.
    #[schemars(length(max = 128))]
    pub version: String,
    /// Rises with every release.
    pub sequence: u64,
    /// One line about it.
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// SPDX expression.
    #[schemars(length(max = 1024))]
    pub license: Option<String>,
    /// Who wrote it.
    #[schemars(length(max = 32))]
    pub authors: Option<Vec<String>>,
    /// Where its source is.
    #[schemars(length(max = 1024))]
    pub repository: Option<String>,
    /// Where it is described.
    #[schemars(length(max = 1024))]
    pub homepage: Option<String>,
    /// Words to find it by.
    #[schemars(length(max = 32))]
    pub keywords: Option<Vec<String>>,
}

/// Which bytes it is.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WasmTable {
    /// A file beside this one.
    #[schemars(length(max = 128))]
    pub file: WasmFile,
    /// Its SHA-256; `airssys-wasm sign` writes it.
    pub sha256: HexDigest,
    /// Its size in bytes; `airssys-wasm sign` writes it.
    #[schemars(range(min = 1, max = 67108864))]
    pub size: u64,
    /// The world that the component implements.
    pub world: WorldName,
}

/// How the author builds it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BuildTable {
    /// The language it is written in.
    pub language: Option<String>,
    /// Program and arguments.
    #[schemars(length(max = 32))]
    pub command: Option<Vec<String>>,
    /// Where the command leaves the wasm.
    pub artifact: Option<String>,
}

/// trust.toml: whom the operator trusts, for what.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TrustFile {
    /// The form of the file; 1.
    #[schemars(range(min = 1, max = 1))]
    pub schema: u64,
    /// Publishers by a name of the operator's choice.
    pub publisher: Option<BTreeMap<String, Publisher>>,
    /// What is not trusted, whatever else says so.
    pub revoked: Option<Vec<Revoked>>,
}

/// One publisher.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Publisher {
    /// The keys that may sign.
    #[schemars(length(min = 1, max = 16))]
    pub keys: Vec<Key>,
    /// The packages that they may sign; `*` stands for a whole part.
    #[schemars(length(min = 1, max = 256))]
    pub names: Vec<PackagePattern>,
    /// How many of the keys must have signed; 1.
    #[schemars(range(min = 1, max = 16))]
    pub threshold: Option<u64>,
    /// The most that any of the packages may be granted; nothing when it is absent.
    pub permissions_max: Option<Permissions>,
    /// Only `false`: this host builds nothing.
    pub build: Option<bool>,
}

/// One revocation: `key`, or `digest`, or `package` with `version` or `sequence-below`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Revoked {
    /// No signature of this key counts.
    pub key: Option<Key>,
    /// This wasm or manifest.
    pub digest: Option<PrefixedDigest>,
    /// Releases of this package.
    pub package: Option<Package>,
    /// A range of versions.
    pub version: Option<String>,
    /// Every sequence below this one.
    pub sequence_below: Option<u64>,
    /// Why, for people.
    pub reason: Option<String>,
}

/// config.toml: the host's own settings.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConfigFile {
    /// The desired directory; absolute, or relative to the home.
    #[schemars(length(min = 1))]
    pub desired: Option<String>,
    /// The signing key's file; absolute, or relative to the home.
    #[schemars(length(min = 1))]
    pub keypair: Option<String>,
    /// What desired files may name as secrets.
    pub secrets: Option<SecretRules>,
    /// What holds for desired files in a repository.
    pub from_git: Option<FromGitSettings>,
    /// What holds for all remote sources.
    pub sources: Option<SourceSettings>,
    /// How much memory all components share.
    pub host: Option<MachineSettings>,
    /// How much of the past is kept.
    pub state: Option<StateSettings>,
    /// What opens the door of single hosts, by `host` or `host:port`.
    pub credentials: Option<BTreeMap<String, HostSettings>>,
}

/// What holds for desired files in a repository.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FromGitSettings {
    /// How often the repository is looked at; 1m, from 1s to 24h.
    pub interval: Option<Time>,
    /// Whether a commit is taken that does not descend from the one applied last.
    pub allow_non_fast_forward: Option<bool>,
    /// The SSH keys of which one must have signed every commit since the one applied last: `ssh-ed25519 AAAA… name`.
    #[schemars(length(min = 1, max = 256))]
    pub signers: Option<Vec<String>>,
}

/// How much memory all components share.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MachineSettings {
    /// What all instances may hold together; half of the machine's memory; from 64MiB.
    pub memory: Option<Size>,
    /// Whether the limits of all instances may add up to more than that, as most hold far less; true.
    pub overcommit: Option<bool>,
    /// How long a stateless component takes no message before it goes without an instance; 60s; from 100ms to 24h.
    pub sleep_after: Option<Time>,
}

/// What desired files may name as secrets.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SecretRules {
    /// Environment variables, or the start of their names and `*`.
    #[schemars(length(max = 256))]
    pub env: Option<Vec<String>>,
    /// Programs, by their absolute paths.
    #[schemars(length(max = 256))]
    pub commands: Option<Vec<String>>,
}

/// How much of the past is kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StateSettings {
    /// Up to which size objects of older generations are kept; 10GiB, from 1MiB.
    pub objects_max: Option<Size>,
    /// Up to which size mirrors of repositories are kept; the ones that were used longest ago go first.
    pub mirrors_max: Option<Size>,
    /// How much may be on its way into the content store at a time.
    pub scratch_max: Option<Size>,
    /// Generations that are kept however old they are; 10.
    #[schemars(range(min = 1, max = 4096))]
    pub keep_generations: Option<u64>,
    /// How long younger generations are kept, in days; 7.
    #[schemars(range(min = 1, max = 3650))]
    pub keep_days: Option<u64>,
    /// In what kind of store components keep things; fjall. `storage migrate` copies from one to the other.
    pub storage_backend: Option<StorageSetting>,
}

/// The kinds of stores.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
pub enum StorageSetting {
    /// Made for many small writes.
    Fjall,
    /// One file, little memory, slower writes.
    Redb,
}

/// What holds for all remote sources.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourceSettings {
    /// How often branches, tags and URLs are looked at again; 5m, from 1s to 24h.
    pub interval: Option<Time>,
    /// The hosts that sources may be on, as `example.com` or `*.example.com`; all when it is absent.
    #[schemars(length(max = 256))]
    pub allow: Option<Vec<String>>,
    /// Whether what is behind a URL is taken only where `sha256` pins it.
    pub require_pin: Option<bool>,
}

/// What opens the door of one host. Paths are absolute, or relative to the home.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostSettings {
    /// User name.
    #[schemars(length(min = 1))]
    pub user: Option<String>,
    /// The file that holds the password or token.
    #[schemars(length(min = 1))]
    pub password_file: Option<String>,
    /// The environment variable that holds the password or token.
    #[schemars(length(min = 1))]
    pub password_env: Option<String>,
    /// An SSH private key.
    #[schemars(length(min = 1))]
    pub ssh_key_file: Option<String>,
    /// The file that holds the key's passphrase.
    #[schemars(length(min = 1))]
    pub ssh_key_passphrase_file: Option<String>,
    /// A `known_hosts` file.
    #[schemars(length(min = 1))]
    pub known_hosts_file: Option<String>,
    /// Certificates of authorities, PEM.
    #[schemars(length(min = 1))]
    pub ca_file: Option<String>,
    /// Whether its name may lead to private and loopback addresses.
    pub allow_private: Option<bool>,
    /// Whether redirects that stay on the host are followed.
    pub follow_redirects: Option<bool>,
    /// An HTTP proxy.
    #[schemars(length(min = 1))]
    pub proxy: Option<String>,
}
