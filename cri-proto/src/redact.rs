//! `Debug` for the wire messages that can carry a secret: shape and lengths, never content.

use std::fmt;

use crate::v1::{AuthConfig, ExecSyncResponse, KeyValue};

impl fmt::Debug for AuthConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AuthConfig").field("server_address", &self.server_address).finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyValue").field("key", &self.key).field("value_bytes", &self.value.len()).finish()
    }
}

impl fmt::Debug for ExecSyncResponse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ExecSyncResponse")
            .field("exit_code", &self.exit_code)
            .field("stdout_bytes", &self.stdout.len())
            .field("stderr_bytes", &self.stderr.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{ContainerConfig, PullImageRequest};

    #[test]
    fn secrets_do_not_reach_debug_output() {
        let secret = "s3cr3t-value";
        let pull = PullImageRequest {
            auth: Some(AuthConfig {
                username: secret.into(),
                password: secret.into(),
                auth: secret.into(),
                server_address: "registry.example".into(),
                identity_token: secret.into(),
                registry_token: secret.into(),
            }),
            ..Default::default()
        };
        let config = ContainerConfig {
            envs: vec![KeyValue { key: "TOKEN".into(), value: secret.as_bytes().to_vec() }],
            ..Default::default()
        };
        let answer = ExecSyncResponse { stdout: secret.into(), stderr: secret.into(), exit_code: 3 };
        let shown = format!("{pull:?} {config:?} {answer:?} {answer:#?}");
        assert!(!shown.contains(secret), "{shown}");
        let as_numbers = format!("{:?}", secret.as_bytes());
        assert!(!shown.contains(&as_numbers[1..as_numbers.len() - 1]), "{shown}");
        assert!(shown.contains("TOKEN") && shown.contains("registry.example"), "{shown}");
    }
}
