//! Resources and volumes.

use serde_json::json;

use super::{check, container};

#[test]
fn a75_resources() {
    check(
        container(json!({"resources": {
            "limits": {"cpu": "1", "memory": "-1", "gpu": "1", "example.com/gpu": "1.5"},
            "requests": {"cpu": "1001m", "memory": "1e999", "example.com/other": "1", "ephemeral-storage": "1Ki1"},
        }})),
        &[
            "spec.containers[0].resources.limits[example.com/gpu]: is 1.5, expected a whole number",
            "spec.containers[0].resources.limits[gpu]: is not a resource: expected cpu, memory, ephemeral-storage, hugepages-SIZE or domain/name",
            "spec.containers[0].resources.limits[memory]: is -1, expected at least 0",
            "spec.containers[0].resources.requests[ephemeral-storage]: \"1Ki1\": quantity has an unknown suffix",
            "spec.containers[0].resources.requests[example.com/gpu]: is 1.5, expected a whole number",
            "spec.containers[0].resources.requests[gpu]: is not a resource: expected cpu, memory, ephemeral-storage, hugepages-SIZE or domain/name",
            "spec.containers[0].resources.requests[memory]: \"1e999\": quantity is too large",
            "spec.containers[0].resources.requests[cpu]: is more than the limit",
            "spec.containers[0].resources.requests[example.com/other]: needs a limit of the same amount",
        ],
    );
    check(
        container(
            json!({"resources": {"limits": {"hugepages-2Mi": "2Mi"}, "requests": {"hugepages-2Mi": "2Mi"}}}),
        ),
        &["spec.containers[0].resources: huge pages need cpu or memory beside them"],
    );
    let container = |name: &str| json!({"name": name, "image": "i", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}});
    let whole = json!({"limits": {"cpu": "1", "memory": "4Gi", "ephemeral-storage": "1"}, "requests": {"memory": "1Gi"}});
    check(
        json!({"spec": {"containers": [container("c"), container("d")], "resources": whole}}),
        &[
            "spec.resources: ephemeral-storage cannot be asked for by a pod as a whole",
            "spec.resources.requests[memory]: is less than its containers ask for together",
            "spec.resources.limits[cpu]: is less than the limit of a container",
        ],
    );
    check(
        json!({"spec": {"overhead": {"cpu": "-1", "gpu": "1"}, "runtimeClassName": "Kata"}}),
        &[
            "spec.overhead[cpu]: is -1, expected at least 0",
            "spec.overhead[gpu]: is not a resource: expected cpu, memory, ephemeral-storage, hugepages-SIZE or domain/name",
            "spec.runtimeClassName: is \"Kata\", expected lower case letters, digits, '-' and '.', with a letter or digit at either end of each part",
        ],
    );
}

#[test]
fn files_of_volumes() {
    check(
        json!({"spec": {
            "volumes": [
                {"name": "a", "configMap": {"items": [{"key": "", "path": "/x"}]}},
                {"name": "b", "secret": {"secretName": "s", "items": [{"key": "k", "path": "..x", "mode": 512}]}},
                {"name": "c", "downwardAPI": {"items": [
                    {"path": "p"}, {"path": "q", "fieldRef": {"fieldPath": "status.podIP"}},
                    {"path": "a/../r", "resourceFieldRef": {"resource": "limits.cpu"}},
                    {"path": "s", "fieldRef": {"fieldPath": "metadata.labels['a']"}}]}},
                {"name": "d", "projected": {"sources": [{"secret": {"items": [{"key": "k", "path": ""}]}}]}},
                {"name": "e", "emptyDir": {"medium": "Paper"}}],
            "containers": [{"name": "c", "image": "i"}]}}),
        &[
            "spec.volumes[0].configMap.name: is missing",
            "spec.volumes[0].configMap.items[0].key: is missing",
            "spec.volumes[0].configMap.items[0].path: must be a relative path",
            "spec.volumes[1].secret.items[0].path: must not begin with '..'",
            "spec.volumes[1].secret.items[0].mode: is not within 0 and 0777",
            "spec.volumes[2].downwardAPI.items[0].fieldRef: is missing",
            "spec.volumes[2].downwardAPI.items[1].fieldRef.fieldPath: names \"status.podIP\", which a volume cannot show",
            "spec.volumes[2].downwardAPI.items[2].path: must not contain '..'",
            "spec.volumes[2].downwardAPI.items[2].resourceFieldRef.containerName: is missing",
            "spec.volumes[3].projected.sources[0].secret.name: is missing",
            "spec.volumes[3].projected.sources[0].secret.items[0].path: is missing",
            "spec.volumes[4].emptyDir.medium: is no medium",
        ],
    );
}

#[test]
fn volumes_and_mounts() {
    check(
        json!({"spec": {
            "volumes": [{"name": "v"}, {"name": "v"}, {"name": "V"}, {"name": "w", "hostPath": {"path": "/a/../b", "type": "x"}},
                {"name": "x", "emptyDir": {"sizeLimit": "-1"}, "hostPath": {"path": "/"}}],
            "containers": [{"name": "c", "image": "i", "volumeMounts": [
                {"name": "v", "mountPath": "/m"}, {"name": "v", "mountPath": "/m"}, {"name": "gone", "mountPath": "m"},
                {"name": "v", "mountPath": "/n", "subPath": "../x", "mountPropagation": "x"},
            ]}],
        }}),
        &[
            "spec.volumes[1].name: is a duplicate volume name",
            "spec.volumes[2].name: is \"V\", expected lower case letters, digits and '-', with a letter or digit at either end",
            "spec.volumes[3].hostPath.path: must not contain '..'",
            "spec.volumes[3].hostPath.type: is \"x\", expected DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice or BlockDevice",
            "spec.volumes[4]: is of 2 kinds, expected one",
            "spec.volumes[4].emptyDir.sizeLimit: is not a quantity of at least 0",
            "spec.containers[0].volumeMounts[1].mountPath: is a duplicate mount path",
            "spec.containers[0].volumeMounts[2].name: is \"gone\", but the pod has no such volume",
            "spec.containers[0].volumeMounts[2].mountPath: is not an absolute path",
            "spec.containers[0].volumeMounts[3].mountPropagation: is \"x\", expected None, HostToContainer or Bidirectional",
            "spec.containers[0].volumeMounts[3].subPath: must not contain '..'",
        ],
    );
}
