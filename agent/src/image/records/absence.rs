//! Which records are of images that are gone: (records, two lists of the runtime) → names of files. Pure.

use std::collections::BTreeSet;

/// What was not in the last list. Names are those of the records' files.
#[derive(Debug, Default)]
pub(super) struct Absences {
    missing: BTreeSet<String>,
    /// Written since the list that is under way was asked for, which may have been made before.
    written: BTreeSet<String>,
}

impl Absences {
    /// A list is about to be asked for.
    pub(super) fn begin(&mut self) {
        self.written.clear();
    }

    /// The image of this record is there, as far as its writer knows.
    pub(super) fn writes(&mut self, name: &str) {
        self.missing.remove(name);
        self.written.insert(name.to_owned());
    }

    /// Takes note of a list; gives the records whose image was neither in this one nor in the one before.
    pub(super) fn look(&mut self, recorded: &[String], listed: &BTreeSet<String>) -> Vec<String> {
        let is_missing = |name: &&String| !listed.contains(*name) && !self.written.contains(*name);
        let missing: BTreeSet<String> = recorded.iter().filter(is_missing).cloned().collect();
        let gone = missing.intersection(&self.missing).cloned().collect();
        self.missing = missing;
        gone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn set(listed: &[&str]) -> BTreeSet<String> {
        names(listed).into_iter().collect()
    }

    #[test]
    fn one_absence_proves_nothing_and_two_in_a_row_do() {
        let (mut absences, recorded) = (Absences::default(), names(&["a", "b"]));
        for (listed, gone) in
            [(&["a"][..], &[][..]), (&["a", "b"], &[]), (&["a"], &[]), (&["a"], &["b"]), (&["a"], &["b"])]
        {
            absences.begin();
            assert_eq!(absences.look(&recorded, &set(listed)), names(gone), "{listed:?}");
        }
    }

    #[test]
    fn a_pull_that_ends_while_a_list_is_on_its_way_is_believed() {
        let (mut absences, recorded) = (Absences::default(), names(&["a"]));
        absences.begin();
        assert!(absences.look(&recorded, &set(&[])).is_empty());
        absences.begin();
        absences.writes("a");
        for _ in 0..2 {
            assert!(absences.look(&recorded, &set(&[])).is_empty());
            absences.begin();
        }
        assert_eq!(absences.look(&recorded, &set(&[])), ["a"]);
    }

    proptest! {
        /// Whatever is pulled and removed: what goes was in neither of the last two lists, nor written since.
        #[test]
        fn what_goes_was_absent_twice(
            looks in prop::collection::vec((prop::collection::btree_set("[abc]", 0..3), prop::option::of("[abc]")), 1..20),
        ) {
            let (mut absences, recorded) = (Absences::default(), names(&["a", "b", "c"]));
            let mut before: Option<BTreeSet<String>> = None;
            for (listed, written) in looks {
                absences.begin();
                if let Some(name) = &written {
                    absences.writes(name);
                }
                let seen: BTreeSet<String> = listed.union(&written.into_iter().collect()).cloned().collect();
                for name in absences.look(&recorded, &listed) {
                    prop_assert!(!seen.contains(&name) && before.as_ref().is_some_and(|before| !before.contains(&name)));
                }
                before = Some(seen);
            }
        }
    }
}
