//! A relay: passes every message on to the link `next`, and answers with it. The benchmarks measure what it costs to
//! get a message through it; it is not part of the examples that are signed.

wit_bindgen::generate!({ path: "../../../wit", world: "actor" });

use airssys::component::messaging::{self, SendError};
use exports::airssys::component::{lifecycle, message_handler};

struct Component;

export!(Component);

impl lifecycle::Guest for Component {
    fn init(_config: String) -> Result<(), String> {
        Ok(())
    }

    fn shutdown() {}
}

impl message_handler::Guest for Component {
    /// Without the grant of the link, and at the end of the longest chain, it is an echo.
    fn handle(message: message_handler::Message) -> Result<Option<message_handler::Body>, String> {
        match messaging::send("next", &message.body) {
            Ok(()) | Err(SendError::NotPermitted | SendError::TooManyHops(_)) => Ok(Some(message.body)),
            Err(error) => Err(error.to_string()),
        }
    }
}
