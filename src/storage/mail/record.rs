//! Decides how a message and a dead letter are written down, and whether bytes are one. Pure.
//!
//! ```text
//! message   1 · deliveries u8 · crashes u8 · message u64 · hops u32 · expires u64, all ones for never · author · target
//!           · codec · payload
//! author    0 · length u8 · name  |  1 · trigger u32  |  2  |  3 · length u8 · name · length u32 · topic
//! target    length u8 · name
//! codec     length u8 · its name
//! payload   length u32 · bytes, and nothing behind them
//! letter    2 · reason u8 · storage id u64 · time u64 · length u32 · why · message
//! ```
//!
//! Numbers are big-endian. Whatever the bytes are, reading them needs no more memory than they have.

use crate::codec::Codec;
use crate::name::InstallationName;
use crate::permission::Topic;

/// First byte of a message.
const MESSAGE: u8 = 1;
/// First byte of a dead letter.
const LETTER: u8 = 2;
/// Stands for no end of its time.
const NEVER: u64 = u64::MAX;

/// The bytes are not what this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has no {0} where one belongs")]
pub struct DamagedRecord(&'static str);

/// Who sent a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// Another installation.
    Installation(InstallationName),
    /// A trigger of its desired file, by its place.
    Trigger(u32),
    /// The host.
    Host,
    /// Another installation, which published it to this topic.
    Publisher(InstallationName, Topic),
}

/// A message but for its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailHead<'m> {
    /// The message's number on this host.
    pub message: u64,
    /// Who sent it.
    pub author: &'m Author,
    /// The installation that it is for, by its name when it was sent.
    pub target: &'m InstallationName,
    /// Messages that led to it.
    pub hops: u32,
    /// Not delivered after this, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Deliveries that did not end well.
    pub deliveries: u8,
    /// Those of them that ended in a crash.
    pub crashes: u8,
    /// In which codec its content is written.
    pub codec: Codec,
}

/// A message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// See [`MailHead::message`].
    pub message: u64,
    /// See [`MailHead::author`].
    pub author: Author,
    /// See [`MailHead::target`].
    pub target: InstallationName,
    /// See [`MailHead::hops`].
    pub hops: u32,
    /// See [`MailHead::expires_ms`].
    pub expires_ms: Option<u64>,
    /// See [`MailHead::deliveries`].
    pub deliveries: u8,
    /// See [`MailHead::crashes`].
    pub crashes: u8,
    /// See [`MailHead::codec`].
    pub codec: Codec,
    /// Its content.
    pub payload: Vec<u8>,
}

/// What a dead letter says besides its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Why it died, by a number that its writer gives a meaning.
    pub reason: u8,
    /// The error or the crash, if there was one.
    pub why: Option<String>,
    /// The storage id of the installation that it was for.
    pub storage_id: u64,
    /// When it died, in milliseconds since 1970.
    pub at_ms: u64,
}

impl MailHead<'_> {
    /// The record of a message.
    pub fn encode(self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 160);
        self.encode_into(payload, &mut out);
        out
    }

    fn encode_into(self, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&[MESSAGE, self.deliveries, self.crashes]);
        out.extend_from_slice(&self.message.to_be_bytes());
        out.extend_from_slice(&self.hops.to_be_bytes());
        out.extend_from_slice(&self.expires_ms.unwrap_or(NEVER).to_be_bytes());
        match self.author {
            Author::Installation(name) => {
                out.push(0);
                put_name(name.as_str(), out);
            }
            Author::Trigger(index) => {
                out.push(1);
                out.extend_from_slice(&index.to_be_bytes());
            }
            Author::Host => out.push(2),
            Author::Publisher(name, topic) => {
                out.push(3);
                put_name(name.as_str(), out);
                put_bytes(topic.as_str().as_bytes(), out);
            }
        }
        put_name(self.target.as_str(), out);
        put_name(self.codec.name(), out);
        put_bytes(payload, out);
    }
}

