//! `storage`: what components keep, seen and handled from outside while no host runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::document_file::new_file;
use super::exit::{Exit, Failure};
use super::output;
use crate::escape::escape;
use crate::generation::Generation;
use crate::limits::{MAX_STORAGE_BYTES, MAX_STORAGE_KEYS};
use crate::quantity::ByteSize;
use crate::reconcile::unix_now_s;
use crate::state::{Options, Store as State};
use crate::storage::{
    self, BackendKind, Copied, DumpError, Mailbox, MigrateError, Quota, Storage, Store, StoreError, Usage,
};

/// Options of `storage`.
#[derive(Args)]
pub struct StorageArgs {
    #[command(subcommand)]
    command: StorageCommand,
}

#[derive(Subcommand)]
enum StorageCommand {
    /// List what each component keeps, and what removed ones left behind
    List,
    /// Read everything and compare it with what is counted; changes nothing
    Verify,
    /// Write entries to a file, in chunks with digests
    Export {
        /// The file to make; it must not exist
        file: PathBuf,
        /// Only this storage, by its number; may be repeated
        #[arg(long = "id", value_name = "ID")]
        ids: Vec<u64>,
    },
    /// Store the entries of an export, over what is there; may be repeated
    Import {
        /// The export
        file: PathBuf,
    },
    /// Copy everything to another kind of store, compare, and set the old one aside
    Migrate {
        /// fjall or redb
        #[arg(long, value_name = "BACKEND")]
        to: BackendKind,
    },
    /// Remove what removed components left behind, for good
    Purge {
        /// The storages to remove, by their numbers
        #[arg(value_name = "ID", required_unless_present = "orphans")]
        ids: Vec<u64>,
        /// All that belong to no installation
        #[arg(long, conflicts_with = "ids")]
        orphans: bool,
    },
}

/// What `storage list` prints.
#[derive(Serialize)]
struct Listing {
    #[serde(rename = "$type")]
    document: &'static str,
    backend: String,
    storages: Vec<Listed>,
    /// What is to be purged and was cut off; the next `storage purge` finishes it.
    purging: Vec<u64>,
}

#[derive(Serialize)]
struct Listed {
    id: u64,
    /// None: the component was removed, and its storage was kept.
    installation: Option<String>,
    bytes: u64,
    keys: u64,
    /// Messages that wait for it.
    messages: u64,
    message_bytes: u64,
}

#[derive(Serialize)]
struct Verdict {
    #[serde(rename = "$type")]
    document: &'static str,
    sound: bool,
    storages: u64,
    keys: u64,
    bytes: u64,
    messages: u64,
    dead_letters: u64,
    differences: Vec<String>,
}

/// The state under its lock, so that no host runs meanwhile.
struct Locked {
    generation: Generation,
    /// How much each installed storage may hold, by its id.
    quotas: BTreeMap<u64, Quota>,
    kind: BackendKind,
    directory: PathBuf,
    _state: State,
}

impl Locked {
    fn open(global: &Global) -> Result<Self, Failure> {
        let home = global.home()?;
        let settings = global.config()?.state;
        let options = Options::with(unix_now_s().unsigned_abs(), &settings);
        let opened = State::open(&home, options).map_err(|error| Failure::state(&error))?;
        let (generation, kind) = (opened.snapshot.generation.clone(), BackendKind::from(settings.storage_backend));
        let slot = |name| generation.entries.get(name).map(|slot| slot.storage_id);
        let records = opened.snapshot.records.iter();
        let quotas = records.filter_map(|(name, record)| Some((slot(name)?, Quota::of(&record.limits)))).collect();
        Ok(Self { generation, quotas, kind, directory: home.kv_dir(), _state: opened.store })
    }

    fn owners(&self) -> BTreeMap<u64, String> {
        self.generation.entries.iter().map(|(name, slot)| (slot.storage_id, name.to_string())).collect()
    }

    /// The storages that are being purged. What is installed was noted by a host that died before its commit.
    fn purging(&self, store: &Store) -> Result<Vec<u64>, Failure> {
        let (owners, noted) = (self.owners(), store.noted_purges().map_err(|error| failure(&error))?);
        Ok(noted.into_iter().filter(|id| !owners.contains_key(id)).collect())
    }

    /// None when no component ever kept anything.
    fn store(&self) -> Result<Option<Arc<Store>>, Failure> {
        let storage = Storage::at(self.kind, &self.directory);
        if !storage.exists() {
            return Ok(None);
        }
        storage.store().map(Some).map_err(|error| failure(&error))
    }
}

