//! Decides whether text is a name of the several kinds that Kubernetes has.

/// Longest DNS label.
pub(super) const LABEL: usize = 63;
/// Longest DNS subdomain.
pub(super) const SUBDOMAIN: usize = 253;

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn length(text: &str, most: usize) -> Result<(), String> {
    if text.len() > most {
        Err(format!("has {} characters, expected at most {most}", text.len()))
    } else {
        Ok(())
    }
}

/// Starts and ends with a letter or digit, with only such characters and those of `inner` between.
fn bounded(text: &str, edge: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| edge(*byte));
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|byte| edge(*byte) || inner.contains(byte))
}

/// RFC 1123 label: `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, at most 63.
pub(crate) fn label(text: &str) -> Result<(), String> {
    length(text, LABEL)?;
    if bounded(text, lower_or_digit, b"-") {
        return Ok(());
    }
    Err(format!(
        "is {text:?}, expected lower case letters, digits and '-', with a letter or digit at either end"
    ))
}

/// RFC 1123 subdomain: labels of any length joined by dots, at most 253 in all.
pub(crate) fn subdomain(text: &str) -> Result<(), String> {
    length(text, SUBDOMAIN)?;
    if text.split('.').all(|part| bounded(part, lower_or_digit, b"-")) {
        return Ok(());
    }
    Err(format!(
        "is {text:?}, expected lower case letters, digits, '-' and '.', with a letter or digit at either end of each part"
    ))
}

/// A key of labels and annotations: `[prefix/]name`.
pub(crate) fn qualified(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if let Some(prefix) = prefix {
        subdomain(prefix).map_err(|reason| format!("its prefix {reason}"))?;
    }
    length(name, LABEL)?;
    if bounded(name, |byte| byte.is_ascii_alphanumeric(), b"-_.") {
        return Ok(());
    }
    Err("expected letters, digits, '-', '_' and '.', with a letter or digit at either end, after an optional prefix/"
        .to_owned())
}

/// The value of a label: empty, or like the name of a key.
pub(crate) fn label_value(text: &str) -> Result<(), String> {
    length(text, LABEL)?;
    if text.is_empty() || bounded(text, |byte| byte.is_ascii_alphanumeric(), b"-_.") {
        return Ok(());
    }
    Err(format!(
        "is {text:?}, expected letters, digits, '-', '_' and '.', with a letter or digit at either end"
    ))
}

/// The name of a port: at most 15 of `[a-z0-9-]`, one letter at least, no '-' at an end or twice in a row.
pub(super) fn port_name(text: &str) -> Result<(), String> {
    length(text, 15)?;
    let letter = text.bytes().any(|byte| byte.is_ascii_lowercase());
    if letter && bounded(text, lower_or_digit, b"-") && !text.contains("--") {
        return Ok(());
    }
    Err(format!("is {text:?}, expected lower case letters, digits and single '-', and one letter at least"))
}

/// The name of an environment variable: printable ASCII without '=' (relaxed rule, general since 1.34).
pub(super) fn variable(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is missing".to_owned());
    }
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
        return Ok(());
    }
    Err(format!("is {text:?}, expected printable ASCII characters without '='"))
}

/// A key of a ConfigMap or a Secret: at most 253 of `[-._a-zA-Z0-9]`, not `.` and no `..` at its start.
pub(super) fn key(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is missing".to_owned());
    }
    length(text, SUBDOMAIN)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.bytes().all(plain) && text != "." && !text.starts_with("..") {
        return Ok(());
    }
    Err(format!("is {text:?}, expected letters, digits, '-', '_' and '.', and not '.' or '..'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_kubernetes_has_them() {
        type Rule = fn(&str) -> Result<(), String>;
        let long = "a".repeat(64);
        let dotted = format!("{}.{}", "a".repeat(126), "b".repeat(127));
        let cases: [(Rule, &[&str], &[&str]); 7] = [
            (label, &["a", "0", "a-1", &long[1..]], &["", "-a", "a-", "A", "a.b", "a_b", "é", &long]),
            (subdomain, &["a", "a.b-c.0"], &["", ".a", "a.", "a..b", "a.-b", "A", "a/b", &dotted]),
            (
                qualified,
                &["a", "A_b.c-1", "x.io/a", "kubernetes.io/config.hash"],
                &["", "/a", "x.io/", "X.io/a", "a/b/c", "_a", &long],
            ),
            (label_value, &["", "A", "a_b.c"], &["-", "a ", "a/b", &long]),
            (port_name, &["http", "a-1", "1a"], &["", "1", "a--b", "-a", "HTTP", "sixteen-letters1"]),
            (key, &["a", ".a", "A_b-1.c", "a.."], &["", ".", "..", "..a", "a/b", "é", &dotted, "a b"]),
            (variable, &["A", "a.b-c", "1", " "], &["", "A=B", "é", "a\tb"]),
        ];
        for (index, (rule, good, bad)) in cases.into_iter().enumerate() {
            for text in good {
                assert_eq!(rule(text), Ok(()), "rule {index}: {text:?}");
            }
            for text in bad {
                assert!(rule(text).is_err(), "rule {index} accepts {text:?}");
            }
        }
    }
}
