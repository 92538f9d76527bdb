//! Decides what a component may import from this host and what this host calls of it.
//!
//! There is one linker, the quiet one: no import waits for anything. What the imports do stands in
//! `host`; who may be sent to is the actor system's decision.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Linker, Lower};

use super::{Guest, OFFERED, add_to_linker, contract, draining, health, migration, operations, reconfiguration};
use crate::digest::Digest;
use crate::engine::{CompiledComponent, Engine};
use crate::escape::escape;
use crate::surface::satisfies;

/// Longest list of names that an error shows.
const MAX_LISTED: usize = 32;

/// Why a compiled component cannot be started on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It imports what this host does not have.
    #[error("the component imports what this host does not offer: {}; offered are: {}", list(missing), list(offered))]
    MissingImports {
        /// Interfaces and functions, escaped.
        missing: Vec<String>,
        /// What there is.
        offered: Vec<String>,
    },
    /// It imports something under a known name but of another type.
    #[error("the component's imports do not fit this host: {0}")]
    OtherImportType(String),
    /// It exports nothing that this host calls.
    #[error(
        "the component exports nothing that this host calls; it exports: {}; this host calls: {}",
        list(exported),
        list(known)
    )]
    NothingToCall {
        /// What it exports, escaped.
        exported: Vec<String>,
        /// What this host knows.
        known: Vec<String>,
    },
    /// It asks questions and takes no answers.
    #[error(
        "the component imports `{}` and does not export `{}`, so no answer would reach it",
        super::requests::INTERFACE,
        contract::CALLBACK_HANDLER
    )]
    NobodyToAnswer,
    /// It exports a known interface with another content.
    #[error("the component exports `{interface}`, and its `{function}` is not as this host calls it: {problem}")]
    OtherExportType {
        /// The interface.
        interface: &'static str,
        /// The function.
        function: &'static str,
        /// What differs, escaped.
        problem: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    let mut text = names.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MAX_LISTED {
        text.push_str(&format!(" and {} more", names.len() - MAX_LISTED));
    }
    text
}

/// A component whose imports are bound and whose exports are found.
pub struct Linked {
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) exports: Exports,
}

/// Where to find what this host calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exports {
    pub(crate) init: Option<ComponentExportIndex>,
    pub(crate) shutdown: Option<ComponentExportIndex>,
    pub(crate) handle: Option<ComponentExportIndex>,
    pub(crate) callback: Option<ComponentExportIndex>,
    pub(crate) check: Option<ComponentExportIndex>,
    pub(crate) drain: Option<ComponentExportIndex>,
    pub(crate) migrate: Option<ComponentExportIndex>,
    pub(crate) reconfigure: Option<ComponentExportIndex>,
    pub(crate) execute: Option<ComponentExportIndex>,
}

impl Linked {
    /// Whether messages can be delivered to it.
    pub fn takes_messages(&self) -> bool {
        self.exports.handle.is_some()
    }

    /// Whether operations of it can be called.
    pub fn takes_operations(&self) -> bool {
        self.exports.execute.is_some()
    }
}

/// Binds components to the interfaces of this host, none of which waits for anything.
pub struct QuietLinker {
    linker: Linker<Guest>,
    /// What is in use: installations of one artifact share it.
    linked: Mutex<HashMap<Digest, Weak<Linked>>>,
}

impl QuietLinker {
    /// A linker for components of `engine`.
    pub fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine.wasmtime());
        add_to_linker(&mut linker)?;
        Ok(Self { linker, linked: Mutex::default() })
    }

    /// The imports of a component that this host cannot satisfy, in the order of their names, escaped.
    pub fn missing_imports(&self, compiled: &CompiledComponent) -> Vec<String> {
        let ty = compiled.component().component_type();
        let missing: BTreeSet<String> = ty
            .imports(self.linker.engine())
            .filter(|(name, _)| !OFFERED.iter().any(|offered| satisfies(offered, name)))
            // A world may import an interface for its types alone; an instance without functions asks for nothing.
            .filter(|(_, import)| !is_only_types(self.linker.engine(), &import.ty))
            .map(|(name, _)| escape(name))
            .collect();
        missing.into_iter().collect()
    }

    /// Binds the imports and finds the exports.
    pub fn link(&self, compiled: &CompiledComponent) -> Result<Arc<Linked>, LinkError> {
        let known = || self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linked) = known().get(&compiled.wasm()).and_then(Weak::upgrade) {
            return Ok(linked);
        }
        let linked = Arc::new(self.link_now(compiled)?);
        let mut known = known();
        // Looked through only when the map would grow, so that a thousand starts do not look a thousand times.
        if known.len() == known.capacity() {
            known.retain(|_, linked| linked.strong_count() > 0);
        }
        known.insert(compiled.wasm(), Arc::downgrade(&linked));
        Ok(linked)
    }

    fn link_now(&self, compiled: &CompiledComponent) -> Result<Linked, LinkError> {
        let pre = self.linker.instantiate_pre(compiled.component()).map_err(|error| self.why_not(compiled, &error))?;
        let exports = find_exports(&pre)?;
        if exports.init.is_none() && exports.handle.is_none() && exports.execute.is_none() {
            let ty = compiled.component().component_type();
            let exported = ty.exports(self.linker.engine()).map(|(name, _)| escape(name)).collect();
            let known = contract::CALLED.iter().map(|name| (*name).to_owned()).collect();
            return Err(LinkError::NothingToCall { exported, known });
        }
        if exports.callback.is_none() && self.asks(compiled) {
            return Err(LinkError::NobodyToAnswer);
        }
        Ok(Linked { pre, exports })
    }

    fn asks(&self, compiled: &CompiledComponent) -> bool {
        let engine = self.linker.engine();
        compiled
            .component()
            .component_type()
            .imports(engine)
            .any(|(name, import)| satisfies(super::requests::INTERFACE, name) && !is_only_types(engine, &import.ty))
    }

    /// What speaks against a component is looked for only when something does.
    fn why_not(&self, compiled: &CompiledComponent, error: &wasmtime::Error) -> LinkError {
        let missing = self.missing_imports(compiled);
        if missing.is_empty() {
            return LinkError::OtherImportType(escape(&format!("{error:#}")));
        }
        LinkError::MissingImports { missing, offered: OFFERED.iter().map(|name| (*name).to_owned()).collect() }
    }
}

