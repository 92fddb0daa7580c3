//! Splits a line for the fake's shell into words and separators. Pure.

/// A piece of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word with its quotes removed.
    Word(String),
    /// `;`, `&` or a line end.
    Then,
    /// `&&`
    And,
    /// `||`
    Or,
}

impl Token {
    pub(super) fn is_word(&self) -> bool {
        matches!(self, Token::Word(_))
    }

    pub(super) fn word(&self) -> Option<String> {
        match self {
            Token::Word(word) => Some(word.clone()),
            _ => None,
        }
    }
}

/// The pieces of `line`. An unclosed quote runs to the end; a pipe is taken as `;`.
pub(super) fn tokens(line: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            // `>&2` is one word, not a separator.
            (None, '&') if word.as_ref().is_some_and(|word| word.ends_with('>')) => {
                word.get_or_insert_default().push('&');
            }
            (None, ';' | '&' | '|' | '\n') => {
                out.extend(word.take().map(Token::Word));
                let doubled = c != ';' && c != '\n' && chars.next_if_eq(&c).is_some();
                out.push(match (c, doubled) {
                    ('&', true) => Token::And,
                    ('|', true) => Token::Or,
                    _ => Token::Then,
                });
            }
            (None, c) if c.is_whitespace() => out.extend(word.take().map(Token::Word)),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word.map(Token::Word));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let piece = |token: Token| match token {
            Token::Word(word) => format!("[{word}]"),
            Token::Then => ";".to_owned(),
            Token::And => "&&".to_owned(),
            Token::Or => "||".to_owned(),
        };
        tokens(line).into_iter().map(piece).collect()
    }

    #[test]
    fn lines_are_split_as_a_shell_does() {
        for (line, pieces) in [
            ("echo a  b", "[echo][a][b]"),
            ("echo 'a b';exit 3", "[echo][a b];[exit][3]"),
            ("a && b||c", "[a]&&[b]||[c]"),
            (r#"echo "x\"y" >&2"#, r#"[echo][x"y][>&2]"#),
            ("trap '' TERM\nsleep 1", "[trap][][TERM];[sleep][1]"),
        ] {
            assert_eq!(shown(line), pieces, "{line}");
        }
    }
}
