//! A keeper: stores what a message brings, or reads what is stored as often as it says. The benchmarks measure what
//! storage costs through it; it is not part of the examples that are signed.

wit_bindgen::generate!({ path: "../../../wit", world: "actor" });

use airssys::component::storage;
use exports::airssys::component::{lifecycle, message_handler};

/// Bytes of a key at the begin of a message that stores.
const KEY_BYTES: usize = 16;

struct Component;

export!(Component);

impl lifecycle::Guest for Component {
    fn init(_config: String) -> Result<(), String> {
        Ok(())
    }

    fn shutdown() {}
}

impl message_handler::Guest for Component {
    /// `s`, a key and a value: stores it. `g`, how often and how many keys, each a u32 with the low byte first: reads
    /// the keys in turn.
    fn handle(message: message_handler::Message) -> Result<Option<message_handler::Body>, String> {
        match message.body.data.split_first() {
            Some((b's', rest)) if rest.len() > KEY_BYTES => set(rest),
            Some((b'g', rest)) if rest.len() == 8 => get(number(&rest[..4]), number(&rest[4..])),
            _ => Err("neither s nor g".to_owned()),
        }?;
        Ok(None)
    }
}

fn set(rest: &[u8]) -> Result<(), String> {
    let (key, value) = rest.split_at(KEY_BYTES);
    let key = str::from_utf8(key).map_err(|error| error.to_string())?;
    storage::set(key, value).map_err(|error| error.to_string())
}

fn get(times: u32, keys: u32) -> Result<(), String> {
    for time in 0..times {
        let key = format!("{:0KEY_BYTES$}", time % keys.max(1));
        match storage::get(&key).map_err(|error| error.to_string())? {
            Some(_) => {}
            None => return Err(format!("nothing is stored under {key}")),
        }
    }
    Ok(())
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
