//! A declarative reconciling runtime for signed WebAssembly components, each of them an actor.
//!
//! A directory of TOML files says which components run. The host reads it, fetches what the files
//! name, verifies signatures, compares the result with what is committed and running, prints a plan,
//! and carries the plan out: prepare, commit, switch, mark good. Then it watches, and does it again.
//!
//! # The main path, as types
//!
//! ```text
//! desired/*.toml --read--> files
//!    desired::file::parse    -> ParsedFile            pure; every problem at once, with place and hint
//!    desired::assemble       -> DesiredState          pure; a bad file HOLDS its installation
//!    reconcile::resolve      -> Fetched -> trust::verify_manifest -> VerifiedManifest
//!                               -> wasm into the content store -> VerifiedArtifact, or a Refusal
//!    reconcile::observe      -> Observed              what is committed, what runs
//!    plan::plan              -> Plan                  pure; what `plan` prints, what `apply` runs
//!    reconcile::apply        prepare (engine::compile -> CompiledComponent -> Standby, healthy)
//!                            -> commit one generation -> switch mailboxes -> mark good
//! ```
//!
//! Running unsigned bytes can't be written down: the engine compiles and loads only for a
//! [`trust::VerifiedArtifact`], which only [`trust`] can make, out of a manifest whose signature it
//! checked and a wasm whose digest that manifest names.
//!
//! # The floors
//!
//! Modules import downwards only; `tests/it/architecture.rs` holds them to it.
//!
//! | floor | modules | may touch |
//! |---|---|---|
//! | 0 vocabulary | [`name`], [`address`], [`digest`], [`key`], [`quantity`], [`codec`], [`permission`], [`limits`], [`hex`], [`timestamp`], [`sealed`], [`escape`], [`diagnostic`], [`document`], [`remote_url`], [`secret`] | nothing |
//! | 1 decisions | [`desired`], [`manifest`], [`trust`], [`record`], [`resolution`], [`observed`], [`paused`], [`plan`], [`snapshot`], [`generation`], [`floors`], [`backoff`], [`remote`], [`status`], [`surface`], [`history`], [`audit`], [`config`], [`saved`], [`export`] | nothing: no files, clock, randomness, environment |
//! | 2 adapters | `home`, `safe_open`, `source`, `state`, `watch`, `logs`, `engine`, `storage`, `host`, `user` | one outside thing each |
//! | 2½ workers | `worker` | processes of this program, in which sources fetch and the engine compiles |
//! | 3 actors | `actor` | threads, the engine |
//! | 4 reconcile | `reconcile` | everything below, no printing |
//! | 5 doors | `runtime` (embedding), `control` (Unix socket), `schema`, `cli` | everything below |
//!
//! Floors 0 and 1 are the pure core. The default feature `runtime` gates the rest, so that
//! `cargo test --no-default-features --lib` builds the core alone, without an engine, an async
//! runtime or a file watcher among its dependencies.
//!
//! # What holds throughout
//!
//! * **Level, not edge.** An event only means "look again". A pass starts from what is there.
//! * **Nothing is decided while a plan is carried out.** If the executor wants to choose, the plan
//!   lacks a field.
//! * **Held is not absent.** A file that can't be read, parsed or verified keeps its installation at
//!   the last good version. Removal needs a complete list in which the file is not.
//! * **The commit point is one rename.** What is on disk says what runs; effects are derived from it
//!   and can be repeated, so a kill at any moment costs nothing but the pass.
//! * **No message goes through the reconciler.** It may fail; the actors go on.
#![forbid(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

#[cfg(windows)]
compile_error!("airssys-wasm runs on Linux and, as a best effort, on macOS; Windows is not supported");

pub mod address;
pub mod audit;
pub mod backoff;
pub mod codec;
pub mod config;
pub mod desired;
pub mod diagnostic;
pub mod digest;
pub mod document;
pub mod escape;
pub mod export;
pub mod floors;
pub mod generation;
pub mod hex;
pub mod history;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod observed;
pub mod paused;
pub mod permission;
pub mod plan;
pub mod quantity;
pub mod record;
pub mod remote;
pub mod remote_url;
pub mod resolution;
pub mod saved;
pub mod sealed;
pub mod secret;
pub mod snapshot;
pub mod status;
pub mod surface;
mod text_serde;
pub mod timestamp;
pub mod trust;

#[cfg(feature = "runtime")]
pub mod actor;
#[cfg(feature = "runtime")]
pub mod cli;
#[cfg(feature = "runtime")]
pub mod control;
#[cfg(feature = "runtime")]
pub mod engine;
#[cfg(feature = "runtime")]
pub mod home;
#[cfg(feature = "runtime")]
pub mod host;
#[cfg(feature = "runtime")]
pub mod logs;
#[cfg(feature = "runtime")]
pub mod reconcile;
#[cfg(feature = "runtime")]
pub mod runtime;
#[cfg(feature = "runtime")]
pub mod safe_open;
#[cfg(feature = "runtime")]
pub mod schema;
#[cfg(feature = "runtime")]
pub mod source;
#[cfg(feature = "runtime")]
pub mod state;
#[cfg(feature = "runtime")]
pub mod storage;
#[cfg(feature = "runtime")]
pub mod user;
#[cfg(feature = "runtime")]
pub mod watch;
#[cfg(feature = "runtime")]
pub mod worker;

#[cfg(test)]
pub(crate) mod golden;
#[cfg(all(test, feature = "runtime"))]
pub(crate) mod test_guest;
#[cfg(test)]
pub(crate) mod test_scale;
