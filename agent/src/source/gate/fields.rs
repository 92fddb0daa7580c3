//! What was decided about each field that the gate takes apart. The README's table is printed from here.

/// A field of a pod and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its path; `[]` stands for any element of a list and any key of a map.
    pub path: &'static str,
    /// What becomes of it.
    pub state: State,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Honoured with every value.
    Built,
    /// Honoured with every value by doing nothing, for the reason given.
    NothingToDo(&'static str),
    /// Honoured at its API default, or at other harmless values, with `effect`; any other holds the pod.
    Harmless {
        /// What the harmless values mean today.
        effect: &'static str,
        /// Why the others hold the pod.
        held: &'static str,
    },
    /// Every value but the absent or empty one holds the pod, for the reason given.
    Holds(&'static str),
}

impl std::fmt::Display for State {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Built => out.write_str("built"),
            Self::NothingToDo(why) => write!(out, "any value: {why}"),
            Self::Harmless { effect, held } => write!(out, "{effect}; otherwise held: {held}"),
            Self::Holds(reason) => write!(out, "held: {reason}"),
        }
    }
}

const fn built(path: &'static str) -> Field {
    Field { path, state: State::Built }
}

const fn nothing(path: &'static str, why: &'static str) -> Field {
    Field { path, state: State::NothingToDo(why) }
}

const fn harmless(path: &'static str, effect: &'static str, held: &'static str) -> Field {
    Field { path, state: State::Harmless { effect, held } }
}

const fn holds(path: &'static str, reason: &'static str) -> Field {
    Field { path, state: State::Holds(reason) }
}

