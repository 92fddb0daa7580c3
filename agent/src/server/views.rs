//! What the servers ask of the agent: one small trait, read-only, answered from memory.

use std::path::PathBuf;

use crate::view::{ContainerView, EventView, ExplainView, PodView};

/// The agent as people and scripts see it. Every call answers from memory, without waiting.
pub trait Views: Send + Sync + 'static {
    /// Every pod that is wanted or running.
    fn pods(&self) -> Vec<PodView>;
    /// Every container of those pods.
    fn containers(&self) -> Vec<ContainerView>;
    /// What one pod is doing; `pod` as [`super::lookup::find`] takes it.
    fn explain(&self, pod: &str) -> Result<ExplainView, LookupError>;
    /// The latest events, in any order.
    fn events(&self) -> Vec<EventView>;
    /// Whether the agent does its work; the error says what does not.
    fn health(&self) -> Result<(), String>;
    /// Manifests and parts of them that cannot be used, one line each.
    fn problems(&self) -> Vec<String>;
    /// The log file of a container: of its newest instance, or of the one before. The container may be left
    /// out if the pod has only one.
    fn log_path(&self, pod: &str, container: Option<&str>, previous: bool) -> Result<PathBuf, LookupError>;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Nothing has that name; the text says what was looked for.
    #[error("{0}")]
    NotFound(String),
    /// Several have it: their full names, any of which may be asked for.
    #[error("more than one matches, say which: {}", .0.join(", "))]
    Ambiguous(Vec<String>),
}
