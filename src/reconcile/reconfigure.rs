//! Tells running instances their new config, and goes back to the old one where they refuse.
//!
//! The new config is committed before: what takes messages runs what is committed, and a host that dies in between
//! starts with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::actor::{NewConfig, ReconfigureError};
use crate::generation::HeldTarget;
use crate::host::GuestConfig;
use crate::name::InstallationName;
use crate::plan::action::{Action, Effect, Instance};
use crate::plan::revert::revert;
use crate::record::Record;
use crate::resolution::Refusal;

use super::apply::{self, FailedAction, Holds};
use super::reconciler::Reconciler;
use super::secrets::Expect;

/// Configs by the installation that is to be told.
pub(super) type NewConfigs = BTreeMap<InstallationName, Arc<GuestConfig>>;

impl Reconciler {
    /// The configs of all actions that tell one to a running instance. Where a secret can't be read the action fails.
    pub(super) fn new_configs(&self, actions: &[Action], failed: &mut Vec<FailedAction>) -> NewConfigs {
        let preparer = self.preparer(Expect::AsRecorded, &self.parts.compile_limits);
        let mut configs = NewConfigs::new();
        for (action, record) in actions.iter().filter_map(|action| Some((action, apply::told_record(action)?))) {
            match preparer.config(record) {
                Ok(config) => drop(configs.insert(action.name.clone(), config)),
                Err(why) => failed.push(FailedAction { action: action.clone(), why }),
            }
        }
        configs
    }

    /// Tells the running instances; gives the actions of those that keep their old config.
    pub(super) fn tell_configs(&self, ready: &[&Action], mut configs: NewConfigs) -> Vec<FailedAction> {
        let told = ready.iter().filter_map(|action| {
            let record = Arc::clone(apply::told_record(action)?);
            Some((*action, NewConfig { record, config: configs.remove(&action.name)? }))
        });
        let (actions, news): (Vec<&Action>, Vec<NewConfig>) = told.unzip();
        let results = self.parts.actors.reconfigure(news);
        let refused = actions.into_iter().zip(results).filter_map(|(action, result)| match result {
            // Late, it has the config when its call ends; gone, it starts again with it.
            Ok(()) | Err(ReconfigureError::Late | ReconfigureError::NotThere) => None,
            Err(error @ ReconfigureError::Refused(_)) => {
                let why = Refusal::new("reconfigure-refused", error.to_string());
                let why = why.hint("`[config]` of the desired file reaches reconfigure; see also the component's log");
                Some(FailedAction { action: action.clone(), why })
            }
        });
        refused.collect()
    }

    /// Commits the records of before for those that keep their old config, and holds the new ones.
    pub(super) fn take_back(
        &mut self,
        refused: &[FailedAction],
        before: &BTreeMap<InstallationName, Arc<Record>>,
        begun: Instant,
    ) -> anyhow::Result<()> {
        if refused.is_empty() {
            return Ok(());
        }
        let observed = self.observe();
        let mut actions = Vec::new();
        let mut holds = Holds::default();
        for FailedAction { action, why } in refused {
            let name = &action.name;
            let (Some(installed), Some(previous)) = (observed.installed.get(name), before.get(name)) else { continue };
            let Some(mut back) = revert(installed, previous.clone(), &why.message, &crate::host::SURFACE) else {
                continue;
            };
            if let Some(Effect::Commit(commit)) = &mut back.effect {
                // It never had the other one.
                commit.instance = Instance::Keep;
            }
            holds.add.insert(name.clone(), HeldTarget { target: installed.target, reason: why.message.clone() });
            actions.push(back);
        }
        self.carry_out(&actions, holds, begun).map(drop)
    }
}
