//! Reads `/proc/meminfo`. Pure.

/// Memory of the machine, in bytes.
#[must_use]
pub fn total(meminfo: &str) -> Option<i64> {
    field(meminfo, "MemTotal:")
}

/// Swap of the machine, in bytes; zero where there is none.
#[must_use]
pub fn swap(meminfo: &str) -> i64 {
    field(meminfo, "SwapTotal:").unwrap_or(0)
}

fn field(meminfo: &str, name: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024).filter(|bytes| *bytes >= 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
        assert_eq!(total("nothing"), None);
        assert_eq!(total("MemTotal: many kB"), None);
        assert_eq!(total("MemTotal: 9223372036854775807 kB"), None);
    }

    #[test]
    fn swap_is_zero_where_it_is_not_told() {
        assert_eq!(swap("MemTotal: 1 kB\nSwapTotal:       4 kB\n"), 4_096);
        assert_eq!(swap("MemTotal: 1 kB"), 0);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,64}", number in any::<i128>()) {
            let _ = total(&text);
            let _ = total(&format!("MemTotal: {number} kB"));
        }
    }
}