impl Mail {
    /// All but the payload.
    pub fn head(&self) -> MailHead<'_> {
        let Self { message, author, target, hops, expires_ms, deliveries, crashes, codec, payload: _ } = self;
        MailHead {
            message: *message,
            author,
            target,
            hops: *hops,
            expires_ms: *expires_ms,
            deliveries: *deliveries,
            crashes: *crashes,
            codec: *codec,
        }
    }

    /// Reads a message.
    pub fn decode(record: &[u8]) -> Result<Self, DamagedRecord> {
        let mut rest = Rest(record);
        rest.is(MESSAGE, "message of a known version")?;
        let (deliveries, crashes) = (rest.byte("count")?, rest.byte("count")?);
        let message = rest.u64("number")?;
        let hops = rest.u32("number of hops")?;
        let expires_ms = Some(rest.u64("time")?).filter(|ms| *ms != NEVER);
        let author = match rest.byte("sender")? {
            0 => Author::Installation(rest.name("sender")?),
            1 => Author::Trigger(rest.u32("trigger")?),
            2 => Author::Host,
            3 => Author::Publisher(rest.name("sender")?, rest.topic()?),
            _ => return Err(DamagedRecord("sender")),
        };
        let target = rest.name("target")?;
        let codec = rest.word("codec")?.parse().map_err(|_| DamagedRecord("codec"))?;
        let payload = rest.bytes("payload")?.to_vec();
        rest.end()?;
        Ok(Self { message, author, target, hops, expires_ms, deliveries, crashes, codec, payload })
    }
}

impl Letter {
    /// The record of a dead letter.
    pub fn encode(&self, mail: MailHead<'_>, payload: &[u8]) -> Vec<u8> {
        let why = self.why.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(payload.len() + why.len() + 192);
        out.extend_from_slice(&[LETTER, self.reason]);
        out.extend_from_slice(&self.storage_id.to_be_bytes());
        out.extend_from_slice(&self.at_ms.to_be_bytes());
        put_bytes(why.as_bytes(), &mut out);
        mail.encode_into(payload, &mut out);
        out
    }

    /// Reads a dead letter.
    pub fn decode(record: &[u8]) -> Result<(Self, Mail), DamagedRecord> {
        let mut rest = Rest(record);
        rest.is(LETTER, "dead letter of a known version")?;
        let reason = rest.byte("reason")?;
        let storage_id = rest.u64("storage id")?;
        let at_ms = rest.u64("time")?;
        let why = std::str::from_utf8(rest.bytes("reason")?).map_err(|_| DamagedRecord("text"))?;
        let why = (!why.is_empty()).then(|| why.to_owned());
        Ok((Self { reason, why, storage_id, at_ms }, Mail::decode(rest.0)?))
    }
}

/// A name has at most 64 bytes.
fn put_name(name: &str, out: &mut Vec<u8>) {
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What is not read yet.
struct Rest<'r>(&'r [u8]);

