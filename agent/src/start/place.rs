//! What pods are held against before anybody has told of the node. Pure.

use std::sync::Arc;

use crate::config::effective::Config;
use crate::host::enforcement::Enforcement;
use crate::pod::admit::Place;
use crate::pod::security::sysctl::Allowlist;

/// By the configuration and the kernel.
pub(super) fn first(config: &Config, kernel: &Enforcement) -> Place {
    let mut sysctls = Allowlist::safe(kernel.kernel);
    for pattern in &config.allowed_unsafe_sysctls {
        // The configuration was checked; what is wrong with it all the same is not allowed.
        if let Err(reason) = sysctls.allow(pattern) {
            tracing::warn!(reason, "a sysctl cannot be allowed");
        }
    }
    Place {
        sysctls: Arc::new(sysctls),
        app_armor: kernel.app_armor,
        ..Place::bare(&config.node_name, config.max_pods)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_configuration_allows_pods_may_set() {
        let mut config = Config::defaults("n", Path::new("/r")).unwrap();
        let kernel =
            Enforcement { kernel: Some((4, 5)), app_armor: true, se_linux: false, throttling: Vec::new() };
        let refused = |config: &Config, name: &str| {
            let sysctls = json!([{ "name": name, "value": "1" }]);
            let spec = json!({ "containers": [], "securityContext": { "sysctls": sysctls } });
            first(config, &kernel).sysctls.refusal(&serde_json::from_value(spec).unwrap()).is_some()
        };
        assert!(refused(&config, "net.core.somaxconn"));
        config.allowed_unsafe_sysctls = vec!["net/core/*".to_owned(), "vm.swappiness".to_owned()];
        assert!(!refused(&config, "net.core.somaxconn"));
        assert!(!refused(&config, "net.ipv4.tcp_keepalive_time"));
        assert!(refused(&config, "net.ipv4.tcp_rmem"), "newer than the kernel");
        assert!(refused(&config, "vm.swappiness"), "not the pod's own");
        assert!(first(&config, &kernel).app_armor);
    }
}
