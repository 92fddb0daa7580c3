use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::defaults;

mod amounts;

/// A valid pod with `patch` merged into it: objects by key, everything else replaced.
fn patched(patch: &Value) -> Pod {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    merge(&mut pod, patch);
    let mut pod: Pod = serde_json::from_value(pod).unwrap_or_else(|error| panic!("{patch}: {error}"));
    defaults::apply(&mut pod);
    pod
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn lines(faults: Vec<Fault>) -> Vec<String> {
    faults.into_iter().map(|fault| format!("{}: {}", fault.field.unwrap_or_default(), fault.reason)).collect()
}

fn check(patch: Value, expected: &[&str]) {
    assert_eq!(lines(super::pod(&patched(&patch))), expected, "for {patch}");
}

/// The pod with one container of these fields.
fn container(fields: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    merge(&mut container, &fields);
    json!({"spec": {"containers": [container]}})
}

#[test]
fn valid_pods_have_no_faults() {
    for patch in [
        json!({}),
        json!({"metadata": {"name": "a.b-c", "labels": {"a/b": "c", "d": ""}, "annotations": {"X": "any text\n"}}}),
        json!({"spec": {"hostNetwork": true, "hostname": "h", "dnsPolicy": "Default", "tolerations": [{"operator": "Exists"}]}}),
        json!({"spec": {"terminationGracePeriodSeconds": 0, "activeDeadlineSeconds": 1, "nodeSelector": {"a": "b"}}}),
        container(
            json!({"ports": [{"containerPort": 53, "protocol": "UDP", "hostPort": 53}, {"containerPort": 53, "hostPort": 53}]}),
        ),
        container(
            json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "1"}, "requests": {"cpu": "1000m"}}}),
        ),
        container(
            json!({"securityContext": {"runAsUser": 0, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}}}),
        ),
        container(
            json!({"livenessProbe": {"tcpSocket": {"port": "web"}}, "lifecycle": {"preStop": {"sleep": {"seconds": 0}}}}),
        ),
        json!({"spec": {"hostUsers": false, "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net/ipv4/conf/eth0.1/x", "value": ""}]},
            "containers": [{"name": "c", "image": "i", "securityContext": {"procMount": "Unmasked"}}]}}),
        json!({"spec": {"volumes": [{"name": "v"}, {"name": "m", "configMap": {"name": "m"}}],
            "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a/b"}]}]}}),
    ] {
        check(patch, &[]);
    }
}

#[test]
fn names_and_metadata() {
    check(
        json!({"metadata": {"name": "A"}}),
        &[
            "metadata.name: is \"A\", expected lower case letters, digits, '-' and '.', with a letter or digit at either end of each part",
        ],
    );
    check(
        json!({"metadata": {"namespace": "../x"}}),
        &[
            "metadata.namespace: is \"../x\", expected lower case letters, digits and '-', with a letter or digit at either end",
        ],
    );
    check(
        json!({"metadata": {"labels": {"a b": "ok", "c": "-"}}}),
        &[
            "metadata.labels[a b]: expected letters, digits, '-', '_' and '.', with a letter or digit at either end, after an optional prefix/",
            "metadata.labels[c]: is \"-\", expected letters, digits, '-', '_' and '.', with a letter or digit at either end",
        ],
    );
    check(
        json!({"metadata": {"annotations": {"a": "x".repeat(256 * 1024)}}}),
        &["metadata.annotations: have 262145 bytes in all, expected at most 262144"],
    );
}

