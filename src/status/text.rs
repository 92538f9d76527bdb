//! Writes the status document as text for people.
//!
//! No colour and no terminal width here: the same document gives the same bytes.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

use super::{
    ActorCounters, CodecCount, ComponentStatus, HealthReport, HostStatus, Note, RepositoryStatus, SourceStatus,
};
use crate::quantity::ByteSize;

/// One line a component, with a head: what `list` prints.
pub fn table(status: &HostStatus) -> String {
    if status.components.is_empty() {
        return "no components\n".to_owned();
    }
    let head = ["NAME", "STATE", "PACKAGE", "VERSION", "HANDLED", "RESTARTS", "NOTE"].map(str::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(status.components.iter().map(row)).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell}{}", " ".repeat(width - cell.width() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(component: &ComponentStatus) -> [String; 7] {
    let installed = component.installed.as_ref();
    let actor = component.actor.as_ref();
    let dash = || "-".to_owned();
    [
        component.name.clone(),
        component.state.word().to_owned(),
        installed.map_or_else(dash, |i| i.package.clone()),
        installed.map_or_else(dash, |i| i.version.clone()),
        actor.map_or_else(dash, |a| a.handled.to_string()),
        actor.map_or_else(dash, |a| a.restarts.to_string()),
        match (&component.held, &component.paused) {
            (Some(note), _) => format!("{}: {}", note.kind, note.why.code),
            (None, Some(_)) => "paused".to_owned(),
            // What it says of itself matters most where nothing else does.
            (None, None) => actor
                .and_then(|actor| actor.health.as_ref())
                .filter(|health| health.state != "healthy")
                .map_or_else(String::new, |health| health.state.clone()),
        },
    ]
}

/// Everything, or all about one component: what `status` prints.
pub fn full(status: &HostStatus, only: Option<&str>) -> String {
    let mut text = String::new();
    if only.is_none() {
        host(&mut text, status);
    }
    for component in status.components.iter().filter(|c| only.is_none_or(|name| c.name == name)) {
        describe(&mut text, component);
    }
    text
}

fn host(text: &mut String, status: &HostStatus) {
    match &status.host {
        None => text.push_str("host        not running; this is what was committed\n"),
        Some(host) => {
            let uptime = span(host.uptime_ms);
            let _ = writeln!(text, "host        running for {uptime}, pid {}, version {}", host.pid, host.version);
            let _ = writeln!(text, "watching    {}; workers: {}", host.watch, host.workers);
            let used = ByteSize(host.memory_used_bytes >> 10 << 10);
            let _ = writeln!(
                text,
                "memory      {used} of {} for instances; promised {}",
                ByteSize(host.memory_budget_bytes >> 20 << 20),
                host.promised()
            );
            if let (Some(used), Some(max)) = (host.maps_used, host.maps_max) {
                let _ = writeln!(text, "maps        {used} of {max} in use");
            }
        }
    }
    if let Some(desired) = &status.desired {
        let _ = writeln!(text, "desired     {desired}");
    }
    if let Some(repository) = &status.from_git {
        describe_repository(text, repository);
    }
    if let Some(trust) = &status.trust {
        let _ = writeln!(text, "trust       {trust}");
    }
    let _ = writeln!(text, "generation  {}", status.generation);
    if let Some(by) = &status.paused {
        let _ = writeln!(text, "paused      everything, {by}; what runs goes on");
    }
    if let Some(pass) = &status.last_pass {
        let ago = span(pass.ended_ms_ago);
        let is_clean = status.problems.is_empty() && status.components.iter().all(|component| component.held.is_none());
        let result = match (pass.converged, is_clean) {
            (false, _) => "not converged",
            (true, true) => "converged",
            (true, false) => "settled",
        };
        let left = match status.components.iter().filter(|component| component.held.is_some()).count() {
            0 => String::new(),
            n => format!("; {n} held or blocked"),
        };
        let _ = writeln!(text, "last pass   {ago} ago ({}), took {}: {result}{left}", pass.cause, took(pass.took_us));
    }
    for problem in &status.problems {
        let _ = writeln!(text, "problem     {}: {}", problem.code, problem.message);
        hint(text, problem.hint.as_deref());
    }
}

