//! Which ids of the host each pod has. Pure.
//!
//! Blocks are aligned to their length and never begin below it, so that no pod has an id of the host's own users.

use std::collections::BTreeMap;

use pinnace_cri::id::PodUid;

/// The unit of all lengths: what one user namespace needs at least (`pkg/kubelet/userns`).
pub const UNIT: u32 = 65_536;
/// Whose ids pods are given, as with the kubelet.
const USER: &str = "kubelet";

/// Ids that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The first, on the host; inside it is 0.
    pub first: u32,
    /// How many.
    pub length: u32,
}

impl Block {
    fn overlaps(self, other: Self) -> bool {
        let end = |block: Self| u64::from(block.first).saturating_add(block.length.into());
        u64::from(self.first) < end(other) && u64::from(other.first) < end(self)
    }
}

/// Where blocks are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First id of the first block, a multiple of `length`, not 0.
    pub first: u32,
    /// How many blocks.
    pub blocks: u32,
    /// Ids in each.
    pub length: u32,
}

impl Range {
    /// Of the ids that are given to user `kubelet` in `/etc/subuid` and `/etc/subgid`; all but the host's own if there is
    /// no such line.
    pub fn of_kubelet(users: &str, groups: &str, length: u32) -> Result<Self, String> {
        if length == 0 || !length.is_multiple_of(UNIT) {
            return Err(format!("{length} ids per pod are not a multiple of {UNIT}"));
        }
        match (of_user(users)?, of_user(groups)?) {
            (None, None) => {
                // The last id of all is no id: what holds it is left out.
                let blocks = (u32::MAX / length).saturating_sub(1);
                Ok(Self { first: length, blocks, length })
            }
            (users, groups) if users != groups => Err("users and groups differ".to_owned()),
            (Some(given), _) => Self::of_given(given, length),
            (None, Some(_)) => Err("users and groups differ".to_owned()),
        }
    }

    fn of_given(given: Block, length: u32) -> Result<Self, String> {
        let Block { first, length: given } = given;
        if first < length || !first.is_multiple_of(length) {
            return Err(format!("the first id {first} is not a multiple of {length} above 0"));
        }
        if given == 0 || !given.is_multiple_of(length) {
            return Err(format!("the number of ids {given} is not a multiple of {length}"));
        }
        if first.checked_add(given).is_none() {
            return Err(format!("{given} ids from {first} on are more than there are"));
        }
        Ok(Self { first, blocks: given / length, length })
    }

    /// The block at this place, from 0.
    fn block(self, at: u32) -> Option<Block> {
        let first = at.checked_mul(self.length)?.checked_add(self.first)?;
        (at < self.blocks).then_some(Block { first, length: self.length })
    }
}

/// The user's only line.
fn of_user(text: &str) -> Result<Option<Block>, String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix(USER)?.strip_prefix(':'));
    let mut lines = lines.map(|line| {
        let (first, length) = line.split_once(':')?;
        Some(Block { first: first.parse().ok()?, length: length.parse().ok()? })
    });
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(Some(block)), None) => Ok(Some(block)),
        (Some(None), _) => Err("a line is not user:first:count".to_owned()),
        (Some(_), Some(_)) => Err("there is more than one line".to_owned()),
    }
}

/// Who has what.
#[derive(Debug, Clone)]
pub struct Blocks {
    range: Range,
    given: BTreeMap<PodUid, Block>,
    /// Where the next search begins: ids that were just given back rest as long as possible.
    next: u32,
}

impl Blocks {
    /// Nothing is given yet.
    #[must_use]
    pub fn new(range: Range) -> Self {
        Self { range, given: BTreeMap::new(), next: 0 }
    }

    /// What a pod was given at an earlier time, whatever was configured then.
    pub fn keep(&mut self, uid: PodUid, block: Block) {
        self.given.insert(uid, block);
    }

    /// What a pod has.
    #[must_use]
    pub fn of(&self, uid: &PodUid) -> Option<Block> {
        self.given.get(uid).copied()
    }

