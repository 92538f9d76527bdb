//! Owns one permission: its kind, its pattern, when it includes another, and what two have in common.
//!
//! Sets of permissions are in the parent module. An entry includes another exactly when every act that
//! the other allows is allowed; the answer never depends on files, names on the network or the host.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::custom::{CustomName, CustomValue};
use super::net::{Connect, Listen};
use super::pattern::{EnvName, PatternError, Peer, StorageLevel, Topic, Tree};
use crate::name::{InstallationName, LinkName};

/// A kind of permission, as files name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `fs.read`
    FsRead,
    /// `fs.write`
    FsWrite,
    /// `net.connect`
    NetConnect,
    /// `net.listen`
    NetListen,
    /// `env`
    Env,
    /// `storage`
    Storage,
    /// `send`
    Send,
    /// `receive`
    Receive,
    /// `publish`
    Publish,
    /// `subscribe`
    Subscribe,
    /// `custom.<name>`
    Custom(CustomName),
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// Read and list a directory tree.
    FsRead(Tree),
    /// Read, create, change, delete and list in a directory tree.
    FsWrite(Tree),
    /// Connect to a host.
    NetConnect(Connect),
    /// Listen on an address.
    NetListen(Listen),
    /// Read an environment variable of the host.
    Env(EnvName),
    /// Use the component's own storage.
    Storage(StorageLevel),
    /// Send to what a link means.
    Send(Peer<LinkName>),
    /// Take messages from an installation.
    Receive(Peer<InstallationName>),
    /// Publish to a topic.
    Publish(Topic),
    /// Take what others publish to a topic.
    Subscribe(Topic),
    /// Something a host extension offers.
    Custom(CustomName, CustomValue),
}

impl Entry {
    /// The entry's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::FsRead(_) => Kind::FsRead,
            Self::FsWrite(_) => Kind::FsWrite,
            Self::NetConnect(_) => Kind::NetConnect,
            Self::NetListen(_) => Kind::NetListen,
            Self::Env(_) => Kind::Env,
            Self::Storage(_) => Kind::Storage,
            Self::Send(_) => Kind::Send,
            Self::Receive(_) => Kind::Receive,
            Self::Publish(_) => Kind::Publish,
            Self::Subscribe(_) => Kind::Subscribe,
            Self::Custom(name, _) => Kind::Custom(name.clone()),
        }
    }

    /// Whether every act that `other` allows is allowed.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            // Who may write a tree may read it.
            (Self::FsRead(a), Self::FsRead(b)) | (Self::FsWrite(a), Self::FsWrite(b) | Self::FsRead(b)) => a.covers(b),
            (Self::NetConnect(a), Self::NetConnect(b)) => a.covers(b),
            (Self::Storage(a), Self::Storage(b)) => a >= b,
            (Self::Send(a), Self::Send(b)) => a.covers(b),
            (Self::Receive(a), Self::Receive(b)) => a.covers(b),
            (Self::Publish(a), Self::Publish(b)) | (Self::Subscribe(a), Self::Subscribe(b)) => a.covers(b),
            _ => self == other,
        }
    }

    /// Exactly the acts that both allow; `None` when there are none.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::NetConnect(a), Self::NetConnect(b)) => a.meet(b).map(Self::NetConnect),
            (Self::FsWrite(a), Self::FsRead(b)) | (Self::FsRead(b), Self::FsWrite(a)) => {
                let read = [Self::FsRead(a.clone()), Self::FsRead(b.clone())];
                read[0].meet(&read[1])
            }
            // In every other kind, two patterns either have nothing in common or one includes the other.
            _ if self.covers(other) => Some(other.clone()),
            _ => other.covers(self).then(|| self.clone()),
        }
    }

    /// The pattern alone, as files write it.
    pub fn pattern(&self) -> String {
        match self {
            Self::FsRead(tree) | Self::FsWrite(tree) => tree.to_string(),
            Self::NetConnect(connect) => connect.to_string(),
            Self::NetListen(listen) => listen.to_string(),
            Self::Env(name) => name.to_string(),
            Self::Storage(level) => level.to_string(),
            Self::Send(peer) => peer.to_string(),
            Self::Receive(peer) => peer.to_string(),
            Self::Publish(topic) | Self::Subscribe(topic) => topic.to_string(),
            Self::Custom(_, value) => value.to_string(),
        }
    }

    /// Kind and pattern with a space between, as `[grant] without` and JSON write it. [`FromStr`] reads it.
    pub fn plain(&self) -> String {
        format!("{} {}", self.kind(), self.pattern())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(..) => write!(f, "{} {}", self.kind(), self.pattern()),
            _ => write!(f, "{} \"{}\"", self.kind(), self.pattern()),
        }
    }
}

impl FromStr for Entry {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: PatternError =
            PatternError("an entry is a kind, a space and a pattern, as in `net.connect api.example.com:443`");
        let (kind, pattern) = text.split_once(' ').ok_or(SHAPE)?;
        Ok(match kind.parse()? {
            Kind::FsRead => Self::FsRead(pattern.parse()?),
            Kind::FsWrite => Self::FsWrite(pattern.parse()?),
            Kind::NetConnect => Self::NetConnect(pattern.parse()?),
            Kind::NetListen => Self::NetListen(pattern.parse()?),
            Kind::Env => Self::Env(pattern.parse()?),
            Kind::Storage => match StorageLevel::parse(pattern)? {
                Some(level) => Self::Storage(level),
                None => return Err(PatternError("the storage level `none` is no permission")),
            },
            Kind::Send => Self::Send(pattern.parse()?),
            Kind::Receive => Self::Receive(pattern.parse()?),
            Kind::Publish => Self::Publish(pattern.parse()?),
            Kind::Subscribe => Self::Subscribe(pattern.parse()?),
            Kind::Custom(name) => Self::Custom(name, pattern.parse()?),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FsRead => "fs.read",
            Self::FsWrite => "fs.write",
            Self::NetConnect => "net.connect",
            Self::NetListen => "net.listen",
            Self::Env => "env",
            Self::Storage => "storage",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Custom(name) => return write!(f, "custom.{name}"),
        })
    }
}

impl FromStr for Kind {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "fs.read" => Self::FsRead,
            "fs.write" => Self::FsWrite,
            "net.connect" => Self::NetConnect,
            "net.listen" => Self::NetListen,
            "env" => Self::Env,
            "storage" => Self::Storage,
            "send" => Self::Send,
            "receive" => Self::Receive,
            "publish" => Self::Publish,
            "subscribe" => Self::Subscribe,
            _ => match text.strip_prefix("custom.") {
                Some(name) => Self::Custom(name.parse()?),
                None => {
                    return Err(PatternError(
                        "the kinds are fs.read, fs.write, net.connect, net.listen, env, storage, send, receive, \
                         publish, subscribe and custom.<name>",
                    ));
                }
            },
        })
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.plain())
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
