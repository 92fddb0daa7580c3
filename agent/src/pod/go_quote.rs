//! Text in quotation marks as Go's `strconv.Quote` writes it, which downward API files are made of. Pure.

use std::fmt::Write;

/// `text` in double quotes: control characters and what is not printable escaped, everything else as it is.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for character in text.chars() {
        push(&mut out, character);
    }
    out.push('"');
    out
}

fn push(out: &mut String, character: char) {
    let code = u32::from(character);
    let short = match character {
        '"' | '\\' => character,
        '\x07' => 'a',
        '\x08' => 'b',
        '\x0c' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\x0b' => 'v',
        printable if is_printable(printable) => return out.push(printable),
        // Writing to a string cannot fail.
        _ => {
            let _ = match code {
                ..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                ..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            return;
        }
    };
    out.push('\\');
    out.push(short);
}

/// Letters, marks, numbers, punctuation, symbols and the plain space. The standard library knows, but tells only by
/// what it escapes; after another character it escapes nothing for being a mark.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return (' '..='~').contains(&character);
    }
    let mut text = String::from("a");
    text.push(character);
    text.escape_debug().nth(1) == Some(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quoted_as_go_quotes() {
        for (text, wanted) in [
            ("", r#""""#),
            ("plain ü € 語 😀", r#""plain ü € 語 😀""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\0\x1f\x7f", r#""\x00\x1f\x7f""#),
            ("\u{80}\u{a0}\u{ad}", r#""\u0080\u00a0\u00ad""#),
            ("e\u{301}\u{200b}\u{2028}\u{feff}", "\"e\u{301}\\u200b\\u2028\\ufeff\""),
            ("\u{e000}\u{10ffff}", r#""\ue000\U0010ffff""#),
            ("it's", r#""it's""#),
        ] {
            assert_eq!(quote(text), wanted, "{text:?}");
        }
    }

    proptest! {
        /// What is escaped by JSON's rules alone reads back as the same text.
        #[test]
        fn printable_ascii_reads_back(text in "[ -~\n\t\r]{0,40}") {
            prop_assert_eq!(serde_json::from_str::<String>(&quote(&text)).unwrap(), text);
        }

        #[test]
        fn one_line_whatever_the_text(text in any::<String>()) {
            let quoted = quote(&text);
            prop_assert!(quoted.chars().all(is_printable), "{quoted}");
        }
    }
}
