//! Kernel parameters of a pod: which it may set, and how they are spelt. Pure.
//!
//! A parameter may be set if the kernel keeps one per namespace and no other pod is touched by it, or if the node's
//! operator allowed it (`pkg/kubelet/sysctl`). A value is passed on only if no reader of lists of parameters could take
//! it for more than one (CVE-2022-0811).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;

use super::Refusal;

/// Longest name, in bytes: `SysctlMaxLength` of upstream's validation.
const MAX_NAME: usize = 253;

/// Parameters that touch no other pod, and the kernel since which that is so.
const SAFE: [(&str, Option<(u32, u32)>); 12] = [
    ("kernel.shm_rmid_forced", None),
    ("net.ipv4.ip_local_port_range", None),
    ("net.ipv4.tcp_syncookies", None),
    ("net.ipv4.ping_group_range", None),
    ("net.ipv4.ip_unprivileged_port_start", None),
    ("net.ipv4.ip_local_reserved_ports", Some((3, 16))),
    ("net.ipv4.tcp_keepalive_time", Some((4, 5))),
    ("net.ipv4.tcp_fin_timeout", Some((4, 6))),
    ("net.ipv4.tcp_keepalive_intvl", Some((4, 5))),
    ("net.ipv4.tcp_keepalive_probes", Some((4, 5))),
    ("net.ipv4.tcp_rmem", Some((4, 15))),
    ("net.ipv4.tcp_wmem", Some((4, 15))),
];

/// The namespace that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// Of System V and POSIX objects.
    Ipc,
    /// Of the network.
    Net,
}

/// By name or by the beginning of names; none if the kernel is not known to keep one per namespace.
#[must_use]
pub fn namespace(name: &str) -> Option<Namespace> {
    match name {
        "kernel.sem" => Some(Namespace::Ipc),
        _ if ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|start| name.starts_with(start)) => {
            Some(Namespace::Ipc)
        }
        _ if name.starts_with("net.") => Some(Namespace::Net),
        _ => None,
    }
}

/// A name with dots between its parts. In a name whose first mark is a slash, slash and dot change places, so that
/// `net/ipv4/conf/eth0.1/rp_filter` names the interface `eth0.1`.
#[must_use]
pub fn normal(name: &str) -> String {
    let swapped = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match name.chars().find(|character| matches!(character, '.' | '/')) {
        Some('/') => name.chars().map(swapped).collect(),
        _ => name.to_owned(),
    }
}

fn is_segment(segment: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = segment.as_bytes();
    bytes.first().copied().is_some_and(edge)
        && bytes.last().copied().is_some_and(edge)
        && bytes.iter().all(|byte| edge(*byte) || *byte == b'-' || *byte == b'_')
}

/// Whether a text is a parameter's name, in either spelling.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME && name.split(['.', '/']).all(is_segment)
}

/// Whether a text is a name, or the beginning of names with `*` behind it.
fn is_pattern(pattern: &str) -> bool {
    let Some(start) = pattern.strip_suffix('*') else { return is_name(pattern) };
    let (whole, last) =
        start.rsplit_once(['.', '/']).map_or((None, start), |(whole, last)| (Some(whole), last));
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    pattern.len() <= MAX_NAME
        && whole.is_none_or(|whole| whole.split(['.', '/']).all(is_segment))
        && !last.starts_with(['-', '_'])
        && last.bytes().all(inner)
}

/// Which parameters pods of this node may set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowlist {
    names: Vec<String>,
    prefixes: Vec<String>,
}

impl Allowlist {
    /// The safe ones under a kernel of this version; one that is not known counts as older than all.
    #[must_use]
    pub fn safe(kernel: Option<(u32, u32)>) -> Self {
        let here = |since: Option<(u32, u32)>| since.is_none_or(|since| kernel >= Some(since));
        let names = SAFE.iter().filter(|(_, since)| here(*since)).map(|(name, _)| (*name).to_owned());
        Self { names: names.collect(), prefixes: Vec::new() }
    }

