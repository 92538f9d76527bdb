//! Owns what an instance is called for besides messages: its health, what another version stored, the end of its time.
//!
//! Each is an export that a component may have or not.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance as Exported, Lift, Lower, TypedFunc};
use wasmtime::{AsContextMut as _, Store};

use super::super::reply::CallError;
use super::super::version::Version;
use super::{Circumstances, Crash, Ended, Instance, Said, metered, millis, quote};
use crate::codec::Payload;
use crate::host::Guest;
use crate::host::contract::Body;
use crate::host::draining::{DrainParams, DrainResults};
use crate::host::health::{CheckParams, CheckResults, HealthStatus};
use crate::host::migration::{MigrateParams, MigrateResults};
use crate::host::operations::{ExecuteParams, ExecuteResults, OperationError};
use crate::host::reconfiguration::{ReconfigureParams, ReconfigureResults};
use crate::name::OperationName;

/// The time that a component has to say how it is.
pub const HEALTH_CALL: Duration = Duration::from_secs(1);

type Function<Params, Results> = Option<TypedFunc<Params, Results>>;

/// What a component exports besides what most do.
pub(super) struct Optional {
    check: Function<CheckParams, CheckResults>,
    migrate: Function<MigrateParams, MigrateResults>,
    drain: Function<DrainParams, DrainResults>,
    reconfigure: Function<ReconfigureParams, ReconfigureResults>,
    execute: Function<ExecuteParams, ExecuteResults>,
}

/// The function at `index`, which was found, with these types, when the component was linked.
pub(super) fn typed<Params, Results>(
    instance: &Exported,
    store: &mut Store<Guest>,
    index: Option<&ComponentExportIndex>,
) -> wasmtime::Result<Function<Params, Results>>
where
    Params: ComponentNamedList + Lower,
    Results: ComponentNamedList + Lift,
{
    index.map(|index| instance.get_typed_func(store.as_context_mut(), index)).transpose()
}

impl Optional {
    pub(super) fn find(
        instance: &Exported,
        store: &mut Store<Guest>,
        exports: &crate::host::Exports,
    ) -> wasmtime::Result<Self> {
        Ok(Self {
            check: typed(instance, store, exports.check.as_ref())?,
            migrate: typed(instance, store, exports.migrate.as_ref())?,
            drain: typed(instance, store, exports.drain.as_ref())?,
            reconfigure: typed(instance, store, exports.reconfigure.as_ref())?,
            execute: typed(instance, store, exports.execute.as_ref())?,
        })
    }
}

impl Instance {
    /// Whether it can say how it is.
    pub(in crate::actor) fn has_health(&self) -> bool {
        self.optional.check.is_some()
    }

    /// Asks how it is; none when it can't say. A call that does not return leaves it unusable.
    pub(in crate::actor) fn check_health(&mut self) -> Result<Option<HealthStatus>, Crash> {
        let Some(check) = self.optional.check else { return Ok(None) };
        self.begin_aside(HEALTH_CALL);
        match metered(self.account.cpu(), || check.call(&mut self.store, ())) {
            Ok((said,)) => {
                let config = &self.store.data().config;
                Ok(Some(said.map(|text| quote(&config.redactions().apply(&text)))))
            }
            Err(failure) => Err(failure.describe(&self.store, millis(HEALTH_CALL))),
        }
    }

    /// Whose storage it has to take over: the version that wrote last, when that is another one.
    pub(in crate::actor) fn migrates_from(&self) -> Result<Option<Arc<str>>, String> {
        if self.optional.migrate.is_none() {
            return Ok(None);
        }
        match &self.store.data().storage {
            Some(storage) => storage.written_by_another().map_err(|error| error.to_string()),
            None => Ok(None),
        }
    }

    /// Lets it take over what `from` stored.
    pub(in crate::actor) fn migrate(&mut self, from: Arc<str>) -> Result<Said<()>, Ended> {
        let Some(migrate) = self.optional.migrate else { return Ok(Said { answer: (), written: None }) };
        let circumstances = Circumstances { hops: 0, until: None, left: None, mail: None };
        self.transaction(circumstances, |store| Ok(migrate.call(store, (from,))?.0))
    }

    /// Gives it the config of `version`, which differs from its own by that alone. It has it when it says ok.
    pub(in crate::actor) fn reconfigure(&mut self, version: &Arc<Version>) -> Result<(), Ended> {
        let Some(reconfigure) = self.optional.reconfigure else {
            return Err(Ended::Refused("it does not export `reconfigure`".to_owned()));
        };
        let time = version.record.limits.init;
        self.begin_aside(time.duration());
        let guest = self.store.data_mut();
        // What it writes may hold secrets of both.
        let redactions = guest.config.redactions().and(version.config.redactions());
        guest.redact(redactions.clone());
        match metered(self.account.cpu(), || reconfigure.call(&mut self.store, (version.config.text(),))) {
            Ok((Ok(()),)) => {
                self.store.data_mut().config = Arc::clone(&version.config);
                Ok(())
            }
            Ok((Err(text),)) => Err(Ended::Refused(quote(&redactions.apply(&text)))),
            Err(failure) => {
                let crash = failure.describe(&self.store, time);
                Err(Ended::Crashed(Crash { text: redactions.apply(&crash.text).into_owned(), ..crash }))
            }
        }
    }

    /// Whether it has operations.
    pub(super) fn has_operations(&self) -> bool {
        self.optional.execute.is_some()
    }

    /// Lets it carry out an operation. Where it says why not in a way of its own, that is given, too.
    pub(in crate::actor) fn execute(
        &mut self,
        operation: &OperationName,
        input: Payload,
        circumstances: Circumstances,
    ) -> Result<Said<Payload>, (Ended, Option<CallError>)> {
        let Some(execute) = self.optional.execute else {
            let none = CallError::NoOperations;
            return Err((Ended::Refused(none.to_string()), Some(none)));
        };
        let mut refusal: Option<fn(&str) -> CallError> = None;
        let said = self.transaction(circumstances, |store| {
            let (answer,) = execute.call(store, (operation.text(), Body::from(input)))?;
            Ok(answer.map(Payload::from).map_err(|error| match error {
                OperationError::UnknownOperation => {
                    refusal = Some(|_| CallError::UnknownOperation);
                    CallError::UnknownOperation.to_string()
                }
                OperationError::InvalidInput(text) => {
                    refusal = Some(|text| CallError::InvalidInput(text.to_owned()));
                    text
                }
                OperationError::Failed(text) => text,
            }))
        });
        said.map_err(|ended| {
            let refusal = match &ended {
                // The text is cut and escaped by now.
                Ended::Refused(text) => refusal.map(|refusal| refusal(text)),
                Ended::NotKept(_) | Ended::Crashed(_) => None,
            };
            (ended, refusal)
        })
    }

    /// Tells it that it is to stop; none when it does not want to know.
    pub(in crate::actor) fn drain(&mut self, time: Duration) -> Option<Result<Said<()>, Ended>> {
        let drain = self.optional.drain?;
        let circumstances = Circumstances { hops: 0, until: None, left: Some(time), mail: None };
        Some(self.transaction(circumstances, |store| drain.call(store, ()).map(Ok)))
    }
}
