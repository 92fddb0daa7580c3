//! What the node has for its pods, as volumes need it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::pod::admit::Place;

/// What the node has for its pods.
#[derive(Debug, Clone)]
pub struct Allocatable {
    place: watch::Receiver<Arc<Place>>,
    memory: i64,
}

impl Allocatable {
    /// As pods are held against; `memory` in bytes is the machine's, which counts where nothing else is known.
    #[must_use]
    pub fn new(place: watch::Receiver<Arc<Place>>, memory: i64) -> Self {
        Self { place, memory }
    }

    /// By resource: CPU in thousandths, all else in whole units.
    #[must_use]
    pub fn now(&self) -> BTreeMap<String, i64> {
        let mut all = self.place.borrow().allocatable.clone();
        all.entry("memory".to_owned()).or_insert(self.memory);
        all
    }
}