#[test]
fn names_of_the_pod_and_dns() {
    check(
        json!({"spec": {
            "hostnameOverride": "A", "setHostnameAsFQDN": true, "hostNetwork": true,
            "hostAliases": [{"ip": "x", "hostnames": ["good.example", "b_d"]}],
        }}),
        &[
            "spec.hostAliases[0].ip: is not an IP address",
            "spec.hostAliases[0].hostnames: is \"b_d\", expected lower case letters, digits, '-' and '.', with a letter or digit at either end of each part",
            "spec.hostnameOverride: is \"A\", expected lower case letters, digits, '-' and '.', with a letter or digit at either end of each part",
            "spec.hostnameOverride: cannot be combined with hostNetwork",
            "spec.hostnameOverride: cannot be combined with setHostnameAsFQDN",
        ],
    );
    let many: Vec<_> = (0..33).map(|number| format!("s{number}")).collect();
    check(
        json!({"spec": {"dnsConfig": {
            "nameservers": ["1.1.1.1", "::1", "x", "2.2.2.2"], "searches": many, "options": [{"value": "x"}],
        }}}),
        &[
            "spec.dnsConfig.nameservers: has 4 entries, expected at most 3",
            "spec.dnsConfig.nameservers[2]: is not an IP address",
            "spec.dnsConfig.searches: has 33 entries, expected at most 32",
            "spec.dnsConfig.options[0].name: is missing",
        ],
    );
    check(json!({"spec": {"dnsConfig": {"searches": [".", "_tcp.a.", "a.b"]}}}), &[]);
}

#[test]
fn environments() {
    let from = |from: serde_json::Value| json!({"name": "V", "valueFrom": from});
    check(
        container(json!({"env": [
            from(json!({"fieldRef": {"fieldPath": "metadata.labels['a/b']"}})),
            from(json!({"fieldRef": {"fieldPath": "status.hostIPs"}})),
            from(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}})),
            from(json!({"resourceFieldRef": {"resource": "requests.hugepages-2Mi", "divisor": "1Mi"}})),
            from(json!({"secretKeyRef": {"name": "s", "key": ".k"}})),
        ], "envFrom": [{"prefix": "a-", "configMapRef": {"name": "m"}}]})),
        &[],
    );
    check(
        container(json!({"env": [
            from(json!({"fieldRef": {"fieldPath": "metadata.labels"}})),
            from(json!({"fieldRef": {"fieldPath": "spec.hostname", "apiVersion": "v2"}})),
            from(json!({"resourceFieldRef": {"resource": "limits.gpu"}})),
            from(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Mi"}})),
            from(json!({"secretKeyRef": {"name": "", "key": ""}})),
        ], "envFrom": [{"prefix": "a=", "configMapRef": {"name": "M"}}, {}]})),
        &[
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: is \"metadata.labels\", which no variable can have",
            "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: is \"spec.hostname\", which no variable can have",
            "spec.containers[0].env[1].valueFrom.fieldRef.apiVersion: is \"v2\", expected v1",
            "spec.containers[0].env[2].valueFrom.resourceFieldRef.resource: is \"limits.gpu\", which no variable can have",
            "spec.containers[0].env[3].valueFrom.resourceFieldRef.divisor: is \"1Mi\", expected one of 1m, 1",
            "spec.containers[0].env[4].valueFrom.secretKeyRef.name: is missing",
            "spec.containers[0].env[4].valueFrom.secretKeyRef.key: is missing",
            "spec.containers[0].envFrom[0].prefix: is \"a=\", expected printable ASCII characters without '='",
            "spec.containers[0].envFrom[0].configMapRef.name: is \"M\", expected lower case letters, digits, '-' and '.', with a letter or digit at either end of each part",
            "spec.containers[0].envFrom[1]: names 0 sources, expected one",
        ],
    );
}

