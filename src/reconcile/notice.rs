//! What the loop tells a person, one line each: what, why, how long.
//!
//! Values and their text; where they are printed, and in which colour, is a door's business.

use std::fmt;
use std::time::Duration;

use crate::name::InstallationName;
use crate::resolution::Refusal;
use crate::status::text::took;

/// One line for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An action was carried out.
    Done {
        /// Its verb in the past: `installed`, `updated`.
        verb: &'static str,
        /// The mark that the plan puts before such an action.
        symbol: &'static str,
        /// On what.
        name: InstallationName,
        /// From and to, or what there is now.
        what: String,
        /// Why, with `file:line` where a file is the reason.
        why: String,
        /// From the start of its preparation to the switch.
        took: Duration,
    },
    /// An action failed; what ran before goes on.
    Failed {
        /// The verb: `install`, `update`.
        verb: &'static str,
        /// On what.
        name: InstallationName,
        /// Why.
        why: Refusal,
    },
    /// A wish is not carried out.
    Held {
        /// `held`, `blocked` or `needs an approval`.
        kind: &'static str,
        /// Which.
        name: InstallationName,
        /// Where it is written.
        location: Option<String>,
        /// Why.
        why: Refusal,
        /// Whether an older version goes on.
        keeps_running: bool,
    },
    /// What held a name is gone.
    Released {
        /// Which.
        name: InstallationName,
    },
    /// Something that concerns no single name.
    Problem {
        /// What and what to do.
        why: Refusal,
    },
    /// A problem of the directory or of the trust policy is gone.
    Solved {
        /// The machine reason of the problem.
        code: String,
    },
    /// Long work goes on.
    Working {
        /// What is done: `compiling`.
        what: &'static str,
        /// On which component.
        name: InstallationName,
        /// How far, and of how many.
        step: (usize, usize),
    },
    /// Sources on other machines are being looked at.
    Fetching {
        /// How many are done, and of how many.
        step: (usize, usize),
    },
    /// An actor crashed.
    Crashed {
        /// Which.
        name: InstallationName,
        /// The trap or error, escaped.
        error: String,
        /// What follows.
        next: String,
    },
    /// An actor came back after a crash.
    Recovered {
        /// Which.
        name: InstallationName,
    },
    /// A component says something else about itself than before.
    Health {
        /// Which.
        name: InstallationName,
        /// The word for how it is, and its own words, escaped; none when it is well.
        unwell: Option<(&'static str, String)>,
    },
    /// A pass left nothing to do.
    Converged {
        /// How many components run.
        running: usize,
        /// How many are installed and enabled.
        installed: usize,
        /// How many wishes are held, blocked or wait for an approval.
        held: usize,
        /// The committed generation.
        generation: u64,
        /// How long the pass took.
        took: Duration,
    },
    /// Something worth knowing that needs no action.
    Info {
        /// One sentence without a full stop, escaped.
        text: String,
    },
}

/// How much a notice matters, for colour and for `--quiet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Goes by.
    Progress,
    /// A change that went well.
    Good,
    /// Needs a look.
    Warning,
    /// Needs a hand.
    Bad,
}

impl Notice {
    /// How much it matters.
    pub fn weight(&self) -> Weight {
        match self {
            Self::Working { .. } | Self::Fetching { .. } => Weight::Progress,
            Self::Done { .. } | Self::Converged { .. } | Self::Released { .. } | Self::Recovered { .. } => Weight::Good,
            Self::Info { .. } | Self::Solved { .. } => Weight::Good,
            Self::Health { unwell: None, .. } => Weight::Good,
            Self::Held { .. } | Self::Crashed { .. } | Self::Health { .. } => Weight::Warning,
            Self::Failed { .. } | Self::Problem { .. } => Weight::Bad,
        }
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn refusal(f: &mut fmt::Formatter<'_>, why: &Refusal) -> fmt::Result {
    write!(f, "{} [{}]", why.message, why.code)?;
    why.hint.iter().flat_map(|hint| hint.lines()).try_for_each(|line| write!(f, "\n      {line}"))
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { verb, symbol, name, what, why, took: time } => {
                write!(f, "{symbol:<2} {name}  {verb} {what}  ({why})  {}", took(micros(*time)))
            }
            Self::Failed { verb, name, why } => {
                write!(f, "!! {name}  {verb} failed: ")?;
                refusal(f, why)
            }
            Self::Held { kind, name, location, why, keeps_running } => {
                write!(f, "!  {name}  {kind}: ")?;
                if let Some(location) = location {
                    write!(f, "{location}: ")?;
                }
                let running = if *keeps_running { "; what runs goes on" } else { "" };
                write!(f, "{}{running} [{}]", why.message, why.code)?;
                why.hint.iter().flat_map(|hint| hint.lines()).try_for_each(|line| write!(f, "\n      {line}"))
            }
            Self::Released { name } => write!(f, "=  {name}  no longer held"),
            Self::Problem { why } => {
                f.write_str("!! ")?;
                refusal(f, why)
            }
            Self::Solved { code } => write!(f, "=  solved: {code}"),
            Self::Working { what, name, step: (at, of) } => write!(f, ".. {name}  {what} ({at} of {of})"),
            Self::Fetching { step: (at, of) } => write!(f, ".. fetching ({at} of {of})"),
            Self::Crashed { name, error, next } => write!(f, "!  {name}  crashed: {error}; {next}"),
            Self::Recovered { name } => write!(f, "=  {name}  running again"),
            Self::Health { name, unwell: None } => write!(f, "=  {name}  healthy again"),
            Self::Health { name, unwell: Some((word, text)) } => write!(f, "!  {name}  {word}: {text}"),
            Self::Converged { running, installed, held, generation, took: time } => {
                let (word, held) = match held {
                    0 => ("converged", String::new()),
                    n => ("settled", format!(", {n} held or blocked")),
                };
                let time = took(micros(*time));
                write!(f, "=  {word}: {running} of {installed} running{held}, generation {generation}  {time}")
            }
            Self::Info { text } => write!(f, "=  {text}"),
        }
    }
}