    /// Allows a parameter, or with `*` at its end all that begin like that. The error says what is wrong with it.
    pub fn allow(&mut self, pattern: &str) -> Result<(), String> {
        if !is_pattern(pattern) {
            return Err(format!("{pattern:?} is no sysctl and no beginning of one with * behind it"));
        }
        let pattern = normal(pattern);
        let name = pattern.strip_suffix('*');
        if namespace(name.unwrap_or(&pattern)).is_none() {
            return Err(format!("{pattern:?} is not known to be namespaced"));
        }
        match name {
            Some(prefix) => self.prefixes.push(prefix.to_owned()),
            None => self.names.push(pattern),
        }
        Ok(())
    }

    fn holds(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// Why the pod may not have its parameters, in the kubelet's words; none if it may.
    #[must_use]
    pub fn refusal(&self, spec: &PodSpec) -> Option<String> {
        let asked = spec.security_context.as_ref()?.sysctls.as_ref()?;
        asked.iter().find_map(|sysctl| {
            let why = match well_formed(&sysctl.name, &sysctl.value) {
                Ok(()) => self.refuses(&normal(&sysctl.name), spec)?,
                Err(reason) => format!("{:?} {reason}", sysctl.name),
            };
            Some(format!("forbidden sysctl: {why}"))
        })
    }

    fn refuses(&self, name: &str, spec: &PodSpec) -> Option<String> {
        if !self.holds(name) {
            return Some(format!("{name:?} not allowlisted"));
        }
        match namespace(name)? {
            Namespace::Net if spec.host_network == Some(true) => {
                Some(format!("{name:?} not allowed with host net enabled"))
            }
            Namespace::Ipc if spec.host_ipc == Some(true) => {
                Some(format!("{name:?} not allowed with host ipc enabled"))
            }
            Namespace::Net | Namespace::Ipc => None,
        }
    }
}

/// Whether nobody can take it for anything but one parameter with one value.
fn well_formed(name: &str, value: &str) -> Result<(), &'static str> {
    if !is_name(name) {
        return Err("is no name of a sysctl");
    }
    let plain = |character: char| character == '\t' || character == ' ' || character.is_ascii_graphic();
    if !value.chars().all(plain) || value.contains(['+', '=']) {
        return Err("has a value with a character that no sysctl takes");
    }
    Ok(())
}

