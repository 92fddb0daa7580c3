//! What the configuration says of image pulls. Pure.

use std::path::{Path, PathBuf};

use super::file::KubeletConfiguration;
use super::flags::RunFlags;
use crate::image::plugin::attributes::GATE as TOKENS_GATE;
use crate::image::records::policy::Policy;

/// The gate of KEP-2535; on unless it is switched off.
const GATE: &str = "KubeletEnsureSecretPulledImages";
/// Pulls per second, and at once beyond that (`pkg/kubelet/apis/config/v1beta1/defaults.go`).
const DEFAULT_RATE: (u32, u32) = (5, 10);

/// How images are pulled, beside how many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePulls {
    /// For which images that are there a pod must show its credentials.
    pub policy: Policy,
    /// Pulls that may begin in a second; 0 is no limit.
    pub per_second: u32,
    /// Pulls above that at once; at least 1.
    pub burst: u32,
    /// Programs that know credentials: their configuration and their directory, absolute.
    pub providers: Option<(PathBuf, PathBuf)>,
    /// Whether these may be given tokens of service accounts.
    pub provider_tokens: bool,
}

/// Reads what concerns image pulls; faults are named by field or flag.
pub(super) fn settle(
    flags: &RunFlags,
    file: &KubeletConfiguration,
    directory: &Path,
    faults: &mut Vec<(&'static str, String)>,
) -> ImagePulls {
    let number = |given: Option<i32>, default| given.map_or(default, |n| u32::try_from(n).unwrap_or(0));
    let burst = number(file.registry_burst.filter(|burst| *burst != 0), DEFAULT_RATE.1);
    ImagePulls {
        policy: policy(file, faults),
        per_second: number(file.registry_pull_qps, DEFAULT_RATE.0),
        burst: burst.max(1),
        providers: providers(flags, directory, faults),
        provider_tokens: !is_off(file, TOKENS_GATE),
    }
}

fn is_off(file: &KubeletConfiguration, gate: &str) -> bool {
    file.feature_gates.as_ref().and_then(|gates| gates.get(gate)) == Some(&false)
}

fn policy(file: &KubeletConfiguration, faults: &mut Vec<(&'static str, String)>) -> Policy {
    let word = file.image_pull_credentials_verification_policy.as_deref().unwrap_or_default();
    let allowlist = file.preloaded_images_verification_allowlist.as_deref().unwrap_or_default();
    if is_off(file, GATE) {
        let needs = || format!("needs the feature gate {GATE}");
        if !word.is_empty() {
            faults.push(("imagePullCredentialsVerificationPolicy", needs()));
        }
        if !allowlist.is_empty() {
            faults.push(("preloadedImagesVerificationAllowlist", needs()));
        }
        return Policy::Off;
    }
    Policy::parse(word, allowlist).unwrap_or_else(|error| {
        let field = if allowlist.is_empty() {
            "imagePullCredentialsVerificationPolicy"
        } else {
            "preloadedImagesVerificationAllowlist"
        };
        faults.push((field, error.to_string()));
        Policy::Always
    })
}

/// Both flags or none, as in the kubelet.
fn providers(
    flags: &RunFlags,
    directory: &Path,
    faults: &mut Vec<(&'static str, String)>,
) -> Option<(PathBuf, PathBuf)> {
    let given = |path: &Option<PathBuf>| {
        path.as_ref().filter(|path| !path.as_os_str().is_empty()).map(|path| directory.join(path))
    };
    match (given(&flags.image_credential_provider_config), given(&flags.image_credential_provider_bin_dir)) {
        (Some(config), Some(programs)) => Some((config, programs)),
        (None, None) => None,
        (Some(_), None) => {
            let needs = "needs --image-credential-provider-bin-dir".to_owned();
            faults.push(("--image-credential-provider-config", needs));
            None
        }
        (None, Some(_)) => {
            let needs = "needs --image-credential-provider-config".to_owned();
            faults.push(("--image-credential-provider-bin-dir", needs));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settled(file: serde_json::Value) -> (ImagePulls, Vec<(&'static str, String)>) {
        let (flags, mut faults) = (RunFlags::for_root(Path::new("/r")), Vec::new());
        let file = serde_json::from_value(file).unwrap();
        let pulls = settle(&flags, &file, Path::new("/"), &mut faults);
        (pulls, faults)
    }

    #[test]
    fn defaults_are_the_kubelets_and_zero_is_no_limit() {
        let (pulls, faults) = settled(json!({}));
        assert_eq!((pulls.per_second, pulls.burst, pulls.policy), (5, 10, Policy::Pulled));
        assert!(pulls.providers.is_none() && faults.is_empty());
        assert_eq!(settled(json!({"registryPullQPS": 0})).0.per_second, 0);
        assert_eq!(settled(json!({"featureGates": {GATE: false}})).0.policy, Policy::Off);
        assert!(pulls.provider_tokens);
        assert!(!settled(json!({"featureGates": {TOKENS_GATE: false}})).0.provider_tokens);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (file, field) in [
            (
                json!({"imagePullCredentialsVerificationPolicy": "x"}),
                "imagePullCredentialsVerificationPolicy",
            ),
            (json!({"preloadedImagesVerificationAllowlist": ["a"]}), "preloadedImagesVerificationAllowlist"),
            (
                json!({"featureGates": {GATE: false}, "imagePullCredentialsVerificationPolicy": "AlwaysVerify"}),
                "imagePullCredentialsVerificationPolicy",
            ),
        ] {
            let (_, faults) = settled(file);
            assert_eq!(faults.first().map(|(field, _)| *field), Some(field));
        }
        let mut flags = RunFlags::for_root(Path::new("/r"));
        flags.image_credential_provider_config = Some("c".into());
        let mut faults = Vec::new();
        settle(&flags, &KubeletConfiguration::default(), Path::new("/d"), &mut faults);
        assert_eq!(faults.len(), 1);
        flags.image_credential_provider_bin_dir = Some("b".into());
        let pulls = settle(&flags, &KubeletConfiguration::default(), Path::new("/d"), &mut Vec::new());
        assert_eq!(pulls.providers, Some(("/d/c".into(), "/d/b".into())));
    }
}
