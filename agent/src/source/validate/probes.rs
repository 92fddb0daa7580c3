//! What may be wrong with probes and lifecycle hooks.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Faults, names, ports};

pub(super) fn probes(at: &str, item: &Container, init: bool, faults: &mut Faults) {
    let sidecar = item.restart_policy.as_deref() == Some("Always");
    let probes = [
        ("livenessProbe", &item.liveness_probe, true),
        ("readinessProbe", &item.readiness_probe, false),
        ("startupProbe", &item.startup_probe, true),
    ];
    for (name, probe, once) in probes {
        let Some(probe) = probe else { continue };
        let at = format!("{at}.{name}");
        faults.add_if(
            init && !sidecar,
            at.as_str(),
            "is for containers that keep running, not for init containers",
        );
        one(&at, probe, once, faults);
    }
    if let Some(lifecycle) = &item.lifecycle {
        let hooks = [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)];
        for (name, hook) in hooks {
            if let Some(hook) = hook {
                handler(&format!("{at}.lifecycle.{name}"), hook, faults);
            }
        }
    }
}

fn one(at: &str, probe: &Probe, once: bool, faults: &mut Faults) {
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds, 0),
        ("timeoutSeconds", probe.timeout_seconds, 1),
        ("periodSeconds", probe.period_seconds, 1),
        ("successThreshold", probe.success_threshold, 1),
        ("failureThreshold", probe.failure_threshold, 1),
    ];
    for (name, value, least) in numbers {
        faults.at_least(format!("{at}.{name}"), value.map(i64::from), least);
    }
    let field = format!("{at}.terminationGracePeriodSeconds");
    faults.at_least(field.as_str(), probe.termination_grace_period_seconds, 1);
    faults.add_if(
        !once && probe.termination_grace_period_seconds.is_some(),
        field,
        "is not for readiness probes",
    );
    let more = once && probe.success_threshold.is_some_and(|threshold| threshold > 1);
    faults.add_if(more, format!("{at}.successThreshold"), "must be 1 for liveness and startup probes");
    let kinds =
        [probe.exec.is_some(), probe.grpc.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some()];
    exactly_one(at, kinds.into_iter().filter(|set| *set).count(), faults);
    if let Some(exec) = &probe.exec {
        command(at, exec.command.as_deref(), faults);
    }
    if let Some(grpc) = &probe.grpc {
        faults.check(format!("{at}.grpc.port"), ports::number(grpc.port));
    }
    if let Some(get) = &probe.http_get {
        port(&format!("{at}.httpGet.port"), &get.port, faults);
        faults.one_of(format!("{at}.httpGet.scheme"), get.scheme.as_deref(), &["HTTP", "HTTPS"]);
    }
    if let Some(tcp) = &probe.tcp_socket {
        port(&format!("{at}.tcpSocket.port"), &tcp.port, faults);
    }
}

fn handler(at: &str, hook: &LifecycleHandler, faults: &mut Faults) {
    let kinds =
        [hook.exec.is_some(), hook.http_get.is_some(), hook.sleep.is_some(), hook.tcp_socket.is_some()];
    exactly_one(at, kinds.into_iter().filter(|set| *set).count(), faults);
    if let Some(exec) = &hook.exec {
        command(at, exec.command.as_deref(), faults);
    }
    if let Some(get) = &hook.http_get {
        port(&format!("{at}.httpGet.port"), &get.port, faults);
        faults.one_of(format!("{at}.httpGet.scheme"), get.scheme.as_deref(), &["HTTP", "HTTPS"]);
    }
    if let Some(sleep) = &hook.sleep {
        faults.at_least(format!("{at}.sleep.seconds"), Some(sleep.seconds), 0);
    }
}

fn exactly_one(at: &str, kinds: usize, faults: &mut Faults) {
    faults.add_if(kinds != 1, at, format!("has {kinds} handlers, expected one"));
}

fn command(at: &str, words: Option<&[String]>, faults: &mut Faults) {
    faults.add_if(words.is_none_or(<[String]>::is_empty), format!("{at}.exec.command"), "is missing");
}

fn port(field: &str, port: &IntOrString, faults: &mut Faults) {
    match port {
        IntOrString::Int(number) => faults.check(field, ports::number(*number)),
        IntOrString::String(name) => faults.check(field, names::port_name(name)),
    }
}
