//! The sign before an action.

use super::super::action::{Action, Effect, Kind, Storage};
use super::Style;

/// What stands before an action, in the order in which the legend explains it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Symbol {
    Add,
    Change,
    Replace,
    Remove,
    Move,
    Stop,
}

impl Symbol {
    pub(super) fn of(action: &Action) -> Self {
        let starts_empty = matches!(&action.effect, Some(Effect::Commit(commit)) if commit.storage == Storage::New);
        match action.kind {
            Kind::Install => Self::Add,
            Kind::Update if starts_empty => Self::Replace,
            Kind::Update | Kind::Reconfigure => Self::Change,
            Kind::Restart => Self::Replace,
            Kind::Move => Self::Move,
            Kind::Uninstall => Self::Remove,
            Kind::Hold | Kind::Blocked => Self::Stop,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Change => "~",
            Self::Replace => "-/+",
            Self::Remove => "-",
            Self::Move => ">",
            Self::Stop => "!",
        }
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Add => "install",
            Self::Change => "change, storage stays",
            Self::Replace => "restart, or start with empty storage",
            Self::Remove => "uninstall",
            Self::Move => "go on under another name",
            Self::Stop => "held or blocked, stays as it is",
        }
    }

    pub(super) fn style(self) -> Style {
        match self {
            Self::Add => Style::Add,
            Self::Change | Self::Replace | Self::Move => Style::Change,
            Self::Remove => Style::Remove,
            Self::Stop => Style::Bad,
        }
    }
}