    /// Gives a pod the next free block; none if there is none.
    pub fn allocate(&mut self, uid: &PodUid) -> Option<Block> {
        let count = self.range.blocks;
        let places = (self.next..count).chain(0..self.next.min(count));
        let free = |block: &Block| !self.given.values().any(|taken| taken.overlaps(*block));
        let found = places.filter_map(|at| Some((at, self.range.block(at)?)));
        let (at, block) = found.into_iter().find(|(_, block)| free(block))?;
        self.next = at.saturating_add(1);
        self.given.insert(uid.clone(), block);
        Some(block)
    }

    /// Takes back what a pod has.
    pub fn release(&mut self, uid: &PodUid) {
        self.given.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uid(number: u32) -> PodUid {
        PodUid::new(&format!("u{number}")).unwrap()
    }

    fn range(text: &str) -> Result<Range, String> {
        Range::of_kubelet(text, text, UNIT)
    }

    #[test]
    fn without_a_line_all_ids_but_the_hosts_own_are_given() {
        let all = Range::of_kubelet("root:1:5\n", "", UNIT).unwrap();
        assert_eq!(all, Range { first: 65_536, blocks: 65_534, length: UNIT });
        let last = all.block(all.blocks - 1).unwrap();
        assert!(u64::from(last.first) + u64::from(last.length) < u64::from(u32::MAX));
        let wide = Range::of_kubelet("", "", 4 * UNIT).unwrap();
        assert_eq!(wide.first, 4 * UNIT);
    }

    #[test]
    fn the_users_line_is_taken_or_refused() {
        let given = range("a:1:1\nkubelet:131072:131072\nkubelet2:1:1\n").unwrap();
        assert_eq!(given, Range { first: 131_072, blocks: 2, length: UNIT });
        for bad in [
            "kubelet:0:65536",
            "kubelet:65537:65536",
            "kubelet:65536:65535",
            "kubelet:65536:0",
            "kubelet:x:65536",
            "kubelet:65536",
            "kubelet:4294901760:65536",
            "kubelet:65536:65536\nkubelet:131072:65536",
        ] {
            assert!(range(bad).is_err(), "{bad}");
        }
        let (one, other) = ("kubelet:65536:65536", "kubelet:131072:65536");
        assert!(Range::of_kubelet(one, other, UNIT).is_err());
        assert!(Range::of_kubelet(one, "", UNIT).is_err());
        assert!(Range::of_kubelet("", one, UNIT).is_err());
        assert!(Range::of_kubelet("", "", 1000).is_err());
    }

    #[test]
    fn an_end_is_an_end_and_what_is_given_back_is_given_again() {
        let mut blocks = Blocks::new(range("kubelet:65536:131072").unwrap());
        let first = blocks.allocate(&uid(1)).unwrap();
        let second = blocks.allocate(&uid(2)).unwrap();
        assert_eq!((first.first, second.first), (65_536, 131_072));
        assert_eq!(blocks.allocate(&uid(3)), None);
        blocks.release(&uid(1));
        assert_eq!(blocks.allocate(&uid(3)), Some(first));
    }

    #[test]
    fn what_was_given_under_another_configuration_is_kept_clear_of() {
        let mut blocks = Blocks::new(range("kubelet:65536:196608").unwrap());
        blocks.keep(uid(9), Block { first: 131_072, length: 2 * UNIT });
        assert_eq!(blocks.allocate(&uid(1)).unwrap().first, 65_536);
        assert_eq!(blocks.allocate(&uid(2)), None);
    }

    proptest! {
        #[test]
        fn no_two_pods_ever_share_an_id(steps in proptest::collection::vec((0u32..12, any::<bool>()), 0..60)) {
            let mut blocks = Blocks::new(range("kubelet:65536:524288").unwrap());
            for (pod, gives) in steps {
                if gives && blocks.of(&uid(pod)).is_none() {
                    blocks.allocate(&uid(pod));
                } else if !gives {
                    blocks.release(&uid(pod));
                }
                let given: Vec<Block> = blocks.given.values().copied().collect();
                for (index, one) in given.iter().enumerate() {
                    prop_assert!(one.first >= UNIT && one.first.is_multiple_of(UNIT));
                    prop_assert!(given[..index].iter().all(|other| !other.overlaps(*one)));
                }
            }
        }
    }
}
