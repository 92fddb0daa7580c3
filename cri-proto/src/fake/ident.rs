//! Ids of the fake's objects: 64 hex digits as containerd's, made from a seed and a counter so that a test
//! sees the same ids each time, in an order that tells nothing of the order of creation.

/// Makes ids.
#[derive(Debug)]
pub(super) struct Ids {
    seed: u64,
    made: u64,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, made: 0 }
    }

    /// An id that this maker never gave before.
    pub(super) fn next(&mut self) -> String {
        self.made = self.made.wrapping_add(1);
        digest(self.seed, self.made)
    }
}

/// 64 hex digits that depend on both numbers.
fn digest(seed: u64, number: u64) -> String {
    let mut state = seed ^ number.rotate_left(32);
    (0..4).map(|_| format!("{:016x}", mix(&mut state))).collect()
}

/// 64 hex digits for a text: stands in for a content hash.
pub(super) fn digest_of(text: &str) -> String {
    // FNV-1a, 64 bit: offset basis and prime are those of its definition.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    digest(hash, 0)
}

/// One step of splitmix64: a full-period generator whose constants are those of its definition.
pub(super) fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_long_hex_distinct_and_repeatable() {
        let make = |seed| {
            let mut ids = Ids::new(seed);
            (0..100).map(|_| ids.next()).collect::<Vec<_>>()
        };
        let first = make(1);
        assert_eq!(first, make(1));
        assert_ne!(first, make(2));
        assert!(first.iter().all(|id| id.len() == 64 && id.chars().all(|c| c.is_ascii_hexdigit())));
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), 100);
    }
}
