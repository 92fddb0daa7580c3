//! One thing that is wrong with a manifest, before it is known which file it is in.

use std::path::Path;

use super::desired::Problem;

/// A field, if one is at fault, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field, such as `spec.containers[0].ports[1].containerPort`.
    pub field: Option<String>,
    /// What is wrong, in a sentence without a full stop.
    pub reason: String,
}

impl Fault {
    /// A fault of the file as a whole.
    #[must_use]
    pub fn whole(reason: impl Into<String>) -> Self {
        Self { field: None, reason: reason.into() }
    }

    /// A fault of one field.
    #[must_use]
    pub fn at(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: Some(field.into()), reason: reason.into() }
    }

    /// The fault as a problem of `file`, short and on one line whatever the file's author wrote.
    #[must_use]
    pub fn into_problem(self, file: &Path) -> Problem {
        let field = self.field.map(|field| one_line(&field, MAX_FIELD));
        Problem { file: file.to_owned(), field, reason: one_line(&self.reason, MAX_REASON) }
    }
}

/// Most characters of a field's path: keys of maps, and names of unknown fields, can be of any length.
const MAX_FIELD: usize = 300;

/// Most characters of a reason: some repeat a value.
const MAX_REASON: usize = 500;

fn one_line(text: &str, most: usize) -> String {
    let shown = |character: char| {
        let control = character.is_control();
        (control.then(|| character.escape_default()).into_iter().flatten())
            .chain((!control).then_some(character))
            .collect::<Vec<_>>()
    };
    let mut line: String = text.chars().take(most).flat_map(shown).collect();
    if text.chars().nth(most).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_short_line() {
        let problem =
            Fault::at("a\nb".repeat(1_000), "x\u{1b}[31m".repeat(1_000)).into_problem(Path::new("f"));
        let line = problem.to_string();
        assert!(line.starts_with("f: a\\nba\\nb") && !line.contains(char::is_control), "{line}");
        assert!(line.chars().count() < 5_000);
        assert_eq!(Fault::whole("é is short").into_problem(Path::new("f")).to_string(), "f: é is short");
    }
}
