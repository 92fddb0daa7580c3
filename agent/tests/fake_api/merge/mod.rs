//! Patches: values in, values out.

mod directives;
mod json;
mod schema;
mod strategic;
#[cfg(test)]
mod tests;

pub use json::merge as json_merge;
pub use strategic::merge as strategic_merge;