fn is_only_types(engine: &wasmtime::Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, export)| matches!(export.ty, ComponentItem::Type(_)))
        }
        ComponentItem::Type(_) => true,
        _ => false,
    }
}

fn find_exports(pre: &InstancePre<Guest>) -> Result<Exports, LinkError> {
    let mut exports = Exports::default();
    if let Some(lifecycle) = pre.component().get_export_index(None, contract::LIFECYCLE) {
        exports.init = Some(function::<contract::InitParams, contract::InitResults>(
            pre,
            (&lifecycle, contract::LIFECYCLE),
            "init",
        )?);
        exports.shutdown = Some(function::<(), ()>(pre, (&lifecycle, contract::LIFECYCLE), "shutdown")?);
    }
    exports.handle = one::<contract::HandleParams, contract::HandleResults>(pre, contract::MESSAGE_HANDLER, "handle")?;
    exports.callback =
        one::<contract::CallbackParams, contract::CallbackResults>(pre, contract::CALLBACK_HANDLER, "handle-callback")?;
    exports.check = one::<health::CheckParams, health::CheckResults>(pre, health::INTERFACE, "check")?;
    exports.drain = one::<draining::DrainParams, draining::DrainResults>(pre, draining::INTERFACE, "drain")?;
    exports.migrate = one::<migration::MigrateParams, migration::MigrateResults>(pre, migration::INTERFACE, "migrate")?;
    exports.execute =
        one::<operations::ExecuteParams, operations::ExecuteResults>(pre, operations::INTERFACE, "execute")?;
    exports.reconfigure = one::<reconfiguration::ReconfigureParams, reconfiguration::ReconfigureResults>(
        pre,
        reconfiguration::INTERFACE,
        "reconfigure",
    )?;
    Ok(exports)
}

/// The one function of an interface, if the component exports that.
fn one<Params, Results>(
    pre: &InstancePre<Guest>,
    interface: &'static str,
    name: &'static str,
) -> Result<Option<ComponentExportIndex>, LinkError>
where
    Params: ComponentNamedList + Lower,
    Results: ComponentNamedList + Lift,
{
    let Some(instance) = pre.component().get_export_index(None, interface) else { return Ok(None) };
    function::<Params, Results>(pre, (&instance, interface), name).map(Some)
}

fn function<Params, Results>(
    pre: &InstancePre<Guest>,
    (instance, interface): (&ComponentExportIndex, &'static str),
    function: &'static str,
) -> Result<ComponentExportIndex, LinkError>
where
    Params: ComponentNamedList + Lower,
    Results: ComponentNamedList + Lift,
{
    let other = |problem: &str| LinkError::OtherExportType { interface, function, problem: escape(problem) };
    let (item, index) = pre.component().get_export(Some(instance), function).ok_or_else(|| other("there is none"))?;
    let ComponentItem::ComponentFunc(ty) = item else { return Err(other("it is no function")) };
    check_type::<Params, Results>(&ty, pre).map_err(|e| other(&format!("{e:#}")))?;
    Ok(index)
}

fn check_type<Params, Results>(ty: &ComponentFunc, pre: &InstancePre<Guest>) -> wasmtime::Result<()>
where
    Params: ComponentNamedList + Lower,
    Results: ComponentNamedList + Lift,
{
    ty.typecheck::<Params, Results>(&pre.instance_type())
}