#[test]
fn pod_fields() {
    check(
        json!({"spec": {
            "restartPolicy": "Sometimes", "dnsPolicy": "X", "terminationGracePeriodSeconds": -1,
            "activeDeadlineSeconds": 0, "hostPID": true, "shareProcessNamespace": true, "hostUsers": false,
        }}),
        &[
            "spec.restartPolicy: is \"Sometimes\", expected Always, OnFailure or Never",
            "spec.dnsPolicy: is \"X\", expected ClusterFirst, ClusterFirstWithHostNet, Default or None",
            "spec.terminationGracePeriodSeconds: is -1, expected at least 0",
            "spec.activeDeadlineSeconds: is 0, expected 1 to 2147483647",
            "spec.shareProcessNamespace: cannot be combined with hostPID",
            "spec.hostUsers: false cannot be combined with hostNetwork, hostPID or hostIPC",
        ],
    );
    check(
        json!({"spec": {"containers": []}}),
        &["spec.containers: is missing, expected at least one container"],
    );
    check(json!({"spec": null}), &["spec: is missing"]);
    check(
        json!({"spec": {"securityContext": {"runAsUser": -1, "fsGroup": 4_294_967_296_i64, "supplementalGroups": [1, -2], "seccompProfile": {"type": "Localhost"}}}}),
        &[
            "spec.securityContext.runAsUser: is -1, expected 0 to 2147483647",
            "spec.securityContext.fsGroup: is 4294967296, expected 0 to 2147483647",
            "spec.securityContext.supplementalGroups[1]: is -2, expected 0 to 2147483647",
            "spec.securityContext.seccompProfile.localhostProfile: is missing",
        ],
    );
    check(
        json!({"spec": {"securityContext": {"appArmorProfile": {"type": "Other"},
            "sysctls": [{"name": "a.b", "value": "1"}, {"name": "a b", "value": "1"}, {"name": "a.b", "value": "2"}]}}}),
        &[
            "spec.securityContext.appArmorProfile.type: is \"Other\", expected RuntimeDefault, Unconfined or Localhost",
            "spec.securityContext.sysctls[1].name: is \"a b\", no name of a sysctl",
            "spec.securityContext.sysctls[2].name: is a duplicate sysctl",
        ],
    );
    check(
        json!({"spec": {"ephemeralContainers": [{"name": "e"}], "tolerations": [{"effect": "X", "value": "v", "operator": "Exists"}]}}),
        &[
            "spec.tolerations[0].effect: is \"X\", expected NoSchedule, PreferNoSchedule or NoExecute",
            "spec.tolerations[0].value: must be empty with operator Exists",
            "spec.ephemeralContainers: cannot be set in a manifest",
        ],
    );
}

#[test]
fn container_fields() {
    check(
        json!({"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "c", "image": " i"}, {}]}}),
        &[
            "spec.containers[1].image: is \" i\", which begins or ends with a space",
            "spec.containers[1].name: is a duplicate container name",
            "spec.containers[2].name: is missing",
            "spec.containers[2].image: is missing",
        ],
    );
    check(
        container(
            json!({"imagePullPolicy": "x", "terminationMessagePolicy": "y", "env": [{"name": ""}, {"name": "A=B"}, {"name": "C", "valueFrom": {}}]}),
        ),
        &[
            "spec.containers[0].imagePullPolicy: is \"x\", expected Always, IfNotPresent or Never",
            "spec.containers[0].terminationMessagePolicy: is \"y\", expected File or FallbackToLogsOnError",
            "spec.containers[0].env[0].name: is missing",
            "spec.containers[0].env[1].name: is \"A=B\", expected printable ASCII characters without '='",
            "spec.containers[0].env[2].valueFrom: names 0 sources, expected one",
        ],
    );
    check(
        container(
            json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false, "procMount": "x"}}),
        ),
        &[
            "spec.containers[0].securityContext.procMount: is \"x\", expected Default or Unmasked",
            "spec.containers[0].securityContext.allowPrivilegeEscalation: cannot be false with privileged",
        ],
    );
    check(
        container(json!({"securityContext": {"procMount": "Unmasked",
            "appArmorProfile": {"type": "Localhost", "localhostProfile": " p"}}})),
        &[
            "spec.containers[0].securityContext.appArmorProfile.localhostProfile: begins or ends with blanks",
            "spec.containers[0].securityContext.procMount: Unmasked needs hostUsers: false",
        ],
    );
    check(
        container(json!({"livenessProbe": {"periodSeconds": -1, "successThreshold": 2}})),
        &[
            "spec.containers[0].livenessProbe.periodSeconds: is -1, expected at least 1",
            "spec.containers[0].livenessProbe.successThreshold: must be 1 for liveness and startup probes",
            "spec.containers[0].livenessProbe: has 0 handlers, expected one",
        ],
    );
}