/// What the sandbox's message carries.
pub fn of_sandbox(spec: &PodSpec) -> Result<BTreeMap<String, String>, Refusal> {
    let asked = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    asked
        .map(|sysctl| {
            let refusal = |reason| Refusal::Sysctl { name: sysctl.name.clone(), reason };
            well_formed(&sysctl.name, &sysctl.value).map_err(refusal)?;
            Ok((normal(&sysctl.name), sysctl.value.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn spec(name: &str, value: &str, more: &Value) -> PodSpec {
        let mut spec =
            json!({ "containers": [], "securityContext": { "sysctls": [{ "name": name, "value": value }] } });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn modern() -> Allowlist {
        Allowlist::safe(Some((6, 1)))
    }

    fn refused(list: &Allowlist, name: &str) -> Option<String> {
        list.refusal(&spec(name, "1", &json!({})))
    }

    #[test]
    fn safe_ones_depend_on_the_kernel() {
        let count = |kernel| Allowlist::safe(kernel).names.len();
        assert_eq!(
            [
                count(None),
                count(Some((3, 15))),
                count(Some((4, 5))),
                count(Some((4, 6))),
                count(Some((5, 0)))
            ],
            [5, 5, 9, 10, 12]
        );
        assert_eq!(refused(&modern(), "net.ipv4.tcp_rmem"), None);
        let old = Allowlist::safe(Some((4, 14)));
        let message = "forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowlisted";
        assert_eq!(refused(&old, "net.ipv4.tcp_rmem").as_deref(), Some(message));
    }

    #[test]
    fn others_are_allowed_by_name_or_beginning_in_either_spelling() {
        let mut list = modern();
        assert_eq!(
            refused(&list, "kernel/msgmax").as_deref(),
            Some("forbidden sysctl: \"kernel.msgmax\" not allowlisted")
        );
        list.allow("kernel.msg*").unwrap();
        list.allow("net/ipv4/ip_forward").unwrap();
        for name in ["kernel.msgmax", "kernel/msgmnb", "net.ipv4.ip_forward", "kernel/shm_rmid_forced"] {
            assert_eq!(refused(&list, name), None, "{name}");
        }
        assert!(refused(&list, "net.ipv4.ip_forward_more").is_some());
    }

    #[test]
    fn what_cannot_be_allowed_is_told() {
        let mut list = modern();
        let reason = list.allow("vm.swappiness").unwrap_err();
        assert_eq!(reason, "\"vm.swappiness\" is not known to be namespaced");
        for pattern in ["*", "kernel.*", "kern*l", "net.*.x", "", "net..*", "net.ipv4 ", "Net.x", "net.-*"] {
            assert!(list.allow(pattern).is_err(), "{pattern}");
        }
        for pattern in ["net.*", "net/ipv4/*", "net.ipv4.tcp_*", "fs.mqueue.*", "kernel.sem"] {
            assert_eq!(list.allow(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn a_shared_namespace_is_not_the_pods_to_change() {
        let judged = |name, more: Value| modern().refusal(&spec(name, "1", &more));
        assert_eq!(
            judged("net.ipv4.tcp_syncookies", json!({ "hostNetwork": true })).as_deref(),
            Some("forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled")
        );
        assert_eq!(
            judged("kernel.shm_rmid_forced", json!({ "hostIPC": true })).as_deref(),
            Some("forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host ipc enabled")
        );
        assert_eq!(judged("kernel.shm_rmid_forced", json!({ "hostNetwork": true })), None);
    }

    #[test]
    fn a44_nothing_that_could_be_two_is_passed_on() {
        let mut list = modern();
        list.allow("net.*").unwrap();
        let safe = "kernel.shm_rmid_forced";
        for value in ["1+kernel.core_pattern=|/x", "1\nkernel.core_pattern", "1=2", "1\0", "1\u{e9}", "1\r"] {
            let spec = spec(safe, value, &json!({}));
            assert!(
                list.refusal(&spec).is_some_and(|why| why.starts_with("forbidden sysctl: ")),
                "{value:?}"
            );
            assert!(of_sandbox(&spec).is_err(), "{value:?}");
        }
        for name in ["net.a=1", "net.a+net.b", "net.a\nb", "net. a", "net.A", "net..a"] {
            let spec = spec(name, "1", &json!({}));
            assert!(list.refusal(&spec).is_some(), "{name:?}");
            assert!(of_sandbox(&spec).is_err(), "{name:?}");
        }
        for value in ["", "1024 65535", "0\t2147483647", "8080,9148-9150", "-1", "bbr"] {
            assert_eq!(list.refusal(&spec(safe, value, &json!({}))), None, "{value:?}");
        }
    }

    #[test]
    fn an_interface_with_a_dot_keeps_it() {
        assert_eq!(normal("net/ipv4/conf/eth0.1/rp_filter"), "net.ipv4.conf.eth0/1.rp_filter");
        assert_eq!(normal("net.ipv4.conf.eth0/1.rp_filter"), "net.ipv4.conf.eth0/1.rp_filter");
        assert_eq!(normal("plain"), "plain");
        let sent = of_sandbox(&spec("net/ipv4/tcp_syncookies", "0", &json!({}))).unwrap();
        assert_eq!(sent, BTreeMap::from([("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned())]));
    }

    proptest! {
        #[test]
        fn a44_what_is_sent_has_one_line_and_one_meaning(name in "\\PC{0,20}", value in "(?s).{0,20}") {
            if let Ok(sent) = of_sandbox(&spec(&name, &value, &json!({}))) {
                for text in sent.iter().flat_map(|(name, value)| [name, value]) {
                    prop_assert!(!text.contains(['+', '=', '\n', '\r', '\0']), "{text:?}");
                }
            }
        }

        #[test]
        fn spelling_twice_changes_nothing(name in "[a-c./]{0,12}") {
            prop_assert_eq!(normal(&normal(&name)), normal(&name));
        }
    }
}