fn describe_repository(text: &mut String, status: &RepositoryStatus) {
    let short = |commit: &Option<String>| commit.as_deref().map_or("none", |id| id.get(..7).unwrap_or(id)).to_owned();
    let (applied, seen) = (short(&status.applied), short(&status.seen));
    let _ = writeln!(text, "commit      {applied} applied, {seen} seen last");
    let looked = status.looked_ms_ago.map_or_else(|| "not yet".to_owned(), |ms| format!("{} ago", span(ms)));
    let next = status.next_look_ms.map_or_else(|| "under way".to_owned(), |ms| format!("in {}", span(ms)));
    let _ = writeln!(text, "last look   {looked}; the next one {next}");
    if let (Some(error), Some(class)) = (&status.last_error, &status.error_class) {
        let _ = writeln!(text, "            {class}: {} [{}]", error.message, error.code);
    }
}

fn describe(text: &mut String, component: &ComponentStatus) {
    let _ = writeln!(text, "\n{}  {}", component.name, component.state.word());
    if let Some(installed) = &component.installed {
        let _ = writeln!(
            text,
            "  package     {} {} (sequence {})",
            installed.package, installed.version, installed.sequence
        );
        let _ = writeln!(text, "  wasm        {}", installed.wasm);
        let _ = writeln!(text, "  target      {}", installed.target);
        let _ = writeln!(text, "  signed by   {}: {}", installed.publisher, installed.signers.join(", "));
        let permissions =
            if installed.permissions.is_empty() { "none".to_owned() } else { installed.permissions.join(", ") };
        let _ = writeln!(text, "  may         {permissions}");
        if !installed.codecs.is_empty() {
            let _ = writeln!(text, "  codecs      {}", installed.codecs.join(", "));
        }
        if !installed.subscriptions.is_empty() {
            let _ = writeln!(text, "  subscribes  {}", installed.subscriptions.join(", "));
        }
        if let Some(revision) = &installed.revision {
            let _ = writeln!(text, "  revision    {revision}");
        }
        let _ = writeln!(text, "  file        {}", installed.file);
    }
    if let Some(actor) = &component.actor {
        let since = span(actor.since_ms);
        let asleep = asleep(actor);
        let _ = writeln!(text, "  for         {since}; restarts {}{asleep}", actor.restarts);
        let _ = writeln!(
            text,
            "  messages    handled {}, dead {}, waiting {} of {}",
            actor.handled, actor.dead, actor.waiting, actor.mailbox
        );
        if let Some(requests) = actor.requests.text() {
            let _ = writeln!(text, "  requests    {requests}");
        }
        if let Some(codecs) = received(&actor.codecs) {
            let _ = writeln!(text, "  received    {codecs}");
        }
        if !actor.subscribed.is_empty() {
            let _ = writeln!(text, "  subscribes  {} (at run time)", actor.subscribed.join(", "));
        }
        if let Some(HealthReport { state, text: words, since_ms }) = &actor.health {
            let words = words.as_ref().map_or_else(String::new, |words| format!(": {words}"));
            let _ = writeln!(text, "  health      {state} for {}{words}", span(*since_ms));
        }
        for (target, state) in actor.breakers.iter().filter(|(_, state)| *state != "closed") {
            let _ = writeln!(text, "  breaker     {target} {state}");
        }
        if actor.denied > 0 {
            let _ = writeln!(text, "  denied      {}; `airssys-wasm audit --kind denied` tells more", actor.denied);
        }
        if let Some(observed) = &actor.observed {
            let _ = writeln!(text, "  observed    {}", observed.text("              "));
        }
        if let Some(next) = actor.next_start_ms {
            let _ = writeln!(text, "  next start  in {}", span(next));
        }
        if let Some(error) = &actor.last_error {
            let _ = writeln!(text, "  last error  {error}");
        }
    }
    if let Some(by) = &component.paused {
        let _ = writeln!(text, "  paused      {by}");
    }
    if let Some(source) = &component.source {
        describe_source(text, source);
    }
    if let Some(note) = &component.held {
        held(text, note);
    }
}