#[test]
fn a75_ports() {
    check(
        container(json!({"ports": [
            {"containerPort": 0}, {"containerPort": 65536}, {"containerPort": 1, "hostPort": -1, "protocol": "HTTP"},
            {"containerPort": 2, "name": "web", "hostIP": "x"}, {"containerPort": 3, "name": "web"}, {"containerPort": 4, "name": "8"},
        ]})),
        &[
            "spec.containers[0].ports[0].containerPort: is missing",
            "spec.containers[0].ports[1].containerPort: is 65536, expected 1 to 65535",
            "spec.containers[0].ports[2].hostPort: is -1, expected 1 to 65535",
            "spec.containers[0].ports[2].protocol: is \"HTTP\", expected TCP, UDP or SCTP",
            "spec.containers[0].ports[3].hostIP: is not an IP address",
            "spec.containers[0].ports[4].name: is a duplicate port name",
            "spec.containers[0].ports[5].name: is \"8\", expected lower case letters, digits and single '-', and one letter at least",
        ],
    );
    check(
        json!({"spec": {"hostNetwork": true, "containers": [
            {"name": "a", "image": "i", "ports": [{"containerPort": 80}]},
            {"name": "b", "image": "i", "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 82}]},
        ]}}),
        &[
            "spec.containers[1].ports[0].hostPort: is a duplicate host port",
            "spec.containers[1].ports[1].hostPort: must equal containerPort with hostNetwork",
        ],
    );
}

#[test]
fn a67_references_to_objects_of_an_api_server_are_refused() {
    check(
        json!({"spec": {
            "serviceAccountName": "a", "resourceClaims": [{"name": "r"}],
            "volumes": [
                {"name": "a", "csi": {"driver": "d"}},
                {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "c", "ephemeral": {}},
                {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"secret": {"name": "s"}}, {"clusterTrustBundle": {"path": "t"}}, {"podCertificate": {"keyType": "k", "signerName": "s"}}]}},
                {"name": "e", "azureFile": {"secretName": "s", "shareName": "n"}},
                {"name": "f", "secret": {"secretName": "s"}},
                {"name": "g", "configMap": {"name": "s"}},
            ],
        }}),
        &[
            "spec.serviceAccountName: static pods may not reference serviceaccounts",
            "spec.resourceClaims: static pods may not reference resourceclaims",
            "spec.volumes[0].csi: static pods may not reference csidrivers (via CSI volumes)",
            "spec.volumes[1].persistentVolumeClaim: static pods may not reference persistentvolumeclaims",
            "spec.volumes[2].ephemeral: static pods may not reference persistentvolumeclaims (via ephemeral volumes)",
            "spec.volumes[3].projected.sources[0].serviceAccountToken: static pods may not reference serviceaccounts (via projected volumes)",
            "spec.volumes[3].projected.sources[2].clusterTrustBundle: static pods may not reference clustertrustbundles",
            "spec.volumes[3].projected.sources[3].podCertificate: static pods may not reference podcertificates",
            "spec.volumes[4].azureFile: static pods may not reference secrets (via azureFile volumes)",
        ],
    );
}

#[test]
fn a67_a_manifest_is_neither_a_mirror_nor_a_deletion() {
    let pod = patched(&json!({"metadata": {
        "name": "", "deletionTimestamp": "2026-01-01T00:00:00Z", "annotations": {"kubernetes.io/config.mirror": "x"},
    }}));
    assert_eq!(
        lines(manifest(&pod)),
        [
            "metadata.name: is missing",
            "metadata.deletionTimestamp: a manifest cannot ask for deletion: remove the file instead",
            "metadata.annotations[kubernetes.io/config.mirror]: only a mirror pod may carry this",
        ]
    );
}

proptest! {
    #[test]
    fn any_text_in_any_place_is_decided(text in ".{0,40}", number in any::<i32>(), long in any::<i64>()) {
        let pod = patched(&json!({
            "metadata": {"name": text, "namespace": text, "labels": {text.clone(): text}, "annotations": {text.clone(): text}},
            "spec": {
                "restartPolicy": text, "activeDeadlineSeconds": long, "hostname": text, "nodeSelector": {text.clone(): text},
                "volumes": [{"name": text}],
                "containers": [{
                    "name": text, "image": text, "env": [{"name": text}], "securityContext": {"runAsUser": long},
                    "ports": [{"containerPort": number, "hostPort": number, "name": text}],
                    "resources": {"limits": {"cpu": text, text.clone(): "1"}, "requests": {"cpu": text}},
                    "volumeMounts": [{"name": text, "mountPath": text, "subPath": text}],
                }],
            },
        }));
        let first = super::pod(&pod);
        prop_assert_eq!(super::pod(&pod), first);
    }
}