/// Does what the command says. No host may run on the same home.
pub(crate) fn storage(global: &Global, args: StorageArgs) -> Result<ExitCode, Failure> {
    let locked = Locked::open(global)?;
    match args.command {
        StorageCommand::List => list(global, &locked),
        StorageCommand::Verify => verify(global, &locked),
        StorageCommand::Export { file, ids } => export(global, &locked, &file, ids),
        StorageCommand::Import { file } => import(global, &locked, &file),
        StorageCommand::Migrate { to } => migrate(global, &locked, to),
        StorageCommand::Purge { ids, orphans } => purge(global, &locked, ids, orphans),
    }
}

fn list(global: &Global, locked: &Locked) -> Result<ExitCode, Failure> {
    let mut listing = Listing {
        document: "airssys-wasm/storage/v1",
        backend: locked.kind.to_string(),
        storages: Vec::new(),
        purging: Vec::new(),
    };
    if let Some(store) = locked.store()? {
        let owners = locked.owners();
        listing.purging = locked.purging(&store)?;
        let usages: BTreeMap<u64, Usage> = store.ids().map_err(|error| failure(&error))?.into_iter().collect();
        let mailboxes = store.mailboxes().map_err(|error| failure(&error))?;
        for id in usages.keys().chain(mailboxes.keys()).copied().collect::<BTreeSet<u64>>() {
            let Usage { bytes, keys, .. } = usages.get(&id).copied().unwrap_or_default();
            let Mailbox { messages, bytes: message_bytes } = mailboxes.get(&id).copied().unwrap_or_default();
            let installation = owners.get(&id).cloned();
            listing.storages.push(Listed { id, installation, bytes, keys, messages, message_bytes });
        }
    }
    output::print(global.output, &listing, || text(&listing))?;
    Ok(ExitCode::SUCCESS)
}

fn text(listing: &Listing) -> String {
    let mut text = String::new();
    for Listed { id, installation, bytes, keys, messages, message_bytes } in &listing.storages {
        let owner = installation.as_deref().unwrap_or("(no installation)");
        let purge = if listing.purging.contains(id) { ", being purged" } else { "" };
        let mail = match messages {
            0 => String::new(),
            waiting => format!(", {waiting} messages with {}", ByteSize(*message_bytes)),
        };
        text += &format!("{id:>6}  {owner}  {} in {keys} keys{mail}{purge}\n", ByteSize(*bytes));
    }
    if text.is_empty() { "nothing is stored\n".to_owned() } else { text }
}

fn verify(global: &Global, locked: &Locked) -> Result<ExitCode, Failure> {
    let verified = match locked.store()? {
        Some(store) => store.verify().map_err(|error| failure(&error))?,
        None => storage::Verified::default(),
    };
    let verdict = Verdict {
        document: "airssys-wasm/storage-verify/v1",
        sound: verified.differences.is_empty(),
        storages: verified.ids,
        keys: verified.keys,
        bytes: verified.bytes,
        messages: verified.messages,
        dead_letters: verified.letters,
        differences: verified.differences.iter().map(ToString::to_string).collect(),
    };
    output::print(global.output, &verdict, || {
        let mut text: String = verdict.differences.iter().map(|difference| format!("! {difference}\n")).collect();
        text +=
            &format!("checked  {} storages, {} in {} keys\n", verdict.storages, ByteSize(verdict.bytes), verdict.keys);
        if verdict.messages + verdict.dead_letters > 0 {
            text += &format!("checked  {} messages, {} dead letters\n", verdict.messages, verdict.dead_letters);
        }
        text + if verdict.sound { "sound\n" } else { "not sound: export what can be read, and restore a backup\n" }
    })?;
    Ok(if verdict.sound { ExitCode::SUCCESS } else { Exit::General.into() })
}

fn export(global: &Global, locked: &Locked, path: &Path, ids: Vec<u64>) -> Result<ExitCode, Failure> {
    let Some(store) = locked.store()? else {
        return Err(Failure::message(Exit::General, "nothing is stored, so there is nothing to export"));
    };
    let owners = locked.owners();
    for id in store.noted_purges().map_err(|error| failure(&error))?.iter().filter(|id| owners.contains_key(id)) {
        store.take_back_purge(*id).map_err(|error| failure(&error))?;
    }
    let only: Option<BTreeSet<u64>> = (!ids.is_empty()).then(|| ids.into_iter().collect());
    let held = store.held_ids().map_err(|error| failure(&error))?;
    if let Some(id) = only.iter().flatten().find(|id| !held.contains(id)) {
        let message = format!("storage {id} holds nothing");
        return Err(Failure::message(Exit::General, message).hint("`airssys-wasm storage list` shows what there is"));
    }
    if path.symlink_metadata().is_ok() {
        let shown = escape(&path.to_string_lossy());
        return Err(Failure::message(Exit::General, format!("{shown} is there; an export overwrites nothing")));
    }
    let copied = new_file(path, |file| {
        let mut out = BufWriter::new(file);
        let copied = store.export(only.as_ref(), &mut out).map_err(dumped)?;
        out.flush().map_err(|error| Failure::new(Exit::General, error))?;
        Ok(copied)
    })?;
    said(global, "exported", copied)
}

