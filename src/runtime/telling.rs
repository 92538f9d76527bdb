//! The lines of a running host that no action tells: what it runs, that it converged, who crashed.

use crate::actor::{ActorChange, ActorEvent, ActorPhase};
use crate::escape::Escaped;
use crate::reconcile::notice::Notice;
use crate::reconcile::{Pass, Reconciler, Tell};
use crate::resolution::Refusal;

use super::HostConfig;

/// Tells that the set converged, once for each generation and after each failure.
#[derive(Default)]
pub(super) struct Convergence {
    told: Option<(u64, usize, usize)>,
}

impl Convergence {
    /// Tells it unless it was told of the same set before.
    pub fn tell(&mut self, pass: &Pass, reconciler: &Reconciler, tell: &Tell) {
        if !pass.summary.converged {
            self.told = None;
            return;
        }
        let committed = reconciler.committed();
        let enabled = committed.records.iter().filter(|(_, targeted)| targeted.record.spec.enabled);
        let actors = reconciler.actors();
        let running = enabled.clone().filter(|(name, _)| actors.phase(name) == Some(ActorPhase::Running)).count();
        let held = pass.plan.actions.iter().filter(|action| !action.is_ready()).count() + pass.plan.unreadable.len();
        let now = (committed.generation.number, running, held);
        if self.told == Some(now) {
            return;
        }
        self.told = Some(now);
        tell(&Notice::Converged {
            running,
            installed: enabled.count(),
            held,
            generation: committed.generation.number,
            took: std::time::Duration::from_micros(pass.summary.took_us),
        });
    }
}

/// The first line of a host.
pub(super) fn opening_line(config: &HostConfig, reconciler: &Reconciler) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let desired = config.desired_shown();
    let home = config.home.root().to_string_lossy();
    let committed = reconciler.committed();
    let installed = match committed.records.len() {
        0 => "nothing installed yet".to_owned(),
        n => format!("{n} installed in generation {}", committed.generation.number),
    };
    format!(
        "airssys-wasm {version}: desired {}, trust {}, home {}, {installed}",
        desired,
        reconciler.trust_shown(),
        Escaped(&home)
    )
}

/// An actor's event as a line.
pub(super) fn notice(event: &ActorEvent) -> Notice {
    let name = event.name.clone();
    match &event.what {
        ActorChange::Crashed(error) => {
            Notice::Crashed { name, error: error.clone(), next: "it starts again after a wait".to_owned() }
        }
        ActorChange::Failed(error) => {
            let why = Refusal::new("crashed-too-often", error.clone());
            Notice::Failed { verb: "run", name, why: why.hint("it is tried again slowly, unless its file says never") }
        }
        ActorChange::Recovered => Notice::Recovered { name },
        ActorChange::Healthy => Notice::Health { name, unwell: None },
        ActorChange::Degraded(text) => Notice::Health { name, unwell: Some(("degraded", text.clone())) },
        ActorChange::Unhealthy(text) => Notice::Health { name, unwell: Some(("unhealthy", text.clone())) },
    }
}
