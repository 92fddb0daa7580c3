//! Seccomp profiles. Pure; whether the file of a Localhost profile is there is looked up by the caller.

use std::path::{Component, Path};

use k8s_openapi::api::core::v1::SeccompProfile;
use pinnace_cri::v1::SecurityProfile;
use pinnace_cri::v1::security_profile::ProfileType;

use super::{Defaults, Refusal};

const FIELD: &str = "seccompProfile";

/// The runtime's own profile.
#[must_use]
pub fn runtime_default() -> SecurityProfile {
    of_type(ProfileType::RuntimeDefault)
}

fn of_type(kind: ProfileType) -> SecurityProfile {
    SecurityProfile { profile_type: kind.into(), localhost_ref: String::new() }
}

/// The profile of a container: its own, else its pod's, else the node's.
pub fn profile(
    container: Option<&SeccompProfile>,
    pod: Option<&SeccompProfile>,
    defaults: &Defaults,
) -> Result<SecurityProfile, Refusal> {
    let Some(chosen) = container.or(pod) else {
        let unasked =
            if defaults.seccomp_default { ProfileType::RuntimeDefault } else { ProfileType::Unconfined };
        return Ok(of_type(unasked));
    };
    match chosen.type_.as_str() {
        "RuntimeDefault" => Ok(runtime_default()),
        "Unconfined" => Ok(of_type(ProfileType::Unconfined)),
        "Localhost" => localhost(chosen.localhost_profile.as_deref().unwrap_or_default(), defaults),
        other => Err(Refusal::Unknown { field: "seccompProfile.type", value: other.to_owned() }),
    }
}

/// A file beneath the profiles' directory. With none named the runtime would confine nothing (CVE-2023-2431).
fn localhost(file: &str, defaults: &Defaults) -> Result<SecurityProfile, Refusal> {
    if file.is_empty() {
        return Err(Refusal::NoProfile { field: FIELD });
    }
    let bad = |reason| Refusal::BadProfile { field: FIELD, profile: file.to_owned(), reason };
    let inner = Path::new(file);
    if inner.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(bad("leads out of the directory of profiles"));
    }
    if file.contains('\0') || !inner.components().any(|part| matches!(part, Component::Normal(_))) {
        return Err(bad("names no file"));
    }
    let path = defaults.seccomp_root.join(inner);
    Ok(SecurityProfile {
        profile_type: ProfileType::Localhost.into(),
        localhost_ref: path.to_string_lossy().into_owned(),
    })
}

/// The file that must be there for this profile.
#[must_use]
pub fn file(profile: &SecurityProfile) -> Option<&Path> {
    (profile.profile_type() == ProfileType::Localhost).then(|| Path::new(&profile.localhost_ref))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(kind: &str, file: Option<&str>) -> SeccompProfile {
        SeccompProfile { type_: kind.to_owned(), localhost_profile: file.map(str::to_owned) }
    }

    fn defaults() -> Defaults {
        Defaults::bare("/r/seccomp".into())
    }

    #[test]
    fn it_is_always_explicit_and_the_container_goes_first() {
        let kind = |container: Option<&str>, pod: Option<&str>, seccomp_default| {
            let (container, pod) =
                (container.map(|kind| asked(kind, None)), pod.map(|kind| asked(kind, None)));
            let defaults = Defaults { seccomp_default, ..defaults() };
            profile(container.as_ref(), pod.as_ref(), &defaults).unwrap().profile_type()
        };
        assert_eq!(kind(None, None, false), ProfileType::Unconfined);
        assert_eq!(kind(None, None, true), ProfileType::RuntimeDefault);
        assert_eq!(kind(None, Some("RuntimeDefault"), false), ProfileType::RuntimeDefault);
        assert_eq!(kind(Some("Unconfined"), Some("RuntimeDefault"), true), ProfileType::Unconfined);
    }

    #[test]
    fn a42_a_profile_that_cannot_be_meant_is_refused() {
        for file in [
            None,
            Some(""),
            Some("/etc/p.json"),
            Some("../p.json"),
            Some("a/../../p"),
            Some("."),
            Some("a\0b"),
        ] {
            let chosen = asked("Localhost", file);
            assert!(profile(Some(&chosen), None, &defaults()).is_err(), "container: {file:?}");
            assert!(profile(None, Some(&chosen), &defaults()).is_err(), "pod: {file:?}");
        }
        for kind in ["", "localhost", "runtime/default", "Docker"] {
            assert!(profile(Some(&asked(kind, None)), None, &defaults()).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_localhost_profile_is_a_file_beneath_the_root() {
        let found = profile(Some(&asked("Localhost", Some("a/b.json"))), None, &defaults()).unwrap();
        assert_eq!(file(&found), Some(Path::new("/r/seccomp/a/b.json")));
        assert_eq!(file(&runtime_default()), None);
    }

    proptest! {
        #[test]
        fn a42_whatever_is_named_is_beneath_the_root(name in "[a./\\\\ -]{0,12}") {
            if let Ok(found) = profile(Some(&asked("Localhost", Some(&name))), None, &defaults()) {
                let path = file(&found).unwrap();
                prop_assert!(path.starts_with("/r/seccomp") && path != Path::new("/r/seccomp"));
                prop_assert!(path.components().all(|part| part != Component::ParentDir));
            }
        }
    }
}
