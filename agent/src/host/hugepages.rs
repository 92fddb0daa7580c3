//! Reads the huge pages that the machine sets aside. Pure.

/// Page size in bytes from the name of a directory below `/sys/kernel/mm/hugepages`, such as `hugepages-2048kB`.
#[must_use]
pub fn page_size(directory: &str) -> Option<i64> {
    let kibibytes: i64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    kibibytes.checked_mul(1024).filter(|bytes| *bytes > 0)
}

/// Bytes set aside: what `nr_hugepages` says times the page size.
#[must_use]
pub fn total(page_size: i64, nr_hugepages: &str) -> Option<i64> {
    let pages: i64 = nr_hugepages.trim().parse().ok()?;
    pages.checked_mul(page_size).filter(|bytes| *bytes >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_totals_are_read() {
        assert_eq!(page_size("hugepages-2048kB"), Some(2 << 20));
        assert_eq!(page_size("hugepages-1048576kB"), Some(1 << 30));
        assert_eq!(page_size("hugepages-0kB"), None);
        assert_eq!(page_size("other"), None);
        assert_eq!(total(2 << 20, "3\n"), Some(6 << 20));
        assert_eq!(total(2 << 20, "9223372036854775807"), None);
        assert_eq!(total(2 << 20, "-1"), None);
    }
}
