//! Variables from files that a container of the same pod has written: which files a container wants, and what a key is
//! in one. Pure; the files are read by `gather`.
//!
//! The form is the part of a shell's that needs no shell (feature EnvFiles of upstream, on from 1.35): lines `KEY='VALUE'`
//! without a space around the `=`. The value ends at the next quote, be it lines later, and stands for itself.
//! Behind it, and on lines of their own, there may be comments.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, FileKeySelector};

use super::EnvError;

/// A file: the name of its volume, and its path in it.
pub type File = (String, String);

/// What became of the files that a container wants: there, not there, or not to be had, with the reason.
pub type Files = BTreeMap<File, Result<Option<Vec<u8>>, String>>;

/// What is wrong with a file. Nothing of its text is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A line is none of the form.
    #[error("invalid environment variable format at line {0}")]
    Line(usize),
    /// The name is not followed by `=`.
    #[error("whitespace before '=' is not allowed at line {0}")]
    Space(usize),
    /// The value does not begin with a quote.
    #[error("value must be enclosed in single quotes at line {0}")]
    Unquoted(usize),
    /// The value that begins there does not end.
    #[error("unclosed single quote at line {0}")]
    Unclosed(usize),
    /// There is more than a comment behind the value.
    #[error("unexpected content after closing quote at line {0}")]
    Content(usize),
}

/// The files that the variables of a container are in.
#[must_use]
pub fn wanted(container: &Container) -> BTreeSet<File> {
    let unset = container.env.iter().flatten();
    let unset = unset.filter(|variable| variable.value.as_ref().is_none_or(String::is_empty));
    unset.filter_map(|variable| variable.value_from.as_ref()?.file_key_ref.as_ref()).map(file).collect()
}

fn file(selector: &FileKeySelector) -> File {
    (selector.volume_name.clone(), selector.path.clone())
}

/// The value of a key; none if there is none and need not be. An empty value counts as none, as upstream has it.
pub(super) fn of_key(selector: &FileKeySelector, files: &Files) -> Result<Option<Vec<u8>>, EnvError> {
    let FileKeySelector { key, optional, path, volume_name } = selector;
    let refused = |why: String| Err(EnvError::File(why));
    let text = match files.get(&file(selector)) {
        Some(Ok(text)) => text.as_deref(),
        Some(Err(why)) => return refused(why.clone()),
        None => return refused(no_volume(volume_name)),
    };
    let value = match text.map(|text| value(text, key)).transpose() {
        Ok(value) => value.flatten().filter(|value| !value.is_empty()),
        Err(why) => {
            return refused(format!("couldn't parse env file: {path:?} of volume {volume_name:?}: {why}"));
        }
    };
    match (value, text) {
        (Some(value), _) => Ok(Some(value.to_vec())),
        (None, _) if optional.unwrap_or(false) => Ok(None),
        (None, Some(_)) => refused(format!(
            "environment variable key {key:?} not found in file {path:?} of volume {volume_name:?}"
        )),
        (None, None) => {
            refused(format!("couldn't parse env file: {path:?} of volume {volume_name:?} does not exist"))
        }
    }
}

/// In the kubelet's words.
pub(super) fn no_volume(name: &str) -> String {
    format!("cannot find the volume {name:?} referenced by FileKeyRef")
}

/// The value that a key has in a text; of several the last, as a shell takes it.
fn value<'a>(text: &'a [u8], key: &str) -> Result<Option<&'a [u8]>, FormError> {
    let (mut rest, mut line, mut found) = (text, 1_usize, None);
    loop {
        rest = rest.after_spaces();
        match rest.split_first() {
            None => return Ok(found),
            Some((b'\n', after)) => {
                rest = after;
                line = line.saturating_add(1);
            }
            Some((b'#', _)) => rest = rest.at_line_end(),
            Some(_) => {
                let one = variable(rest, line)?;
                if one.name == key.as_bytes() {
                    found = Some(one.value);
                }
                line = line.saturating_add(one.value.iter().filter(|byte| **byte == b'\n').count());
                rest = one.rest;
            }
        }
    }
}

struct Variable<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// From the end of its last line on.
    rest: &'a [u8],
}

/// The variable that a text begins with.
fn variable(text: &[u8], line: usize) -> Result<Variable<'_>, FormError> {
    let end = text.iter().position(|byte| matches!(byte, b'=' | b'\n'));
    let split = end.and_then(|end| text.split_at_checked(end));
    let Some((name, [b'=', after @ ..])) = split else { return Err(FormError::Line(line)) };
    if name.last().is_some_and(u8::is_ascii_whitespace) {
        return Err(FormError::Space(line));
    }
    if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
        return Err(FormError::Line(line));
    }
    let [b'\'', after @ ..] = after else { return Err(FormError::Unquoted(line)) };
    let quote = after.iter().position(|byte| *byte == b'\'');
    let split = quote.and_then(|quote| after.split_at_checked(quote));
    let Some((value, [_, after @ ..])) = split else { return Err(FormError::Unclosed(line)) };
    let rest = after.at_line_end();
    let behind = after.strip_suffix(rest).unwrap_or(after);
    let comment = behind.after_spaces();
    // What touches the quote would be part of the value to a shell.
    let is_comment = comment.first() == Some(&b'#') && comment.len() < behind.len();
    if !comment.is_empty() && !is_comment {
        let below = value.iter().filter(|byte| **byte == b'\n').count();
        return Err(FormError::Content(line.saturating_add(below)));
    }
    Ok(Variable { name, value, rest })
}