impl<'r> Rest<'r> {
    fn take(&mut self, bytes: usize, what: &'static str) -> Result<&'r [u8], DamagedRecord> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(DamagedRecord(what))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DamagedRecord> {
        self.take(N, what)?.try_into().map_err(|_| DamagedRecord(what))
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, DamagedRecord> {
        Ok(self.array::<1>(what)?[0])
    }

    fn is(&mut self, wanted: u8, what: &'static str) -> Result<(), DamagedRecord> {
        if self.byte(what)? == wanted { Ok(()) } else { Err(DamagedRecord(what)) }
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, DamagedRecord> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, DamagedRecord> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    fn bytes(&mut self, what: &'static str) -> Result<&'r [u8], DamagedRecord> {
        let length = self.u32(what)? as usize;
        self.take(length, what)
    }

    fn word(&mut self, what: &'static str) -> Result<&'r str, DamagedRecord> {
        let length = usize::from(self.byte(what)?);
        std::str::from_utf8(self.take(length, what)?).map_err(|_| DamagedRecord(what))
    }

    fn name(&mut self, what: &'static str) -> Result<InstallationName, DamagedRecord> {
        self.word(what)?.parse().map_err(|_| DamagedRecord(what))
    }

    fn topic(&mut self) -> Result<Topic, DamagedRecord> {
        let text = std::str::from_utf8(self.bytes("topic")?).map_err(|_| DamagedRecord("topic"))?;
        text.parse().map_err(|_| DamagedRecord("topic"))
    }

    fn end(&self) -> Result<(), DamagedRecord> {
        if self.0.is_empty() { Ok(()) } else { Err(DamagedRecord("end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(author: Author) -> Mail {
        let target = "b".parse().unwrap();
        let payload = b"content".to_vec();
        let codec = Codec::Json;
        Mail { message: 7, author, target, hops: 3, expires_ms: Some(9), deliveries: 1, crashes: 1, codec, payload }
    }

    fn all() -> [Mail; 4] {
        let publisher = Author::Publisher("a".parse().unwrap(), "orders.created".parse().unwrap());
        let authors = [Author::Installation("a".parse().unwrap()), Author::Trigger(4), Author::Host, publisher];
        authors.map(mail)
    }

    fn letter(why: Option<&str>) -> Letter {
        Letter { reason: 2, why: why.map(str::to_owned), storage_id: 5, at_ms: 11 }
    }

    #[test]
    fn messages_and_letters_come_out_as_they_went_in() {
        for mail in all() {
            assert_eq!(Mail::decode(&mail.head().encode(&mail.payload)), Ok(mail.clone()));
            for letter in [letter(None), letter(Some("it broke"))] {
                let record = letter.encode(mail.head(), &mail.payload);
                assert_eq!(Letter::decode(&record), Ok((letter, mail.clone())));
            }
        }
        let forever = Mail { expires_ms: None, payload: Vec::new(), ..mail(Author::Host) };
        assert_eq!(Mail::decode(&forever.head().encode(&[])), Ok(forever));
    }

    #[test]
    fn what_is_cut_off_or_longer_or_of_another_kind_is_named_and_never_read_as_a_message() {
        for mail in all() {
            let record = mail.head().encode(&mail.payload);
            let written = letter(Some("why")).encode(mail.head(), &mail.payload);
            for end in 0..record.len() {
                Mail::decode(&record[..end]).unwrap_err();
            }
            for end in 0..written.len() {
                Letter::decode(&written[..end]).unwrap_err();
            }
            let longer = [&record[..], b"x"].concat();
            assert_eq!(Mail::decode(&longer), Err(DamagedRecord("end")));
            assert_eq!(Mail::decode(&written), Err(DamagedRecord("message of a known version")));
            assert_eq!(Letter::decode(&record), Err(DamagedRecord("dead letter of a known version")));
        }
        let text = Mail::decode(&[9]).unwrap_err().to_string();
        assert_eq!(text, "it has no message of a known version where one belongs");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: crate::test_scale::cases(20_000), ..proptest::prelude::ProptestConfig::default()
        })]

        #[test]
        fn no_bytes_are_a_panic_and_what_is_read_is_written_the_same(
            mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
            kind in 0u8..4,
            whole in proptest::prelude::any::<bool>(),
            at in proptest::prelude::any::<proptest::sample::Index>(),
        ) {
            if whole {
                let flip = bytes.first().copied().unwrap_or(1);
                bytes = mail(Author::Installation("a".parse().unwrap())).head().encode(b"content");
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            } else if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            let _ = Letter::decode(&bytes);
            if let Ok(mail) = Mail::decode(&bytes) {
                proptest::prop_assert_eq!(mail.head().encode(&mail.payload), bytes);
            }
        }
    }
}