/// Messages by codec: `json 12, raw 0 (3 refused)`.
pub(super) fn received(codecs: &[CodecCount]) -> Option<String> {
    let one = |CodecCount { codec, received, refused }: &CodecCount| match refused {
        0 => format!("{codec} {received}"),
        _ => format!("{codec} {received} ({refused} refused)"),
    };
    (!codecs.is_empty()).then(|| codecs.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn describe_source(text: &mut String, source: &SourceStatus) {
    let next = source.next_try_ms.map_or_else(String::new, |ms| format!("; next try in {}", span(ms)));
    let _ = writeln!(text, "  source      {}", source.source);
    if let Some(revision) = &source.revision {
        let _ = writeln!(text, "              last seen at {revision}");
    }
    let _ = writeln!(text, "              {}{next}", source.state);
    if let Some(error) = &source.last_error {
        let _ = writeln!(text, "              {} [{}]", error.message, error.code);
    }
}

fn held(text: &mut String, note: &Note) {
    let location = note.location.as_deref().map_or_else(String::new, |l| format!("{l}: "));
    let _ = writeln!(text, "  {:<11} {location}{} [{}]", note.kind, note.why.message, note.why.code);
    hint(text, note.why.hint.as_deref());
}

fn hint(text: &mut String, hint: Option<&str>) {
    for line in hint.into_iter().flat_map(str::lines) {
        let _ = writeln!(text, "              {line}");
    }
}

/// A length of time in its two largest units: `2 h 5 min`, `1.204 s`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..=59 => format!("{}.{:01} s", seconds, ms % 1000 / 100),
        60..=3_599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A short time as a person compares it: `840 us`, `12.3 ms`, `1.20 s`.
pub fn took(us: u64) -> String {
    match us {
        0..=999 => format!("{us} us"),
        1_000..=999_999 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

/// What is to be said of an actor that has no instance for now.
pub(super) fn asleep(actor: &ActorCounters) -> &'static str {
    if actor.asleep { "; asleep until its next message" } else { "" }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::resolution::Refusal;

    #[test]
    fn a_repository_is_shown_with_what_was_applied_what_was_seen_and_why_not_more() {
        let mut status = RepositoryStatus {
            repository: "https://git.example.com/fleet.git".to_owned(),
            reference: "branch main".to_owned(),
            path: "desired".to_owned(),
            applied: None,
            seen: None,
            looked_ms_ago: None,
            next_look_ms: None,
            last_error: None,
            error_class: None,
        };
        let mut text = String::new();
        describe_repository(&mut text, &status);
        status.applied = Some("1111111111111111111111111111111111111111".to_owned());
        status.seen = Some("2222222222222222222222222222222222222222".to_owned());
        (status.looked_ms_ago, status.next_look_ms) = (Some(12_000), Some(48_000));
        status.last_error = Some(Refusal::new("no-such-host", "git.example.com has no address"));
        status.error_class = Some("transient".to_owned());
        describe_repository(&mut text, &status);
        expect![[r#"
            commit      none applied, none seen last
            last look   not yet; the next one under way
            commit      1111111 applied, 2222222 seen last
            last look   12.0 s ago; the next one in 48.0 s
                        transient: git.example.com has no address [no-such-host]
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn what_a_component_says_of_itself_is_shown_and_in_the_list_only_when_it_is_unwell() {
        let component = |state: &str, text: Option<&str>| ComponentStatus {
            name: "a".to_owned(),
            state: crate::status::ComponentState::Running,
            installed: None,
            actor: Some(crate::status::ActorCounters {
                health: Some(HealthReport { state: state.to_owned(), text: text.map(str::to_owned), since_ms: 12_000 }),
                ..Default::default()
            }),
            paused: None,
            source: None,
            held: None,
        };
        let mut text = String::new();
        describe(&mut text, &component("degraded", Some("no upstream")));
        expect![[r#"

            a  running
              for         0.0 s; restarts 0
              messages    handled 0, dead 0, waiting 0 of 0
              health      degraded for 12.0 s: no upstream
        "#]]
        .assert_eq(&text);
        assert_eq!(row(&component("degraded", None))[6], "degraded");
        assert_eq!(row(&component("healthy", None))[6], "");
    }
}
