//! An aggregator: keeps the last readings and asks the link `alerter` now and then what it makes of their average. Its
//! desired file subscribes it to the topics on which readings are published.
//!
//! It decides what an average is made of. It does not judge it: that is the alerter's part. What it knows is in its
//! storage and not in its memory, so a restart, an update or a host that is killed costs it no reading.

use std::cell::RefCell;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

// Makes the Rust side of the world: a module for each import, a trait for each export, and `export!`.
// Imports that are never called are left out of the component.
wit_bindgen::generate!({ path: "../../../wit", world: "asking" });

use airssys::component::log::{Level, log};
use airssys::component::types::{Body, Codec};
use airssys::component::{requests, storage};
use exports::airssys::component::{callback_handler, lifecycle, message_handler};

/// Largest window, in readings. What is stored is limited by the host; a bound of one's own gives a better error.
const MAX_WINDOW: usize = 1_000;
/// How long the alerter may take, in milliseconds. The host keeps the time; nothing waits here meanwhile.
const PATIENCE_MS: u64 = 2_000;
/// Where the window is stored.
const WINDOW: &str = "window";

/// `[config]` as `init` gets it. Refusing unknown keys turns an operator's typo into an error at once.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Settings {
    /// How many readings the average is made of.
    window: usize,
    /// The alerter is asked after every so many readings.
    report_every: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window: 5, report_every: 5 }
    }
}

/// What is stored.
#[derive(Default, Serialize, Deserialize)]
struct Window {
    values: VecDeque<f64>,
    readings: u64,
}

/// What sensors publish. Fields that are not needed here are skipped, so that the sensor may add some.
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

/// What the alerter answers.
#[derive(Deserialize)]
struct Judgement {
    state: String,
}

// The host calls one instance from one thread at a time, so a plain cell holds the settings.
thread_local! {
    static SETTINGS: RefCell<Settings> = RefCell::new(Settings::default());
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
        SETTINGS.set(settings);
        Ok(())
    }

    /// Called after the last message, as a courtesy: what must not be lost is never left for here.
    fn shutdown() {}
}

impl message_handler::Guest for Component {
    /// The answer, for whoever asked for one, is the average so far. Only JSON comes here: the manifest declares it, and
    /// the host lets nothing else through.
    ///
    /// The new window and the question to the alerter are one transaction: both happen when this returns ok, and an error
    /// takes both back.
    fn handle(message: message_handler::Message) -> Result<Option<Body>, String> {
        let reading: Reading =
            serde_json::from_slice(&message.body.data).map_err(|error| format!("this is no reading: {error}"))?;
        let settings = SETTINGS.with_borrow(|settings| *settings);
        let mut window = Window::stored()?;
        let average = window.add(reading.value, settings.window);
        window.store()?;
        let readings = window.values.len();
        let body = json(&Average { average, readings, unit: &reading.unit })?;
        if window.readings.is_multiple_of(settings.report_every) {
            log(Level::Info, &format!("average of {readings} readings: {average} {}", reading.unit));
            // A question that is not taken is no reason to refuse a reading.
            if let Err(error) = requests::request("alerter", &body, PATIENCE_MS) {
                log(Level::Warn, &format!("the alerter was not asked: {error}"));
            }
        }
        Ok(Some(body))
    }
}

impl callback_handler::Guest for Component {
    /// Every question ends here, once: with the alerter's answer, or with why there is none.
    fn handle_callback(
        _id: callback_handler::RequestId,
        answer: Result<Option<Body>, callback_handler::CallbackError>,
    ) -> Result<(), String> {
        match answer {
            Ok(Some(body)) => {
                let Judgement { state } =
                    serde_json::from_slice(&body.data).map_err(|error| format!("this is no judgement: {error}"))?;
                log(Level::Debug, &format!("the alerter calls it {state}"));
            }
            Ok(None) => log(Level::Warn, "the alerter says nothing"),
            Err(error) => log(Level::Warn, &format!("the alerter did not answer: {error:?}")),
        }
        Ok(())
    }
}

impl Window {
    fn stored() -> Result<Self, String> {
        match storage::get(WINDOW).map_err(|error| format!("the window was not read: {error:?}"))? {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("the stored window: {error}")),
            None => Ok(Self::default()),
        }
    }

    fn store(&self) -> Result<(), String> {
        let bytes = serde_json::to_vec(self).map_err(|error| format!("the window: {error}"))?;
        storage::set(WINDOW, &bytes).map_err(|error| format!("the window was not stored: {error:?}"))
    }

    /// Takes a reading in and returns the average of the last `most`, to one decimal.
    fn add(&mut self, value: f64, most: usize) -> f64 {
        self.values.push_back(value);
        // More than one when the operator made the window smaller.
        while self.values.len() > most {
            self.values.pop_front();
        }
        self.readings += 1;
        let average = self.values.iter().sum::<f64>() / self.values.len() as f64;
        (average * 10.0).round() / 10.0
    }
}

fn json(value: &impl Serialize) -> Result<Body, String> {
    let data = serde_json::to_vec(value).map_err(|error| format!("what is to be sent: {error}"))?;
    Ok(Body { codec: Codec::Json, data })
}
