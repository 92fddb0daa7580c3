//! Reads the node's `resolv.conf`. Pure.

use pinnace_cri::v1::DnsConfig;

/// Longest file that is read, in bytes.
pub const MOST: u64 = 10 << 20;

/// Servers add up; of search domains and of options the last line counts. What is no such line is passed over.
#[must_use]
pub fn parse(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next();
        let rest = words.map(str::to_owned);
        match first {
            Some("nameserver") => config.servers.extend(rest.take(1)),
            Some("search") => config.searches = rest.map(|domain| without_dot(&domain)).collect(),
            Some("options") => config.options = rest.collect(),
            _ => {}
        }
    }
    config
}

/// With and without a dot at the end is one domain; the root stays itself.
fn without_dot(domain: &str) -> String {
    match domain.strip_suffix('.') {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => domain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn servers_add_up_and_the_last_of_other_lines_counts() {
        let text = "# search no\n; nameserver 9\n nameserver 1.2.3.4 x\nnameserver ::1\nnameserver\nsearch a b\n\
            domain d\nsearch c. d .\noptions ndots:1\noptions rotate timeout:2\nsearched e\n";
        let config = parse(text);
        assert_eq!(config.servers, ["1.2.3.4", "::1"]);
        assert_eq!(config.searches, ["c", "d", "."]);
        assert_eq!(config.options, ["rotate", "timeout:2"]);
        assert_eq!(parse(""), DnsConfig::default());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let config = parse(&text);
            prop_assert!(config.servers.len() <= text.lines().count());
        }
    }
}
