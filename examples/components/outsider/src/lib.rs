//! Does what it is told, in words, with files, hosts and time of WASI 0.2. The tests run it; it is not part of the examples
//! that are signed.

mod files;
mod hosts;

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package example:outsider;

        world outsider {
            export airssys:component/lifecycle@0.1.0;
            export airssys:component/message-handler@0.1.0;
        }
    ",
    generate_all,
});

use airssys::component::types::{Body, Codec};
use exports::airssys::component::{lifecycle, message_handler};

struct Component;

export!(Component);

impl lifecycle::Guest for Component {
    /// Does at its start what `[config] init` says.
    fn init(config: String) -> Result<(), String> {
        match config.split("\"init\":\"").nth(1).and_then(|rest| rest.split('"').next()) {
            Some(line) => Err(obey(line)),
            None => Ok(()),
        }
    }

    fn shutdown() {}
}

impl message_handler::Guest for Component {
    /// The answer to a line of words, as a text; several lines, several answers.
    fn handle(message: message_handler::Message) -> Result<Option<Body>, String> {
        let text = String::from_utf8(message.body.data).map_err(|error| error.to_string())?;
        let answers: Vec<String> = text.lines().map(obey).collect();
        Ok(Some(Body { codec: Codec::Raw, data: answers.join("\n").into_bytes() }))
    }
}

/// `ok …` or the name of the error.
fn obey(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let answer = match words[..] {
        ["sleep", ms] => Ok(sleep(ms)),
        ["listen" | "connect" | "lookup" | "get" | "sockets" | "accept", ..] => hosts::obey(&words),
        _ => files::obey(&words),
    };
    answer.map_or_else(|error| error, |said| format!("ok {said}").trim_end().to_owned())
}

fn sleep(ms: &str) -> String {
    let ms: u64 = ms.parse().expect("a number");
    wasi::clocks::monotonic_clock::subscribe_duration(ms * 1_000_000).block();
    String::new()
}
