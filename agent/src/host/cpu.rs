//! Counts processors. Pure.

/// Processors in a list of ranges such as `0-3,8`, as `/sys/devices/system/cpu/online` has it; none if it is not
/// such a list.
#[must_use]
pub fn online(list: &str) -> Option<u32> {
    let mut count: u32 = 0;
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// Processors in `/proc/cpuinfo`; none if it names none.
#[must_use]
pub fn listed(cpuinfo: &str) -> Option<u32> {
    let names = cpuinfo.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    u32::try_from(names.filter(|name| *name == "processor").count()).ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_counted() {
        assert_eq!(online("0-1\n"), Some(2));
        assert_eq!(online("0"), Some(1));
        assert_eq!(online("0-3,8,10-11"), Some(7));
        assert_eq!(online(""), None);
        assert_eq!(online("3-1"), None);
        assert_eq!(online("0-4294967295"), None);
    }

    #[test]
    fn cpuinfo_names_each_processor() {
        assert_eq!(listed("processor\t: 0\nmodel name\t: processor x\n\nprocessor\t: 1\n"), Some(2));
        assert_eq!(listed("model name : x"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_ranges_sum_up(text in "[0-9,-]{0,24}", ends in (0_u32..64, 0_u32..64)) {
            let _ = online(&text);
            let (first, more) = ends;
            prop_assert_eq!(online(&format!("{first}-{}", first + more)), Some(more + 1));
        }
    }
}
