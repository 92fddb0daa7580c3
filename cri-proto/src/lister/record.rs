//! The two kinds of record that a relist reads, and what their bytes mean to this node.
//!
//! Pure. Whose a record is gets decided before its content is judged: what another owner made is never counted as
//! invalid here.

use std::sync::Arc;

use prost::Message;

use super::table::Meaning;
use crate::container::Container;
use crate::labels::Ownership;
use crate::sandbox::Sandbox;
use crate::v1;
use crate::wire::InvalidRecord;

/// A record of a list.
pub(super) trait Record: Sized {
    /// What `frame`, the bytes of one record, means to the owner.
    fn read(frame: &[u8], owned: &Ownership) -> Meaning<Self>;
    /// The record's id.
    fn id(&self) -> &str;
}

impl Record for Sandbox {
    fn read(frame: &[u8], owned: &Ownership) -> Meaning<Self> {
        let Ok(wire) = v1::PodSandbox::decode(frame) else { return undecodable("sandbox") };
        if owned.owns(&wire.labels) { meaning(Self::try_from(wire)) } else { Meaning::Foreign }
    }

    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Record for Container {
    fn read(frame: &[u8], owned: &Ownership) -> Meaning<Self> {
        let Ok(wire) = v1::Container::decode(frame) else { return undecodable("container") };
        if owned.owns(&wire.labels) { meaning(Self::try_from(wire)) } else { Meaning::Foreign }
    }

    fn id(&self) -> &str {
        self.id.as_str()
    }
}

fn meaning<T>(converted: Result<T, InvalidRecord>) -> Meaning<T> {
    match converted {
        Ok(record) => Meaning::Ours(Arc::new(record)),
        Err(why) => Meaning::Invalid(Box::new(why)),
    }
}

fn undecodable<T>(what: &'static str) -> Meaning<T> {
    Meaning::Invalid(Box::new(InvalidRecord::Undecodable(what)))
}