const SCHEDULER: &str = "concerns the choice of a node only";
const AMOUNTS: &str = "cpu, memory, ephemeral-storage (counted, not enforced yet) and hugepages-SIZE";
const WHOLE: &str = "cpu, memory and hugepages-SIZE; on a node without pod cgroups the pod waits";
const DEVICES: &str = "resources of device plugins are not built yet";
const PROBES: &str = "probes are not built yet";
const PERSISTENT: &str = "persistent volumes are not built yet";
/// Every field that the gate knows, with its state.
pub const FIELDS: &[Field] = &[
    built("metadata.annotations[]"),
    built("spec.activeDeadlineSeconds"),
    built("spec.affinity"),
    nothing("spec.automountServiceAccountToken", "a pod without a service account has no token to mount"),
    built("spec.dnsConfig"),
    built("spec.dnsPolicy"),
    built("spec.enableServiceLinks"),
    holds("spec.ephemeralContainers", "ephemeral containers are not built yet"),
    built("spec.hostAliases"),
    built("spec.hostIPC"),
    built("spec.hostNetwork"),
    built("spec.hostPID"),
    built("spec.hostUsers"),
    built("spec.hostname"),
    built("spec.hostnameOverride"),
    built("spec.imagePullSecrets"),
    holds("spec.initContainers", "init containers are not built yet"),
    built("spec.nodeName"),
    built("spec.nodeSelector"),
    built("spec.os"),
    built("spec.overhead"),
    nothing("spec.preemptionPolicy", SCHEDULER),
    built("spec.priority"),
    nothing("spec.priorityClassName", "the API server turns it into the priority"),
    built("spec.readinessGates"),
    holds("spec.resourceClaims", "resource claims are not built yet"),
    holds("spec.resources.claims", "resource claims are not built yet"),
    harmless("spec.resources.limits", WHOLE, DEVICES),
    harmless("spec.resources.requests", WHOLE, DEVICES),
    built("spec.restartPolicy"),
    built("spec.runtimeClassName"),
    nothing("spec.schedulerName", SCHEDULER),
    holds("spec.schedulingGates", "scheduling gates are lifted by a controller that is not there"),
    holds("spec.schedulingGroup", "pod groups are not built yet"),
    built("spec.serviceAccount"),
    built("spec.serviceAccountName"),
    built("spec.setHostnameAsFQDN"),
    built("spec.shareProcessNamespace"),
    built("spec.subdomain"),
    built("spec.terminationGracePeriodSeconds"),
    built("spec.tolerations"),
    nothing("spec.topologySpreadConstraints", SCHEDULER),
    built("spec.volumes[].configMap"),
    holds("spec.volumes[].csi", "CSI volumes are not built yet"),
    built("spec.volumes[].downwardAPI"),
    harmless("spec.volumes[].emptyDir", "on disk, in memory or in huge pages", "there is no such medium"),
    holds("spec.volumes[].ephemeral", PERSISTENT),
    holds("spec.volumes[].gitRepo", "unsupported volume type, which fetched what it liked as root"),
    built("spec.volumes[].hostPath"),
    built("spec.volumes[].image"),
    holds("spec.volumes[].persistentVolumeClaim", PERSISTENT),
    harmless("spec.volumes[].projected", "all sources but the held one", "podCertificate is not built yet"),
    built("spec.volumes[].secret"),
    // Whatever is not named above.
    holds("spec.volumes[]", "unsupported volume type"),
    built("spec.securityContext.appArmorProfile"),
    built("spec.securityContext.fsGroup"),
    nothing(
        "spec.securityContext.fsGroupChangePolicy",
        "concerns volumes that were there before the pod; what is built begins with the group",
    ),
    built("spec.securityContext.runAsGroup"),
    built("spec.securityContext.runAsNonRoot"),
    built("spec.securityContext.runAsUser"),
    nothing("spec.securityContext.seLinuxChangePolicy", "concerns volumes only"),
    built("spec.securityContext.seLinuxOptions"),
    built("spec.securityContext.seccompProfile"),
    built("spec.securityContext.supplementalGroups"),
    built("spec.securityContext.supplementalGroupsPolicy"),
    built("spec.securityContext.sysctls"),
    holds("spec.securityContext.windowsOptions", "this node runs Linux"),
    built("spec.containers[].args"),
    built("spec.containers[].command"),
    built("spec.containers[].env[].name"),
    built("spec.containers[].env[].value"),
    built("spec.containers[].env[].valueFrom"),
    built("spec.containers[].envFrom"),
    built("spec.containers[].image"),
    built("spec.containers[].imagePullPolicy"),
    holds("spec.containers[].lifecycle.postStart", "lifecycle hooks are not built yet"),
    holds("spec.containers[].lifecycle.preStop", "lifecycle hooks are not built yet"),
    holds("spec.containers[].lifecycle.stopSignal", "stop signals are not built yet"),
    holds("spec.containers[].livenessProbe", PROBES),
    built("spec.containers[].name"),
    built("spec.containers[].ports[].containerPort"),
    built("spec.containers[].ports[].hostIP"),
    built("spec.containers[].ports[].hostPort"),
    built("spec.containers[].ports[].name"),
    built("spec.containers[].ports[].protocol"),
    holds("spec.containers[].readinessProbe", PROBES),
    nothing("spec.containers[].resizePolicy", "a changed static pod is a new pod, never resized in place"),
    holds("spec.containers[].resources.claims", "resource claims are not built yet"),
    harmless("spec.containers[].resources.limits", AMOUNTS, DEVICES),
    harmless("spec.containers[].resources.requests", AMOUNTS, DEVICES),
    holds("spec.containers[].restartPolicy", "restart policies of a container are not built yet"),
    holds("spec.containers[].restartPolicyRules", "restart rules are not built yet"),
    holds("spec.containers[].startupProbe", PROBES),
    built("spec.containers[].stdin"),
    built("spec.containers[].stdinOnce"),
    built("spec.containers[].terminationMessagePath"),
    built("spec.containers[].terminationMessagePolicy"),
    built("spec.containers[].tty"),
    holds("spec.containers[].volumeDevices", "block devices are not built yet"),
    built("spec.containers[].volumeMounts[].mountPath"),
    built("spec.containers[].volumeMounts[].mountPropagation"),
    built("spec.containers[].volumeMounts[].name"),
    built("spec.containers[].volumeMounts[].readOnly"),
    built("spec.containers[].volumeMounts[].recursiveReadOnly"),
    built("spec.containers[].volumeMounts[].subPath"),
    built("spec.containers[].volumeMounts[].subPathExpr"),
    built("spec.containers[].workingDir"),
    built("spec.containers[].securityContext.allowPrivilegeEscalation"),
    built("spec.containers[].securityContext.appArmorProfile"),
    built("spec.containers[].securityContext.capabilities.add"),
    built("spec.containers[].securityContext.capabilities.drop"),
    built("spec.containers[].securityContext.privileged"),
    built("spec.containers[].securityContext.procMount"),
    built("spec.containers[].securityContext.readOnlyRootFilesystem"),
    built("spec.containers[].securityContext.runAsGroup"),
    built("spec.containers[].securityContext.runAsNonRoot"),
    built("spec.containers[].securityContext.runAsUser"),
    built("spec.containers[].securityContext.seLinuxOptions"),
    built("spec.containers[].securityContext.seccompProfile"),
    holds("spec.containers[].securityContext.windowsOptions", "this node runs Linux"),
];

/// The entry for a concrete path such as `spec.containers[0].env[2].value`.
pub(super) fn entry(field: &str) -> Option<&'static Field> {
    let general = without_indices(field);
    let covers = |path: &str| {
        general.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    FIELDS.iter().find(|field| covers(field.path))
}

pub(super) fn held_reason(field: &str) -> Option<&'static str> {
    match entry(field)?.state {
        State::Built | State::NothingToDo(_) => None,
        State::Harmless { held, .. } => Some(held),
        State::Holds(reason) => Some(reason),
    }
}

/// Every `[…]` becomes `[]`.
fn without_indices(field: &str) -> String {
    let mut general = String::with_capacity(field.len());
    let mut inside = false;
    for character in field.chars() {
        match character {
            '[' => inside = true,
            ']' => {
                inside = false;
                general.push_str("[]");
            }
            _ if inside => {}
            other => general.push(other),
        }
    }
    general
}
