//! Paths with a query for the admin socket. Pure.

use std::fmt::Write;

/// A path and its parameters, percent-encoded.
#[must_use]
pub fn path(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (index, (name, value)) in parameters.iter().enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        encode(name, &mut out);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

/// Everything but the unreserved characters of RFC 3986 is encoded.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_end_a_value_is_encoded() {
        assert_eq!(path("/v1/pods", &[]), "/v1/pods");
        assert_eq!(
            path("/v1/logs", &[("pod", "a/b-c.d~e_f"), ("tail", "5")]),
            "/v1/logs?pod=a%2Fb-c.d~e_f&tail=5"
        );
        assert_eq!(path("/x", &[("p", "a&b=c d\u{e9}+\n")]), "/x?p=a%26b%3Dc%20d%C3%A9%2B%0A");
    }
}
