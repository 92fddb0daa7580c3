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
const EXPANSION: &str = "has $(NAME) or $$: references to variables are not expanded yet";
const PROBES: &str = "probes are not built yet";
const PERSISTENT: &str = "persistent volumes are not built yet";
/// Every field that the gate knows, with its state.
pub const FIELDS: &[Field] = &[
    built("metadata.annotations[]"),
    built("spec.activeDeadlineSeconds"),
    built("spec.affinity"),
    nothing("spec.automountServiceAccountToken", "a pod without a service account has no token to mount"),
    holds("spec.dnsConfig", "DNS settings of a pod are not built yet"),
    harmless(
        "spec.dnsPolicy",
        "Default, ClusterFirst and ClusterFirstWithHostNet use the node's resolv.conf, as without a cluster DNS",
        "DNS settings of a pod are not built yet",
    ),
    nothing("spec.enableServiceLinks", "there are no services yet, hence no service variables"),
    holds("spec.ephemeralContainers", "ephemeral containers are not built yet"),
    holds("spec.hostAliases", "entries in /etc/hosts are not built yet"),
    built("spec.hostIPC"),
    built("spec.hostNetwork"),
    built("spec.hostPID"),
    built("spec.hostUsers"),
    built("spec.hostname"),
    holds("spec.hostnameOverride", "is not built yet"),
    built("spec.imagePullSecrets"),
    holds("spec.initContainers", "init containers are not built yet"),
    built("spec.nodeName"),
    built("spec.nodeSelector"),
    built("spec.os"),
    holds("spec.overhead", "pod overhead is not built yet"),
    nothing("spec.preemptionPolicy", SCHEDULER),
    nothing("spec.priority", "no pod is preempted or evicted yet"),
    nothing("spec.priorityClassName", "no pod is preempted or evicted yet"),
    built("spec.readinessGates"),
    holds("spec.resourceClaims", "resource claims are not built yet"),
    holds("spec.resources", "pod-level resources are not built yet"),
    built("spec.restartPolicy"),
    holds("spec.runtimeClassName", "runtime classes are not built yet"),
    nothing("spec.schedulerName", SCHEDULER),
    holds("spec.schedulingGates", "scheduling gates are lifted by a controller that is not there"),
    holds("spec.schedulingGroup", "pod groups are not built yet"),
    built("spec.serviceAccount"),
    built("spec.serviceAccountName"),
    harmless("spec.setHostnameAsFQDN", "false", "a fully qualified host name is not built yet"),
    built("spec.shareProcessNamespace"),
    holds("spec.subdomain", "host names in a domain are not built yet"),
    built("spec.terminationGracePeriodSeconds"),
    built("spec.tolerations"),
    nothing("spec.topologySpreadConstraints", SCHEDULER),
    built("spec.volumes[].configMap"),
    holds("spec.volumes[].csi", "CSI volumes are not built yet"),
    built("spec.volumes[].downwardAPI"),
    harmless("spec.volumes[].emptyDir", "on disk or in memory", "huge pages as a medium are not built yet"),
    holds("spec.volumes[].ephemeral", PERSISTENT),
    holds("spec.volumes[].gitRepo", "unsupported volume type, which fetched what it liked as root"),
    built("spec.volumes[].hostPath"),
    built("spec.volumes[].image"),
    holds("spec.volumes[].persistentVolumeClaim", PERSISTENT),
    harmless(
        "spec.volumes[].projected",
        "all sources but the two held ones",
        "podCertificate and a clusterTrustBundle chosen by its signer are not built yet",
    ),
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
    harmless("spec.containers[].args", "passed on as they are", EXPANSION),
    harmless("spec.containers[].command", "passed on as it is", EXPANSION),
    built("spec.containers[].env[].name"),
    harmless("spec.containers[].env[].value", "passed on as it is", EXPANSION),
    holds("spec.containers[].env[].valueFrom", "variables from other sources are not built yet"),
    holds("spec.containers[].envFrom", "variables from ConfigMaps and Secrets are not built yet"),
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
    harmless("spec.containers[].resources.limits", "cpu and memory", "only cpu and memory are built"),
    harmless("spec.containers[].resources.requests", "cpu and memory", "only cpu and memory are built"),
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
