//! Remembers what was told, so that a problem is told when it comes, when it changes, and when it goes.

use std::collections::BTreeMap;

use crate::name::InstallationName;
use crate::resolution::Refusal;

use super::Tell;
use super::notice::Notice;

/// What is held or wrong, as last told.
#[derive(Default)]
pub struct Told {
    held: BTreeMap<InstallationName, Notice>,
    problems: BTreeMap<String, Refusal>,
}

impl Told {
    /// Tells what is new or different among `held`, and what is gone; gives what is new or different.
    pub fn held(&mut self, held: BTreeMap<InstallationName, Notice>, tell: &Tell) -> Vec<Notice> {
        let news = held.iter().filter(|(name, notice)| self.held.get(*name) != Some(*notice));
        let news: Vec<Notice> = news.map(|(_, notice)| notice.clone()).collect();
        news.iter().for_each(|notice| tell(notice));
        for name in self.held.keys().filter(|name| !held.contains_key(*name)) {
            tell(&Notice::Released { name: name.clone() });
        }
        self.held = held;
        news
    }

    /// The same for problems that concern no single name.
    pub fn problems(&mut self, problems: &[Refusal], tell: &Tell) -> Vec<Refusal> {
        let problems: BTreeMap<String, Refusal> =
            problems.iter().map(|problem| (format!("{} {}", problem.code, problem.message), problem.clone())).collect();
        let news = problems.iter().filter(|(key, _)| !self.problems.contains_key(*key));
        let news: Vec<Refusal> = news.map(|(_, why)| why.clone()).collect();
        news.iter().for_each(|why| tell(&Notice::Problem { why: why.clone() }));
        let codes: std::collections::BTreeSet<&str> = problems.values().map(|why| why.code.as_str()).collect();
        let gone = self.problems.values().filter(|why| !codes.contains(why.code.as_str()));
        let gone: std::collections::BTreeSet<String> = gone.map(|why| why.code.clone()).collect();
        gone.into_iter().for_each(|code| tell(&Notice::Solved { code }));
        self.problems = problems;
        news
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn held(name: &str, message: &str) -> (InstallationName, Notice) {
        let name: InstallationName = name.parse().expect("a name");
        let why = Refusal::new("unparsable", message);
        (name.clone(), Notice::Held { kind: "held", name, location: None, why, keeps_running: true })
    }

    #[test]
    fn a_problem_is_told_when_it_comes_changes_and_goes_and_not_in_between() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let tell: Tell = Arc::new(move |notice| sink.lock().expect("unpoisoned").push(notice.to_string()));
        let mut told = Told::default();
        let mut counts = Vec::new();
        for set in [vec![held("a", "x")], vec![held("a", "x")], vec![held("a", "y"), held("b", "z")], vec![]] {
            told.held(set.into_iter().collect(), &tell);
            counts.push(std::mem::take(&mut *lines.lock().expect("unpoisoned")).len());
        }
        assert_eq!(counts, [1, 0, 2, 2]);

        for problems in [vec![Refusal::new("empty", "m")], vec![Refusal::new("empty", "m")], vec![]] {
            told.problems(&problems, &tell);
            counts.push(std::mem::take(&mut *lines.lock().expect("unpoisoned")).len());
        }
        assert_eq!(counts[4..], [1, 0, 1]);
    }
}