fn import(global: &Global, locked: &Locked, path: &PathBuf) -> Result<ExitCode, Failure> {
    let shown = escape(&path.to_string_lossy());
    let file = File::open(path).map_err(|error| {
        Failure::new(Exit::General, anyhow::Error::new(error).context(format!("can't open {shown}")))
    })?;
    let store = Arc::clone(&Storage::at(locked.kind, &locked.directory).store().map_err(|error| failure(&error))?);
    let next = locked.generation.next_storage_id;
    let purging = locked.purging(&store)?;
    let is_known = |id: &u64| *id < next && !purging.contains(id);
    // What belongs to nobody had a limit that is not known any more.
    let most = Quota { bytes: MAX_STORAGE_BYTES, keys: MAX_STORAGE_KEYS };
    let quota_of = |id| Some(id).filter(is_known).map(|id| locked.quotas.get(&id).copied().unwrap_or(most));
    let copied = store.import(&mut BufReader::new(file), quota_of).map_err(dumped)?;
    said(global, "imported", copied)
}

fn said(global: &Global, what: &str, copied: Copied) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Report {
        #[serde(rename = "$type")]
        document: &'static str,
        chunks: u64,
        entries: u64,
    }
    let Copied { chunks, entries } = copied;
    let report = Report { document: "airssys-wasm/storage-copied/v1", chunks, entries };
    output::print(global.output, &report, || format!("{what}  {entries} entries in {chunks} chunks\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn migrate(global: &Global, locked: &Locked, to: BackendKind) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Report {
        #[serde(rename = "$type")]
        document: &'static str,
        entries: u64,
        set_aside: String,
    }
    let from = BackendKind::LASTING.into_iter().find(|kind| *kind != to).unwrap_or_default();
    let (entries, aside) = storage::migrate(&locked.directory, from, to).map_err(|error| match error {
        MigrateError::Store(error) => failure(&error),
        other => Failure::new(Exit::General, other),
    })?;
    let set_aside = escape(&aside.to_string_lossy());
    let report = Report { document: "airssys-wasm/storage-migrated/v1", entries, set_aside };
    output::print(global.output, &report, || {
        format!(
            "copied  {entries} entries from {from} to {to}, and compared\nset aside  {}\n\
             next  write [state] storage-backend = \"{to}\" in config.toml, then start the host\n",
            report.set_aside
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn purge(global: &Global, locked: &Locked, ids: Vec<u64>, orphans: bool) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct Report {
        #[serde(rename = "$type")]
        document: &'static str,
        purged: usize,
    }
    let purged = match locked.store()? {
        Some(store) => purge_in(locked, &store, ids, orphans)?,
        None => 0,
    };
    let report = Report { document: "airssys-wasm/storage-purged/v1", purged };
    output::print(global.output, &report, || format!("purged  {purged} storages\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn purge_in(locked: &Locked, store: &Arc<Store>, ids: Vec<u64>, orphans: bool) -> Result<usize, Failure> {
    let owners = locked.owners();
    let mut held: BTreeSet<u64> = store.ids().map_err(|error| failure(&error))?.into_iter().map(|(id, _)| id).collect();
    held.extend(store.mail_ids().map_err(|error| failure(&error))?);
    if let Some((id, owner)) = ids.iter().find_map(|id| Some((id, owners.get(id)?))) {
        let message = format!("storage {id} belongs to {owner}, which is installed");
        return Err(Failure::message(Exit::General, message).hint("remove its desired file first, and let a pass run"));
    }
    if let Some(id) = ids.iter().find(|id| !held.contains(id)) {
        return Err(Failure::message(Exit::General, format!("there is no storage {id}")).hint("storage list"));
    }
    let ids = if orphans { held.into_iter().filter(|id| !owners.contains_key(id)).collect() } else { ids };
    store.note_purge(&ids).map_err(|error| failure(&error))?;
    store.purge_noted(|id| owners.contains_key(&id)).map_err(|error| failure(&error))
}

fn failure(error: &StoreError) -> Failure {
    Failure::message(Exit::Configuration, error.to_string())
}

fn dumped(error: DumpError) -> Failure {
    match error {
        DumpError::Store(error) => failure(&error),
        DumpError::Io(_) => Failure::new(Exit::General, error),
        _ => Failure::new(Exit::Validation, error),
    }
}
