//! Addresses that credentials are kept under, and what they cover. Pure.
//!
//! Rules as in `pkg/credentialprovider/keyring.go`. Stricter in one thing: text that is not plainly a host, such as one
//! with a user or an escape in it, is no address, so that nobody can read it as another host than this file does.

use std::fmt;

/// A host, perhaps a port, perhaps a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    /// Digits; empty for none.
    port: String,
    /// Empty, or begins with a slash.
    path: String,
}

impl Address {
    /// The address that a credential is kept under. A scheme says nothing, and neither does the version of the
    /// registry's API at the beginning of the path.
    #[must_use]
    pub fn of_key(written: &str) -> Option<Self> {
        let bare = written.strip_prefix("https://").or_else(|| written.strip_prefix("http://"));
        let address = Self::parse(bare.unwrap_or(written))?;
        let versioned = ["/v1/", "/v2/"].iter().any(|version| address.path.starts_with(version));
        let path = if versioned { address.path.get(3..).unwrap_or_default() } else { &address.path };
        let path = if path == "/" { "" } else { path };
        Some(Self { path: path.to_owned(), ..address })
    }

    /// The address of an image or of a pattern for images, without a scheme.
    #[must_use]
    pub fn of_image(written: &str) -> Option<Self> {
        Self::parse(written)
    }

    fn parse(text: &str) -> Option<Self> {
        let end = text.find(['/', '?', '#']).unwrap_or(text.len());
        let (authority, rest) = text.split_at_checked(end)?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, port) = split_port(authority)?;
        let clean = !path.bytes().any(|byte| byte.is_ascii_control() || byte == b' ');
        clean.then(|| Self { host: host.to_owned(), port: port.to_owned(), path: path.to_owned() })
    }

    /// The host without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether what is kept under this address, in which `*` stands for any part of one label of the host, may be
    /// used for that one.
    #[must_use]
    pub fn covers(&self, target: &Self) -> bool {
        let (ours, theirs) = (self.host.split('.'), target.host.split('.'));
        self.port == target.port
            && ours.clone().count() == theirs.clone().count()
            && target.path.starts_with(&self.path)
            && ours.zip(theirs).all(|(pattern, label)| matches(pattern, label))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.port.is_empty() { "" } else { ":" };
        write!(out, "{}{colon}{}{}", self.host, self.port, self.path)
    }
}

fn split_port(authority: &str) -> Option<(&str, &str)> {
    let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if authority.starts_with('[') {
        let end = authority.find(']')?.checked_add(1)?;
        let (host, port) = authority.split_at_checked(end)?;
        let inner = host.strip_prefix('[')?.strip_suffix(']')?;
        let good =
            !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
        let port = if port.is_empty() { port } else { port.strip_prefix(':')? };
        return (good && is_number(port)).then_some((host, port));
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_plain) && is_number(port)).then_some((host, port))
}

/// Whether a label fits a pattern in which `*` stands for any text, also none.
fn matches(pattern: &str, label: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| label.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at.saturating_add(part.len())..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_part_of_a_label() {
        let fits = [("*", ""), ("*", "a"), ("a*", "ab"), ("*b", "ab"), ("a*c", "abc"), ("a*b*c", "aXbYc")];
        for (pattern, label) in fits {
            assert!(matches(pattern, label), "{pattern} {label}");
        }
        for (pattern, label) in [("a", "b"), ("a*", "b"), ("a*a", "a"), ("a*b*c", "ac"), ("", "a")] {
            assert!(!matches(pattern, label), "{pattern} {label}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_the_same(host in "[a-z*]{1,4}(\\.[a-z*]{1,3}){0,2}", port in "(:[0-9]{1,4})?", path in "(/[a-z]{1,3}){0,2}") {
            let address = Address::of_image(&format!("{host}{port}{path}")).unwrap();
            let again = Address::of_image(&address.to_string());
            prop_assert_eq!(again.as_ref(), Some(&address));
            let plain = Address::of_image(&format!("{}{port}{path}", host.replace('*', "x"))).unwrap();
            prop_assert!(address.covers(&plain));
        }
    }
}
