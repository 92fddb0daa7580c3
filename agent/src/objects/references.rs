//! Which ConfigMaps and Secrets a pod refers to. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EphemeralContainer, Pod, PodSpec, Volume, VolumeProjection,
};

use super::{Kind, Reference};

/// Everything that volumes, the environment of all containers and image pulls of the pod read. What another component
/// reads for the pod, such as the secrets of a volume plug-in, is not among them.
#[must_use]
pub fn references(pod: &Pod) -> BTreeSet<Reference> {
    let Some(spec) = &pod.spec else { return BTreeSet::new() };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let named = by_volumes(spec).chain(by_containers(spec)).chain(by_pulls(spec));
    named
        .filter(|(_, name)| !name.is_empty())
        .map(|(kind, name)| Reference { kind, namespace: namespace.to_owned(), name: name.to_owned() })
        .collect()
}

/// Whether a volume of the pod shows ClusterTrustBundles.
#[must_use]
pub fn shows_bundles(pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let sources = volumes.filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
    sources.into_iter().any(|source| source.cluster_trust_bundle.is_some())
}

type Named<'a> = (Kind, &'a str);

fn by_pulls(spec: &PodSpec) -> impl Iterator<Item = Named<'_>> {
    spec.image_pull_secrets.iter().flatten().map(|secret| (Kind::Secret, secret.name.as_str()))
}

fn by_volumes(spec: &PodSpec) -> impl Iterator<Item = Named<'_>> {
    spec.volumes.iter().flatten().flat_map(by_volume)
}

fn by_volume(volume: &Volume) -> impl Iterator<Item = Named<'_>> {
    let map = volume.config_map.iter().map(|source| (Kind::ConfigMap, source.name.as_str()));
    let secret = volume.secret.iter().filter_map(|source| source.secret_name.as_deref());
    let projections = volume.projected.iter().flat_map(|source| source.sources.iter().flatten());
    map.chain(secret.map(|name| (Kind::Secret, name))).chain(projections.flat_map(by_projection))
}

fn by_projection(projection: &VolumeProjection) -> impl Iterator<Item = Named<'_>> {
    let map = projection.config_map.iter().map(|source| (Kind::ConfigMap, source.name.as_str()));
    map.chain(projection.secret.iter().map(|source| (Kind::Secret, source.name.as_str())))
}

fn by_containers(spec: &PodSpec) -> impl Iterator<Item = Named<'_>> {
    let init = spec.init_containers.iter().flatten();
    let plain = spec.containers.iter().chain(init);
    let plain = plain.flat_map(|Container { env_from, env, .. }| by_environment(env_from, env));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    plain.chain(ephemeral.flat_map(|EphemeralContainer { env_from, env, .. }| by_environment(env_from, env)))
}

fn by_environment<'a>(
    from: &'a Option<Vec<EnvFromSource>>,
    env: &'a Option<Vec<EnvVar>>,
) -> impl Iterator<Item = Named<'a>> {
    from.iter().flatten().flat_map(by_env_from).chain(env.iter().flatten().flat_map(by_env))
}

fn by_env_from(source: &EnvFromSource) -> impl Iterator<Item = Named<'_>> {
    let map = source.config_map_ref.iter().map(|source| (Kind::ConfigMap, source.name.as_str()));
    map.chain(source.secret_ref.iter().map(|source| (Kind::Secret, source.name.as_str())))
}

fn by_env(variable: &EnvVar) -> impl Iterator<Item = Named<'_>> {
    variable.value_from.iter().flat_map(|source| {
        let map = source.config_map_key_ref.iter().map(|key| (Kind::ConfigMap, key.name.as_str()));
        map.chain(source.secret_key_ref.iter().map(|key| (Kind::Secret, key.name.as_str())))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(spec: serde_json::Value) -> Vec<String> {
        let metadata = json!({ "name": "p", "namespace": "ns" });
        let pod: Pod = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
        let all = references(&pod);
        all.iter().map(|one| format!("{} {}/{}", one.kind.word(), one.namespace, one.name)).collect()
    }

    #[test]
    fn every_field_that_names_an_object_is_found_once() {
        let env = |n: u32| {
            json!({ "name": format!("c{n}"), "envFrom": [
                { "configMapRef": { "name": format!("fm{n}") } }, { "secretRef": { "name": format!("fs{n}") } },
            ], "env": [
                { "name": "A", "valueFrom": { "configMapKeyRef": { "name": format!("em{n}"), "key": "k" } } },
                { "name": "B", "valueFrom": { "secretKeyRef": { "name": format!("es{n}"), "key": "k" } } },
                { "name": "C", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            ] })
        };
        let spec = json!({ "containers": [env(0)], "initContainers": [env(1)], "ephemeralContainers": [env(2)],
            "imagePullSecrets": [{ "name": "pull" }, { "name": "pull" }, { "name": "" }],
            "volumes": [
                { "name": "a", "configMap": { "name": "vm" } },
                { "name": "b", "secret": { "secretName": "vs" } },
                { "name": "c", "projected": { "sources": [
                    { "configMap": { "name": "pm" } }, { "secret": { "name": "ps" } },
                    { "serviceAccountToken": { "path": "token" } },
                ] } },
                { "name": "d", "emptyDir": {} },
            ] });
        let maps =
            ["em0", "em1", "em2", "fm0", "fm1", "fm2", "pm", "vm"].map(|n| format!("configmap ns/{n}"));
        let secrets = ["es0", "es1", "es2", "fs0", "fs1", "fs2", "ps", "pull", "vs"];
        let secrets = secrets.map(|n| format!("secret ns/{n}"));
        assert_eq!(found(spec), [maps.as_slice(), secrets.as_slice()].concat());
    }

    #[test]
    fn a_pod_that_names_nothing_refers_to_nothing() {
        assert!(found(json!({ "containers": [{ "name": "c" }] })).is_empty());
    }

    #[test]
    fn bundles_are_wanted_by_who_shows_one() {
        for (source, shows) in [("clusterTrustBundle", true), ("configMap", false)] {
            let source = json!({ source: { "name": "b", "path": "p" } });
            let spec = json!({ "containers": [], "volumes": [{ "name": "v", "projected": { "sources": [source] } }] });
            let pod: Pod = serde_json::from_value(json!({ "spec": spec })).unwrap();
            assert_eq!(shows_bundles(&pod), shows);
        }
    }
}
