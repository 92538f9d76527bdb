//! An alerter: says when an average leaves the range that the operator set, and when it is back.
//!
//! It speaks only when something changed, however many averages come. The operator's file gives it durable delivery, and
//! it stores what it said last: an average that it was sent is judged once, whatever happens to the host.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

// Makes the Rust side of the world: a module for each import, a trait for each export, and `export!`.
// Imports that are never called are left out of the component, here `messaging` and `config`.
wit_bindgen::generate!({ path: "../../../wit", world: "actor" });

use airssys::component::log::{Level, log};
use airssys::component::storage;
use airssys::component::types::{Body, Codec};
use exports::airssys::component::{lifecycle, message_handler};

/// Where it is stored what was said last.
const STATE: &str = "state";

/// `[config]` as `init` gets it. There is no sensible default for a limit, so both are required.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    low: f64,
    high: f64,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Normal,
    High,
    Low,
}

/// What the aggregator sends; further fields are skipped.
#[derive(Deserialize)]
struct Average {
    average: f64,
    unit: String,
}

/// The answer for whoever asks, and what is stored.
#[derive(Serialize, Deserialize)]
struct Judgement {
    state: State,
}

// The host calls one instance from one thread at a time, so a plain cell holds the range.
thread_local! {
    static RANGE: RefCell<Option<Range>> = const { RefCell::new(None) };
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
        RANGE.set(Some(range));
        Ok(())
    }

    fn shutdown() {}
}

impl message_handler::Guest for Component {
    /// Only JSON comes here: the manifest declares it, and the host lets nothing else through.
    fn handle(message: message_handler::Message) -> Result<Option<Body>, String> {
        let Average { average, unit } =
            serde_json::from_slice(&message.body.data).map_err(|error| format!("this is no average: {error}"))?;
        let range = RANGE.with_borrow(|range| *range).ok_or("handle was called before init")?;
        let state = range.judge(average);
        let data = serde_json::to_vec(&Judgement { state }).map_err(|error| format!("judgement: {error}"))?;
        if state != said_last()? {
            // Kept only if this call returns ok, together with the end of the message: neither happens without the other.
            storage::set(STATE, &data).map_err(|error| format!("the state was not stored: {error:?}"))?;
            let Range { low, high } = range;
            match state {
                State::High => log(Level::Warn, &format!("{average} {unit} is above {high} {unit}")),
                State::Low => log(Level::Warn, &format!("{average} {unit} is below {low} {unit}")),
                State::Normal => log(Level::Info, &format!("{average} {unit} is back in range")),
            }
        }
        Ok(Some(Body { codec: Codec::Json, data }))
    }
}

fn said_last() -> Result<State, String> {
    match storage::get(STATE).map_err(|error| format!("the state was not read: {error:?}"))? {
        Some(bytes) => {
            let judgement: Judgement =
                serde_json::from_slice(&bytes).map_err(|error| format!("the stored state: {error}"))?;
            Ok(judgement.state)
        }
        None => Ok(State::Normal),
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
