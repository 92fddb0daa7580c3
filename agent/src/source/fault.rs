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

    /// The fault as a problem of `file`.
    #[must_use]
    pub fn into_problem(self, file: &Path) -> Problem {
        Problem { file: file.to_owned(), field: self.field, reason: self.reason }
    }
}
