//! A map of bounded size that forgets what was used longest ago. Pure.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Recent<K, V> {
    most: usize,
    used: u64,
    entries: BTreeMap<K, (u64, V)>,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// An empty map of at most `most` entries.
    pub(super) fn new(most: usize) -> Self {
        Self { most, used: 0, entries: BTreeMap::new() }
    }

    /// The value of a key, made if there is none; now the one used last.
    pub(super) fn entry(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        self.used = self.used.saturating_add(1);
        let used = self.used;
        if !self.entries.contains_key(key) && self.entries.len() >= self.most {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.entries.remove(&oldest));
        }
        let (last, value) = self.entries.entry(key.clone()).or_insert_with(|| (used, make()));
        *last = used;
        value
    }

    /// Forgets what need not be kept.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        self.entries.retain(|_, (_, value)| keep(value));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_longest_ago_is_forgotten() {
        let mut map = Recent::new(2);
        for key in ["a", "b", "a", "c"] {
            *map.entry(&key, || 0) += 1;
        }
        assert_eq!(map.len(), 2);
        assert_eq!(*map.entry(&"a", || 0), 2);
        assert_eq!(*map.entry(&"b", || 0), 0);
    }
}
