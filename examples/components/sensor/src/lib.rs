//! A sensor: makes a reading at every message and publishes it to the topic `readings.temperature`.
//!
//! It owns the shape of its readings. It does not know who takes them: whoever subscribes does.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

// Makes the Rust side of the world: a module for each import, a trait for each export, and `export!`.
wit_bindgen::generate!({ path: "../../../wit", world: "actor" });

use airssys::component::log::{Level, log};
use airssys::component::types::{Body, Codec};
use airssys::component::{config, topics};
use exports::airssys::component::{lifecycle, message_handler};

/// Readings from one low of the wave to the next.
const READINGS_PER_WAVE: u64 = 20;

struct Sensor {
    unit: String,
    base: f64,
    swing: f64,
    /// Readings made so far; from 0 again after a restart, since it is kept in memory only.
    readings: u64,
}

/// Where readings are published. The manifest asks for `readings.*`, of which this is one.
const TOPIC: &str = "readings.temperature";

/// What is published, as JSON. The host carries the codec beside a content and looks into neither: what a reading is made of,
/// sender and receiver agree on.
#[derive(Serialize)]
struct Reading<'a> {
    number: u64,
    value: f64,
    unit: &'a str,
}

// The host calls one instance from one thread at a time, so a plain cell holds the state.
thread_local! {
    static SENSOR: RefCell<Option<Sensor>> = const { RefCell::new(None) };
}

struct Component;

export!(Component);

impl lifecycle::Guest for Component {
    /// Runs before any message. An error here calls an update off, so settings are checked here.
    ///
    /// The argument holds all of `[config]` as one JSON object, which the other two examples use. This one
    /// asks for single values instead.
    fn init(_config: String) -> Result<(), String> {
        let sensor = Sensor {
            unit: setting("unit")?.unwrap_or_else(|| "C".to_owned()),
            base: setting("base")?.unwrap_or(20.0),
            swing: setting("swing")?.unwrap_or(8.0),
            readings: 0,
        };
        SENSOR.set(Some(sensor));
        Ok(())
    }

    /// Nothing to hand over: what this sensor knows is worthless after it stopped.
    fn shutdown() {}
}

impl message_handler::Guest for Component {
    /// One message, one reading. Who sent it does not matter here: the manifest asks for no `receive`, so
    /// only triggers and the host itself get through.
    fn handle(_message: message_handler::Message) -> Result<Option<Body>, String> {
        SENSOR.with_borrow_mut(|sensor| {
            let sensor = sensor.as_mut().ok_or("handle was called before init")?;
            sensor.readings += 1;
            let (number, value) = (sensor.readings, sensor.measure());
            let data = serde_json::to_vec(&Reading { number, value, unit: &sensor.unit })
                .map_err(|error| format!("reading {number}: {error}"))?;
            // `publish` says at once how many take it; it leaves when `handle` returns ok. A reading that nobody takes
            // is lost on purpose: the next one is newer.
            match topics::publish(TOPIC, &Body { codec: Codec::Json, data }) {
                Ok(0) => log(Level::Warn, &format!("nobody takes reading {number}")),
                Ok(_) => log(Level::Info, &format!("reading {number}: {value} {}", sensor.unit)),
                Err(error) => log(Level::Warn, &format!("reading {number} was not published: {error}")),
            }
            // Nobody waits for an answer to a trigger.
            Ok(None)
        })
    }
}

impl Sensor {
    /// A triangle around `base`, to one decimal: the same readings in every run.
    fn measure(&self) -> f64 {
        let half = READINGS_PER_WAVE as f64 / 2.0;
        let step = (self.readings % READINGS_PER_WAVE) as f64;
        let wave = 1.0 - 2.0 * (step - half).abs() / half;
        ((self.base + self.swing * wave) * 10.0).round() / 10.0
    }
}

/// One value of `[config]`, which comes as JSON text: `20.0`, `"C"`. A key that is not there is `None`.
fn setting<T: DeserializeOwned>(key: &str) -> Result<Option<T>, String> {
    let Some(json) = config::get(key) else { return Ok(None) };
    serde_json::from_str(&json).map(Some).map_err(|error| format!("[config] {key}: {error}"))
}