/// Ways through lines of bytes.
trait Lines {
    /// Without the spaces that it begins with, within the line.
    fn after_spaces(&self) -> &Self;
    /// From the end of the first line on.
    fn at_line_end(&self) -> &Self;
}

impl Lines for [u8] {
    fn after_spaces(&self) -> &Self {
        let start = self.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        start.and_then(|start| self.get(start..)).unwrap_or_default()
    }

    fn at_line_end(&self) -> &Self {
        let end = self.iter().position(|byte| *byte == b'\n');
        end.and_then(|end| self.get(end..)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str, key: &str) -> Result<Option<String>, String> {
        let found = value(text.as_bytes(), key).map_err(|error| error.to_string())?;
        Ok(found.map(|value| String::from_utf8(value.to_vec()).unwrap()))
    }

    #[test]
    fn values_are_what_stands_between_quotes() {
        let cases = [
            ("   A='1'\n\t\tB='2'\nC='3'\n", "B", Some("2")),
            ("# A='0'\n\nA='1'\n   # more\n \t\nB='2'", "B", Some("2")),
            ("A='a#b' # c\n", "A", Some("a#b")),
            ("A='  a  '\t \n", "A", Some("  a  ")),
            ("A='a=b=c'", "A", Some("a=b=c")),
            ("A='$B ${B} \"x\" \\n'", "A", Some("$B ${B} \"x\" \\n")),
            ("A='1\n\n # 2\n'\nB='3'", "A", Some("1\n\n # 2\n")),
            ("A='1\n\n # 2\n'\nB='3'", "B", Some("3")),
            ("A='ä🌍'\r\nB='2'\r\n", "A", Some("ä🌍")),
            ("A='ä🌍'\r\nB='2'\r\n", "B", Some("2")),
            ("A='1'\nA='2'\n", "A", Some("2")),
            ("A=''", "A", Some("")),
            ("A='1'", "a", None),
            ("", "A", None),
        ];
        for (text, key, expected) in cases {
            assert_eq!(found(text, key), Ok(expected.map(str::to_owned)), "{text:?}");
        }
    }

    #[test]
    fn what_a_shell_would_have_to_think_about_is_refused_with_its_line() {
        let cases = [
            ("A='1'\nB\nC='2'", "invalid environment variable format at line 2"),
            ("='1'", "invalid environment variable format at line 1"),
            ("export A='1'", "invalid environment variable format at line 1"),
            ("A ='1'", "whitespace before '=' is not allowed at line 1"),
            ("A= '1'", "value must be enclosed in single quotes at line 1"),
            ("A='1'\nB=2", "value must be enclosed in single quotes at line 2"),
            ("A=\"1\"", "value must be enclosed in single quotes at line 1"),
            ("A='1''2'", "unexpected content after closing quote at line 1"),
            ("A='1'2", "unexpected content after closing quote at line 1"),
            ("A='1'#2", "unexpected content after closing quote at line 1"),
            ("A='1\nB='2'", "unexpected content after closing quote at line 2"),
            ("\nA='1", "unclosed single quote at line 2"),
        ];
        for (text, expected) in cases {
            assert_eq!(found(text, "A"), Err(expected.to_owned()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            pairs in prop::collection::btree_map("[A-Z_.-]{1,3}", "[^'\0]{0,9}", 0..6),
            space in "[ \t]{0,2}",
        ) {
            let comment = if space.is_empty() { "" } else { "# a ' quote" };
            let line = |(key, value): (&String, &String)| format!("{space}{key}='{value}'{space}{comment}\n");
            let text: String = pairs.iter().map(line).collect();
            for (key, value) in &pairs {
                prop_assert_eq!(found(&text, key), Ok(Some(value.clone())));
            }
            prop_assert_eq!(found(&text, "absent"), Ok(None));
        }

        #[test]
        fn no_text_is_too_odd(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let _whatever = value(&text, "A");
        }
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_may_be() {
        let selector = |key: &str, path: &str, optional: bool| FileKeySelector {
            key: key.into(),
            optional: Some(optional),
            path: path.into(),
            volume_name: "v".into(),
        };
        let file = |path: &str| ("v".to_owned(), path.to_owned());
        let files: Files = [
            (file("f"), Ok(Some(b"A='1'\nE=''".to_vec()))),
            (file("bad"), Ok(Some(b"A=c4nary".to_vec()))),
            (file("gone"), Ok(None)),
            (file("broken"), Err("failed to read it".to_owned())),
        ]
        .into();
        let of = |key: &str, path: &str, optional: bool| {
            of_key(&selector(key, path, optional), &files).map_err(|error| error.to_string())
        };
        for optional in [false, true] {
            assert_eq!(of("A", "f", optional), Ok(Some(b"1".to_vec())));
            let bad = of("A", "bad", optional).unwrap_err();
            assert!(bad.starts_with("couldn't parse env file: ") && !bad.contains("c4nary"), "{bad}");
            assert_eq!(of("A", "broken", optional).unwrap_err(), "failed to read it");
            assert_eq!(
                of("A", "other", optional).unwrap_err(),
                "cannot find the volume \"v\" referenced by FileKeyRef"
            );
        }
        for (key, path) in [("B", "f"), ("E", "f"), ("A", "gone")] {
            assert_eq!(of(key, path, true), Ok(None));
            assert!(of(key, path, false).is_err());
        }
        assert_eq!(
            of("B", "f", false).unwrap_err(),
            "environment variable key \"B\" not found in file \"f\" of volume \"v\""
        );
    }
}
