//! Judges the way to the API server. Pure: whoever calls reads the kubeconfig.

use super::{error, ok, warning};
use crate::api::kubeconfig::{LoadError, Loaded};
use crate::chain::Chain;
use crate::view::CheckView;

/// Whether the kubeconfig can be used. Static pods run without one.
#[must_use]
pub fn kubeconfig(loaded: &Result<Loaded, LoadError>) -> CheckView {
    match loaded {
        Ok(Loaded { warning: Some(doubt), .. }) => {
            warning("kubeconfig", doubt.clone(), "give it a certificate that is valid, or set the clock")
        }
        Ok(loaded) => ok("kubeconfig", format!("leads to {}", loaded.server)),
        Err(reason) => error(
            "kubeconfig",
            Chain(reason).to_string(),
            "correct the file; a running agent takes it up within seconds, without a restart",
        ),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::kubeconfig::load;
    use crate::view::CheckLevel;

    #[tokio::test]
    async fn one_that_cannot_be_used_is_an_error_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        std::fs::write(&file, "apiVersion: v1\nkind: Config\n").unwrap();
        let finding = kubeconfig(&load(&file, Timestamp::UNIX_EPOCH).await);
        assert_eq!(finding.level, CheckLevel::Error);
        assert!(finding.found.contains("current-context: is missing"), "{finding:?}");
    }
}
