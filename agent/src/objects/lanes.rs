//! Which watch goes over which connection. Pure.

/// Watches on one connection. A server admits 100 streams on one as a rule, and answers none beyond that.
pub(super) const MOST: usize = 80;

/// How many watches each connection carries.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Lanes(Vec<usize>);

impl Lanes {
    /// A place on the first connection that has one.
    pub(super) fn enter(&mut self) -> usize {
        let free = self.0.iter().position(|taken| *taken < MOST);
        let lane = free.unwrap_or_else(|| {
            self.0.push(0);
            self.0.len().saturating_sub(1)
        });
        if let Some(taken) = self.0.get_mut(lane) {
            *taken = taken.saturating_add(1);
        }
        lane
    }

    /// Gives it back.
    pub(super) fn leave(&mut self, lane: usize) {
        if let Some(taken) = self.0.get_mut(lane) {
            *taken = taken.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hundred_and_fifty_watches_need_two_connections() {
        let mut lanes = Lanes::default();
        let taken: Vec<usize> = (0..150).map(|_| lanes.enter()).collect();
        assert_eq!((taken[0], taken[79], taken[80], taken[149]), (0, 0, 1, 1));
        lanes.leave(0);
        assert_eq!(lanes.enter(), 0, "the first connection is filled first");
    }

    proptest! {
        #[test]
        fn no_connection_carries_too_many(steps in prop::collection::vec(any::<(bool, prop::sample::Index)>(), 0..600)) {
            let (mut lanes, mut taken) = (Lanes::default(), Vec::new());
            for (enters, which) in steps {
                if enters || taken.is_empty() {
                    taken.push(lanes.enter());
                } else {
                    lanes.leave(taken.swap_remove(which.index(taken.len())));
                }
                let count = |lane: usize| taken.iter().filter(|taken| **taken == lane).count();
                prop_assert!(lanes.0.iter().enumerate().all(|(lane, known)| *known <= MOST && *known == count(lane)));
            }
        }
    }
}
