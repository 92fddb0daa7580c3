//! The certificates of a bundle as a volume shows them. Pure.

use std::collections::BTreeSet;

/// What opens and closes a certificate (RFC 7468).
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of a text, each once, and nothing else of it; or why there is none to be had. Their order is that of
/// the text, which nobody may rely on.
pub(super) fn certificates(text: &str) -> Result<String, String> {
    let (mut seen, mut all) = (BTreeSet::new(), String::new());
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let Some((body, after)) = after.split_once(END) else {
            return Err("its text ends within a certificate".to_owned());
        };
        rest = after;
        let body: String = body.split_whitespace().collect();
        let coded = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        if body.is_empty() || !body.bytes().all(coded) {
            return Err("it holds something that is no certificate".to_owned());
        }
        if seen.insert(body.clone()) {
            all.push_str(BEGIN);
            all.push('\n');
            // Lines of 64 characters; all of them are ASCII.
            for (index, character) in body.chars().enumerate() {
                if index > 0 && index % 64 == 0 {
                    all.push('\n');
                }
                all.push(character);
            }
            all.push('\n');
            all.push_str(END);
            all.push('\n');
        }
    }
    if all.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_once_and_nothing_else() {
        let one = format!("{BEGIN}\n{}\nQQ==\n{END}\n", "A".repeat(64));
        let other = format!("{BEGIN}\nQg==\n{END}\n");
        let text = format!("a comment\n{one}\nSubject: x\n{other}{one}");
        assert_eq!(certificates(&text).unwrap(), format!("{one}{other}"));
        for bad in ["", "x", BEGIN, &format!("{BEGIN}\n{END}"), &format!("{BEGIN}\nProc-Type: 4\n{END}")] {
            assert!(certificates(bad).is_err(), "{bad}");
        }
    }
}
