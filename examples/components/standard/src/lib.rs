//! Does what it is told, in words, with the interfaces of WASI proposals that this host offers. The tests run it; it is
//! not part of the examples that are signed.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package example:standard;

        world standard {
            import wasi:keyvalue/store@0.2.0-draft2;
            import wasi:keyvalue/atomics@0.2.0-draft2;
            import wasi:keyvalue/batch@0.2.0-draft2;
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
            export airssys:component/message-handler@0.1.0;
        }
    ",
    generate_all,
});

use airssys::component::types::{Body, Codec};
use exports::airssys::component::message_handler;
use wasi::config::store as config;
use wasi::keyvalue::atomics::{self, Cas, CasError};
use wasi::keyvalue::batch;
use wasi::keyvalue::store::{self, Bucket, Error};
use wasi::logging::logging::{self, Level};

struct Component;

export!(Component);

impl message_handler::Guest for Component {
    /// The answer to a line of words, as a text. After `fail` what came before it on other lines is forgotten.
    fn handle(message: message_handler::Message) -> Result<Option<Body>, String> {
        let text = String::from_utf8(message.body.data).map_err(|error| error.to_string())?;
        let answers: Vec<String> = text.lines().map(obey).collect::<Result<_, _>>()?;
        Ok(Some(Body { codec: Codec::Raw, data: answers.join("\n").into_bytes() }))
    }
}

fn obey(line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split(' ').collect();
    let answer = match words[..] {
        ["open", name] => store::open(name).map(|_| "opened".to_owned()),
        ["config", key] => Ok(format!("{:?}", config::get(key))),
        ["config"] => Ok(format!("{:?}", config::get_all())),
        ["log", context, message] => {
            logging::log(Level::Critical, context, message);
            Ok("logged".to_owned())
        }
        ["env", name] => Ok(std::env::var(name).unwrap_or_else(|error| error.to_string())),
        ["fail"] => return Err("as it was told".to_owned()),
        _ => store::open("default").and_then(|bucket| keep(&bucket, &words)),
    };
    Ok(answer.unwrap_or_else(|error| format!("{error:?}")))
}

fn keep(bucket: &Bucket, words: &[&str]) -> Result<String, Error> {
    Ok(match *words {
        ["get", key] => shown(bucket.get(key)?),
        ["set", key, value] => format!("{:?}", bucket.set(key, value.as_bytes())?),
        ["delete", key] => format!("{:?}", bucket.delete(key)?),
        ["exists", key] => bucket.exists(key)?.to_string(),
        ["keys"] => {
            let page = bucket.list_keys(None)?;
            format!("{} {:?}", page.keys.join(" "), page.cursor)
        }
        ["add", key, delta] => atomics::increment(bucket, key, delta.parse().unwrap_or(0))?.to_string(),
        ["exchange", key, value] => exchange(bucket, key, value, None)?,
        ["meddle", key, value] => exchange(bucket, key, value, Some("meddled"))?,
        ["get-many", ref keys @ ..] => {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            let pairs = batch::get_many(bucket, &keys)?.into_iter();
            let texts = pairs.map(|pair| match pair {
                Some((key, value)) => format!("{key}={}", shown(Some(value))),
                None => shown(None),
            });
            texts.collect::<Vec<_>>().join(" ")
        }
        ["set-many", ref keys @ ..] => {
            let pairs: Vec<_> = keys.iter().map(|key| ((*key).to_owned(), b"many".to_vec())).collect();
            format!("{:?}", batch::set_many(bucket, &pairs)?)
        }
        ["delete-many", ref keys @ ..] => {
            let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            format!("{:?}", batch::delete_many(bucket, &keys)?)
        }
        ["set-hundred-and-one"] => {
            let pairs: Vec<_> = (0..=100).map(|number| (format!("n{number}"), Vec::new())).collect();
            format!("{:?}", batch::set_many(bucket, &pairs)?)
        }
        _ => "not understood".to_owned(),
    })
}

/// Exchanges a value that was seen, after somebody meddled with it if so told, and again when it had changed.
fn exchange(bucket: &Bucket, key: &str, value: &str, meddled: Option<&str>) -> Result<String, Error> {
    let cas = Cas::new(bucket, key)?;
    let before = shown(cas.current()?);
    if let Some(meddled) = meddled {
        bucket.set(key, meddled.as_bytes())?;
    }
    match atomics::swap(cas, value.as_bytes()) {
        Ok(()) => Ok(format!("{before} exchanged")),
        Err(CasError::StoreError(error)) => Err(error),
        Err(CasError::CasFailed(again)) => {
            let now = shown(again.current()?);
            let second = atomics::swap(again, value.as_bytes()).is_ok();
            Ok(format!("{before} had become {now}; again: {second}"))
        }
    }
}

fn shown(value: Option<Vec<u8>>) -> String {
    value.map_or("nothing".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
}
