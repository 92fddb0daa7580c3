//! What an image pull policy asks for. Pure.

/// What to do about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Use the one that is there.
    Use,
    /// Pull it.
    Pull,
    /// It may not be pulled and is not there: `ErrImageNeverPull`.
    Missing,
}

/// Decides by the policy and whether the image is present. An absent or foreign policy is `IfNotPresent`;
/// defaulting has set `Always` where the image has no tag or `:latest`.
#[must_use]
pub fn need(policy: Option<&str>, present: bool) -> Need {
    match (policy, present) {
        (Some("Always"), _) => Need::Pull,
        (Some("Never"), false) => Need::Missing,
        (_, true) => Need::Use,
        (_, false) => Need::Pull,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let table = [
            (Some("Always"), true, Need::Pull),
            (Some("Always"), false, Need::Pull),
            (Some("IfNotPresent"), true, Need::Use),
            (Some("IfNotPresent"), false, Need::Pull),
            (Some("Never"), true, Need::Use),
            (Some("Never"), false, Need::Missing),
            (None, true, Need::Use),
            (None, false, Need::Pull),
        ];
        for (policy, present, wanted) in table {
            assert_eq!(need(policy, present), wanted, "{policy:?}, present: {present}");
        }
    }
}
