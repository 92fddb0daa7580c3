//! Text from elsewhere, made fit for one line of bounded length. Pure.

/// `text` without control characters, cut at a character boundary so that it has at most `max_bytes` bytes; what
/// was cut shows as `…`.
#[must_use]
pub fn excerpt(text: &str, max_bytes: usize) -> String {
    const CUT: char = '…';
    let mut out = String::with_capacity(text.len().min(max_bytes));
    let clean = |c: char| if c.is_control() || is_direction(c) { ' ' } else { c };
    for c in text.trim().chars().map(clean) {
        if out.len().saturating_add(c.len_utf8()) > max_bytes {
            while out.len().saturating_add(CUT.len_utf8()) > max_bytes && out.pop().is_some() {}
            if max_bytes >= CUT.len_utf8() {
                out.push(CUT);
            }
            return out;
        }
        out.push(c);
    }
    out
}

/// Characters that make a terminal show a line in another order than it has.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fits_stays_and_what_is_cut_shows() {
        assert_eq!(excerpt(" as it is\n", 20), "as it is");
        assert_eq!(excerpt("line\nline\u{1b}[31m", 20), "line line [31m");
        assert_eq!(excerpt("äöüäöü", 8), "äö…");
        assert_eq!(excerpt("abc", 2), "");
    }

    proptest! {
        #[test]
        fn bounded_clean_and_a_prefix(text in any::<String>(), max in 0..40_usize) {
            let short = excerpt(&text, max);
            prop_assert!(short.len() <= max);
            prop_assert!(!short.chars().any(char::is_control));
            if text.len() <= max {
                prop_assert!(!short.ends_with('…') || text.trim().ends_with('…'));
            }
            let again = excerpt(&short, max);
            prop_assert_eq!(again.trim(), short.trim());
        }
    }
}
