//! An aggregator: keeps the last readings and sends their average to the link `alerter` now and then.
//!
//! It decides what an average is made of. It does not judge it: that is the alerter's part.

use std::cell::RefCell;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

// Makes the Rust side of the world: a module for each import, a trait for each export, and `export!`.
wit_bindgen::generate!({ path: "../../../wit", world: "actor" });

use airssys::component::log::{Level, log};
use airssys::component::messaging;
use airssys::component::types::{Body, Codec};
use exports::airssys::component::{lifecycle, message_handler};

/// Largest window, in readings. Memory is limited by the host; a bound of one's own gives a better error.
const MAX_WINDOW: usize = 1_000;

/// `[config]` as `init` gets it. Refusing unknown keys turns an operator's typo into an error at once.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Settings {
    /// How many readings the average is made of.
    window: usize,
    /// An average is sent after every so many readings.
    report_every: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window: 5, report_every: 5 }
    }
}

struct Aggregator {
    settings: Settings,
    window: VecDeque<f64>,
    readings: u64,
}

/// What the sensor sends. Fields that are not needed here are skipped, so that the sensor may add some.
#[derive(Deserialize)]
struct Reading {
    value: f64,
    unit: String,
}

/// What the alerter gets.
#[derive(Serialize)]
struct Average<'a> {
    average: f64,
    readings: usize,
    unit: &'a str,
}

// The host calls one instance from one thread at a time, so a plain cell holds the state.
thread_local! {
    static AGGREGATOR: RefCell<Option<Aggregator>> = const { RefCell::new(None) };
}

struct Component;

export!(Component);

impl lifecycle::Guest for Component {
    /// Runs before any message; whatever is wrong with the settings is said here.
    fn init(config: String) -> Result<(), String> {
        let settings: Settings = serde_json::from_str(&config).map_err(|error| format!("[config]: {error}"))?;
        if !(1..=MAX_WINDOW).contains(&settings.window) {
            return Err(format!("[config] window: must be from 1 to {MAX_WINDOW}, not {}", settings.window));
        }
        if settings.report_every == 0 {
            return Err("[config] report-every: must be at least 1".to_owned());
        }
        AGGREGATOR.set(Some(Aggregator { settings, window: VecDeque::new(), readings: 0 }));
        Ok(())
    }

    /// Called after the last message, as a courtesy: what must not be lost is never left for here.
    fn shutdown() {
        AGGREGATOR.with_borrow(|aggregator| {
            let readings = aggregator.as_ref().map_or(0, |aggregator| aggregator.readings);
            log(Level::Debug, &format!("stopping after {readings} readings"));
        });
    }
}

impl message_handler::Guest for Component {
    /// The answer, for whoever asked for one, is the average so far. Only JSON comes here: the manifest declares it, and
    /// the host lets nothing else through.
    fn handle(message: message_handler::Message) -> Result<Option<Body>, String> {
        // First what can fail, then what changes the state: an error takes back the messages that this call sent,
        // and leaves the memory as it is.
        let reading: Reading =
            serde_json::from_slice(&message.body.data).map_err(|error| format!("this is no reading: {error}"))?;
        AGGREGATOR.with_borrow_mut(|aggregator| {
            let aggregator = aggregator.as_mut().ok_or("handle was called before init")?;
            let average = aggregator.add(reading.value);
            let readings = aggregator.window.len();
            let data = serde_json::to_vec(&Average { average, readings, unit: &reading.unit })
                .map_err(|error| format!("average: {error}"))?;
            let body = Body { codec: Codec::Json, data };
            if aggregator.is_due() {
                log(Level::Info, &format!("average of {readings} readings: {average} {}", reading.unit));
                if let Err(error) = messaging::send("alerter", &body) {
                    log(Level::Warn, &format!("the average was not taken: {error}"));
                }
            }
            Ok(Some(body))
        })
    }
}

impl Aggregator {
    /// Takes a reading in and returns the average of the window, to one decimal.
    fn add(&mut self, value: f64) -> f64 {
        if self.window.len() == self.settings.window {
            self.window.pop_front();
        }
        self.window.push_back(value);
        self.readings += 1;
        let average = self.window.iter().sum::<f64>() / self.window.len() as f64;
        (average * 10.0).round() / 10.0
    }

    fn is_due(&self) -> bool {
        self.readings.is_multiple_of(self.settings.report_every)
    }
}
