//! AppArmor profiles, by field and by the annotation that came before it. Pure.

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, PodSpec};
use pinnace_cri::v1::SecurityProfile;
use pinnace_cri::v1::security_profile::ProfileType;

use super::Refusal;

/// Annotations by which profiles were chosen before there was a field; the container's name follows.
pub const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
/// Before the name of a profile in an annotation, and in the runtime's old field.
const PREFIX: &str = "localhost/";
const RUNTIME_DEFAULT: &str = "runtime/default";
const UNCONFINED: &str = "unconfined";
const FIELD: &str = "appArmorProfile";

/// Why a pod that asks for a profile is not taken by a node without AppArmor.
pub const DISABLED: &str = "AppArmor is not enabled on the host";

/// What a runtime does that is not told: its own profile where there is AppArmor. Said all the same, in both forms.
#[must_use]
pub fn unasked(enabled: bool) -> (SecurityProfile, String) {
    if enabled {
        of_type(ProfileType::RuntimeDefault, RUNTIME_DEFAULT)
    } else {
        of_type(ProfileType::Unconfined, UNCONFINED)
    }
}

fn of_type(kind: ProfileType, old: &str) -> (SecurityProfile, String) {
    (SecurityProfile { profile_type: kind.into(), localhost_ref: String::new() }, old.to_owned())
}

/// The profile of a container, as the runtime's field and as its old field.
///
/// The container's field goes first, then its annotation, then the pod's field (`pkg/security/apparmor/helpers.go`).
pub fn profile(
    pod: &Pod,
    spec: &PodSpec,
    container: &Container,
    enabled: bool,
) -> Result<(SecurityProfile, String), Refusal> {
    let own = container.security_context.as_ref().and_then(|own| own.app_armor_profile.as_ref());
    if let Some(own) = own {
        return of_field(own);
    }
    let annotations = pod.metadata.annotations.as_ref();
    if let Some(text) = annotations.and_then(|all| all.get(&format!("{ANNOTATION}{}", container.name))) {
        return of_annotation(text);
    }
    let pods = spec.security_context.as_ref().and_then(|pod| pod.app_armor_profile.as_ref());
    pods.map_or_else(|| Ok(unasked(enabled)), of_field)
}

fn of_field(asked: &AppArmorProfile) -> Result<(SecurityProfile, String), Refusal> {
    let AppArmorProfile { type_, localhost_profile } = asked;
    match type_.as_str() {
        "RuntimeDefault" => Ok(of_type(ProfileType::RuntimeDefault, RUNTIME_DEFAULT)),
        "Unconfined" => Ok(of_type(ProfileType::Unconfined, UNCONFINED)),
        "Localhost" => localhost(localhost_profile.as_deref().unwrap_or_default()),
        other => Err(Refusal::Unknown { field: "appArmorProfile.type", value: other.to_owned() }),
    }
}

fn of_annotation(text: &str) -> Result<(SecurityProfile, String), Refusal> {
    match (text, text.strip_prefix(PREFIX)) {
        (RUNTIME_DEFAULT, _) => Ok(of_type(ProfileType::RuntimeDefault, RUNTIME_DEFAULT)),
        (UNCONFINED, _) => Ok(of_type(ProfileType::Unconfined, UNCONFINED)),
        (_, Some(name)) => localhost(name),
        (other, None) => Err(Refusal::Unknown { field: "AppArmor annotation", value: other.to_owned() }),
    }
}

/// A profile that is loaded in the kernel. Its name is often the path of a program, so a path is a name here.
fn localhost(name: &str) -> Result<(SecurityProfile, String), Refusal> {
    if name.is_empty() {
        return Err(Refusal::NoProfile { field: FIELD });
    }
    let bad = |reason| Refusal::BadProfile { field: FIELD, profile: name.to_owned(), reason };
    if name.trim() != name {
        return Err(bad("begins or ends with blanks"));
    }
    if name.chars().any(char::is_control) {
        return Err(bad("holds control characters"));
    }
    if name.split('/').any(|part| part == "..") {
        return Err(bad("holds .. as a part of a path"));
    }
    let profile =
        SecurityProfile { profile_type: ProfileType::Localhost.into(), localhost_ref: name.to_owned() };
    Ok((profile, format!("{PREFIX}{name}")))
}

