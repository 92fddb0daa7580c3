//! `$(NAME)` in commands, arguments and values of variables. Pure.
//!
//! The rules are those of `third_party/forked/golang/expansion` of the kubelet: `$(NAME)` becomes the value of a
//! variable that there is, one that there is not stays as it is, and `$$` is a plain `$`. Unlike there, bytes that are
//! no ASCII are never changed.

/// Expands `text`; none if the result would be longer than `most` bytes.
pub fn expand<'a>(text: &[u8], lookup: impl Fn(&[u8]) -> Option<&'a [u8]>, most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    // What has no end once has none further on: looking again each time would take quadratic time.
    let mut may_close = true;
    while let Some((before, from)) = split_at_byte(rest, b'$') {
        out.extend_from_slice(before);
        rest = match from {
            [b'$', after @ ..] => {
                out.push(b'$');
                after
            }
            [b'(', after @ ..] => match may_close.then(|| split_at_byte(after, b')')).flatten() {
                Some((name, after)) => {
                    push_value(&mut out, name, lookup(name));
                    after
                }
                None => {
                    may_close = false;
                    out.extend_from_slice(b"$(");
                    after
                }
            },
            other => {
                out.push(b'$');
                other
            }
        };
        if out.len() > most {
            return None;
        }
    }
    out.extend_from_slice(rest);
    (out.len() <= most).then_some(out)
}

fn push_value(out: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => out.extend_from_slice(value),
        None => {
            out.extend_from_slice(b"$(");
            out.extend_from_slice(name);
            out.push(b')');
        }
    }
}

/// What is before and what is after the first such byte.
fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let (before, from) = text.split_at(text.iter().position(|found| *found == byte)?);
    Some((before, from.split_first()?.1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_LIMIT: usize = usize::MAX;

    fn lookup(name: &[u8]) -> Option<&'static [u8]> {
        match name {
            b"A" => Some(b"alpha"),
            b"EMPTY" => Some(b""),
            b"REF" => Some(b"$(A)"),
            b"" => Some(b"nameless"),
            b"BYTES" => Some(b"\xff\0"),
            _ => None,
        }
    }

    fn check(text: &[u8], wanted: &[u8]) {
        let found = expand(text, lookup, NO_LIMIT).unwrap();
        assert_eq!(found, wanted, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn expanded_as_the_kubelet_does() {
        let cases: [(&str, &str); 22] = [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "alpha"),
            ("x$(A)y$(A)z", "xalphayalphaz"),
            ("$(EMPTY)", ""),
            ("$(ABSENT)", "$(ABSENT)"),
            ("$(REF)", "$(A)"),
            ("$()", "nameless"),
            ("$$", "$"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$alpha"),
            ("$$$$(A)", "$$(A)"),
            ("$", "$"),
            ("a$", "a$"),
            ("$A", "$A"),
            ("$ (A)", "$ (A)"),
            ("$(A", "$(A"),
            ("$($$", "$($"),
            ("$($(A)", "$($(A)"),
            ("$($(A))", "$($(A))"),
            ("$(A))", "alpha)"),
            ("$é$(A)", "$éalpha"),
        ];
        for (text, wanted) in cases {
            check(text.as_bytes(), wanted.as_bytes());
        }
        check(b"\xfe$(BYTES)\xfd", b"\xfe\xff\0\xfd");
    }

    #[test]
    fn a68_what_has_no_end_takes_no_quadratic_time() {
        let text = b"$(".repeat(1 << 19);
        check(&text, &text);
    }

    #[test]
    fn what_would_be_too_long_is_refused() {
        assert_eq!(expand(b"$(A)$(A)", lookup, 9), None);
        assert_eq!(expand(b"$(A)$(A)", lookup, 10).map(|text| text.len()), Some(10));
        assert_eq!(expand(b"plain", lookup, 4), None);
    }

    /// The rules once more, one character after another, on what was read so far.
    fn model(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let tail = &text[at..];
            let close = tail.iter().position(|byte| *byte == b')');
            match (tail, close) {
                ([b'$', b'$', ..], _) => {
                    out.push(b'$');
                    at += 2;
                }
                ([b'$', b'(', ..], Some(close)) => {
                    let whole = &tail[..=close];
                    out.extend(lookup(&whole[2..close]).unwrap_or(whole));
                    at += close + 1;
                }
                ([b'$', b'(', ..], None) => {
                    out.extend(b"$(");
                    at += 2;
                }
                _ => {
                    out.push(text[at]);
                    at += 1;
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_text_as_the_model(text in r"[A$()\\é]{0,24}|(\$\(|A|\)|\$|REF){0,12}") {
            let text = text.into_bytes();
            prop_assert_eq!(expand(&text, lookup, NO_LIMIT).unwrap(), model(&text));
        }

        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..64), most in 0..80_usize) {
            let found = expand(&text, lookup, most);
            prop_assert!(found.is_none_or(|found| found.len() <= most));
        }

        #[test]
        fn doubling_each_dollar_keeps_any_text(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let doubled: Vec<u8> = text
                .iter()
                .flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b'$' { 2 } else { 1 }))
                .collect();
            prop_assert_eq!(expand(&doubled, lookup, NO_LIMIT).unwrap(), text);
        }
    }
}
