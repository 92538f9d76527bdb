//! What the answer to a request waits for, in one line.

use std::time::Duration;

use super::Global;
use super::run::Printer;
use crate::control::client::{AskError, Client};
use crate::reconcile::notice::Notice;
use crate::reconcile::resolve::FETCHING;
use crate::status::HostStatus;

/// How long nothing is said of what is waited for, and how often it is looked whether that is something else by now.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Most names that are told.
const MAX_NAMES: usize = 5;

/// The answer to a request; as long as it does not come, people are told why.
pub(super) async fn told<T>(
    client: &Client,
    global: &Global,
    answer: impl Future<Output = Result<T, AskError>>,
) -> Result<T, AskError> {
    let printer = Printer::new(global);
    tokio::pin!(answer);
    let mut told = None;
    loop {
        if let Ok(answer) = tokio::time::timeout(LOOK_EVERY, &mut answer).await {
            return answer;
        }
        // Its status comes from beside the loop, which may be in the middle of a pass.
        let now = client.status().await.ok().and_then(|status| waits_for(&status));
        if let Some(text) = now.clone().filter(|_| now != told) {
            printer.tell(&Notice::Info { text });
            told = now;
        }
    }
}

/// None when nothing is known to be under way.
fn waits_for(status: &HostStatus) -> Option<String> {
    let (mut compiling, mut fetching) = (Vec::new(), Vec::new());
    for component in &status.components {
        match &component.held {
            Some(note) if note.kind == "compiling" => compiling.push(component.name.as_str()),
            Some(note) if note.why.code == FETCHING => fetching.push(component.name.as_str()),
            _ => {}
        }
    }
    let repository = status.problems.iter().any(|problem| problem.code == FETCHING);
    let parts = [
        (!compiling.is_empty()).then(|| format!("code that is compiled beside everything else: {}", names(&compiling))),
        (!fetching.is_empty()).then(|| format!("what is fetched for {}", names(&fetching))),
        repository.then(|| "the repository of the desired files".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| format!("waits for {}", parts.join("; and for ")))
}

fn names(names: &[&str]) -> String {
    let shown = names.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolution::Refusal;
    use crate::status::{ComponentState, ComponentStatus, Note, STATUS_TYPE};

    fn component(name: &str, kind: &str, code: &str) -> ComponentStatus {
        let note = Note { kind: kind.to_owned(), location: None, why: Refusal::new(code, "m") };
        ComponentStatus {
            name: name.to_owned(),
            state: ComponentState::Missing,
            installed: None,
            actor: None,
            paused: None,
            source: None,
            held: Some(note),
        }
    }

    fn status(components: Vec<ComponentStatus>) -> HostStatus {
        HostStatus {
            document: STATUS_TYPE.to_owned(),
            host: None,
            desired: None,
            from_git: None,
            trust: None,
            generation: 1,
            last_pass: None,
            paused: None,
            components,
            problems: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_under_way_is_waited_for_and_many_names_are_cut() {
        assert_eq!(waits_for(&status(vec![component("held", "hold", "invalid-file")])), None);
        let one = status(vec![component("slow", "compiling", "compiling"), component("far", "hold", FETCHING)]);
        let text = "waits for code that is compiled beside everything else: slow; and for what is fetched for far";
        assert_eq!(waits_for(&one).as_deref(), Some(text));
        let many = (0..7).map(|n| component(&format!("c{n}"), "hold", FETCHING)).collect();
        assert_eq!(
            waits_for(&status(many)).as_deref(),
            Some("waits for what is fetched for c0, c1, c2, c3, c4 and 2 more")
        );
        let repository = HostStatus { problems: vec![Refusal::new(FETCHING, "m")], ..status(Vec::new()) };
        assert_eq!(waits_for(&repository).as_deref(), Some("waits for the repository of the desired files"));
    }
}