/// Whether the pod asks for any profile but none at all, which only a node with AppArmor can give.
#[must_use]
pub fn is_required(pod: &Pod) -> bool {
    let confines = |profile: &Option<AppArmorProfile>| {
        profile.as_ref().is_some_and(|profile| profile.type_ != "Unconfined")
    };
    let spec = pod.spec.as_ref();
    let context = spec.and_then(|spec| spec.security_context.as_ref());
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let ephemeral = spec.and_then(|spec| spec.ephemeral_containers.as_ref()).into_iter().flatten();
    let contexts = init
        .chain(main)
        .map(|container| &container.security_context)
        .chain(ephemeral.map(|container| &container.security_context));
    let annotations = pod.metadata.annotations.iter().flatten();
    context.is_some_and(|context| confines(&context.app_armor_profile))
        || contexts.flatten().any(|own| confines(&own.app_armor_profile))
        || annotations.into_iter().any(|(key, value)| key.starts_with(ANNOTATION) && value != UNCONFINED)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(annotation: Option<&str>, pod: &Value, own: &Value) -> Pod {
        let annotations = annotation.map(|text| json!({ format!("{ANNOTATION}c"): text }));
        serde_json::from_value(json!({
            "metadata": { "annotations": annotations.unwrap_or_else(|| json!({})) },
            "spec": { "securityContext": { "appArmorProfile": pod },
                "containers": [{ "name": "c", "securityContext": { "appArmorProfile": own } }] },
        }))
        .unwrap()
    }

    fn chosen(
        annotation: Option<&str>,
        pods: &Value,
        own: &Value,
    ) -> Result<(ProfileType, String, String), String> {
        let pod = pod(annotation, pods, own);
        let spec = pod.spec.as_ref().unwrap();
        let found = profile(&pod, spec, &spec.containers[0], true).map_err(|refusal| refusal.to_string())?;
        Ok((found.0.profile_type(), found.0.localhost_ref, found.1))
    }

    fn loaded(name: &str) -> Value {
        json!({ "type": "Localhost", "localhostProfile": name })
    }

    #[test]
    fn the_containers_field_then_its_annotation_then_the_pods_field() {
        let (none, open) = (Value::Null, json!({ "type": "Unconfined" }));
        let default = (ProfileType::RuntimeDefault, String::new(), "runtime/default".to_owned());
        let local = (ProfileType::Localhost, "p".to_owned(), "localhost/p".to_owned());
        assert_eq!(chosen(None, &none, &none), Ok(default.clone()));
        assert_eq!(chosen(None, &loaded("p"), &none), Ok(local.clone()));
        assert_eq!(chosen(Some("runtime/default"), &loaded("p"), &none), Ok(default));
        assert_eq!(chosen(Some("localhost/p"), &open, &none), Ok(local));
        let unconfined = (ProfileType::Unconfined, String::new(), "unconfined".to_owned());
        assert_eq!(chosen(Some("localhost/p"), &loaded("q"), &open), Ok(unconfined.clone()));
        assert_eq!(chosen(Some("unconfined"), &none, &none), Ok(unconfined));
        assert_eq!(unasked(false).0.profile_type(), ProfileType::Unconfined);
    }

    #[test]
    fn a42_a_profile_that_cannot_be_meant_is_refused() {
        let none = Value::Null;
        for name in ["", " p", "p\n", "a\0b", "../p", "/a/../b"] {
            assert!(chosen(None, &loaded(name), &none).is_err(), "pod: {name:?}");
            assert!(chosen(None, &none, &loaded(name)).is_err(), "container: {name:?}");
            assert!(
                chosen(Some(&format!("localhost/{name}")), &none, &none).is_err(),
                "annotation: {name:?}"
            );
        }
        assert!(chosen(None, &none, &json!({ "type": "Localhost" })).is_err());
        for kind in ["", "unconfined", "Other"] {
            assert!(chosen(None, &none, &json!({ "type": kind })).is_err(), "{kind:?}");
        }
        for text in ["", "docker/default", "Localhost/p"] {
            assert!(chosen(Some(text), &none, &none).is_err(), "{text:?}");
        }
        assert!(chosen(None, &none, &loaded("/usr/sbin/tcpdump")).is_ok());
    }

    #[test]
    fn a_profile_is_required_by_whatever_names_one() {
        let (none, open) = (Value::Null, json!({ "type": "Unconfined" }));
        assert!(!is_required(&pod(None, &none, &none)));
        assert!(!is_required(&pod(Some("unconfined"), &open, &open)));
        assert!(is_required(&pod(Some("runtime/default"), &none, &none)));
        assert!(is_required(&pod(None, &json!({ "type": "RuntimeDefault" }), &none)));
        assert!(is_required(&pod(None, &open, &loaded("p"))));
    }
}
