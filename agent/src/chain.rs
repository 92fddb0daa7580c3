//! An error with everything behind it, printed once, at the place where it is logged or shown.

use std::error::Error;
use std::fmt;

/// Displays an error and its sources, joined by `: `.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(out, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_each_error_of_the_chain_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("failed to open the door")]
        struct Door(#[source] std::fmt::Error);
        let shown = Chain(&Door(std::fmt::Error)).to_string();
        assert_eq!(shown, format!("failed to open the door: {}", std::fmt::Error));
    }
}
