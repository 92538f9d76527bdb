//! An alerter: says when an average leaves the range that the operator set, and when it is back.
//!
//! It speaks only when something changed, however many averages come. It sends nothing.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

// Makes the Rust side of the world: a module for each import, a trait for each export, and `export!`.
// Imports that are never called are left out of the component, here `messaging` and `config`.
wit_bindgen::generate!({ path: "../../../wit", world: "actor" });

use airssys::component::log::{Level, log};
use airssys::component::types::{Body, Codec};
use exports::airssys::component::{lifecycle, message_handler};

/// `[config]` as `init` gets it. There is no sensible default for a limit, so both are required.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    low: f64,
    high: f64,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Normal,
    High,
    Low,
}

#[derive(Clone, Copy)]
struct Alerter {
    range: Range,
    state: State,
}

/// What the aggregator sends; further fields are skipped.
#[derive(Deserialize)]
struct Average {
    average: f64,
    unit: String,
}

/// The answer for whoever asks.
#[derive(Serialize)]
struct Answer {
    state: State,
}

// The host calls one instance from one thread at a time, so a plain cell holds the state.
thread_local! {
    static ALERTER: RefCell<Option<Alerter>> = const { RefCell::new(None) };
}

struct Component;

export!(Component);

impl lifecycle::Guest for Component {
    /// Runs before any message; whatever is wrong with the settings is said here.
    fn init(config: String) -> Result<(), String> {
        let range: Range = serde_json::from_str(&config).map_err(|error| format!("[config]: {error}"))?;
        if range.low >= range.high {
            return Err(format!("[config] low: {} must be below high, {}", range.low, range.high));
        }
        ALERTER.set(Some(Alerter { range, state: State::Normal }));
        Ok(())
    }

    fn shutdown() {}
}

impl message_handler::Guest for Component {
    /// Only JSON comes here: the manifest declares it, and the host lets nothing else through.
    fn handle(message: message_handler::Message) -> Result<Option<Body>, String> {
        let Average { average, unit } =
            serde_json::from_slice(&message.body.data).map_err(|error| format!("this is no average: {error}"))?;
        ALERTER.with_borrow_mut(|alerter| {
            let alerter = alerter.as_mut().ok_or("handle was called before init")?;
            let Range { low, high } = alerter.range;
            let state = alerter.range.judge(average);
            if state != alerter.state {
                alerter.state = state;
                match state {
                    State::High => log(Level::Warn, &format!("{average} {unit} is above {high} {unit}")),
                    State::Low => log(Level::Warn, &format!("{average} {unit} is below {low} {unit}")),
                    State::Normal => log(Level::Info, &format!("{average} {unit} is back in range")),
                }
            }
            let data = serde_json::to_vec(&Answer { state }).map_err(|error| format!("answer: {error}"))?;
            Ok(Some(Body { codec: Codec::Json, data }))
        })
    }
}

impl Range {
    fn judge(self, average: f64) -> State {
        if average > self.high {
            State::High
        } else if average < self.low {
            State::Low
        } else {
            State::Normal
        }
    }
}
