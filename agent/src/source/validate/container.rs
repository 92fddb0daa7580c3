//! What may be wrong with a container.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::{Faults, environment, names, ports, probes, resources, security, volumes};

pub(super) fn container(
    at: &str,
    item: &Container,
    volumes: &BTreeSet<&str>,
    init: bool,
    faults: &mut Faults,
) {
    name(at, item, faults);
    image(at, item, faults);
    let policy = item.termination_message_policy.as_deref();
    faults.one_of(format!("{at}.terminationMessagePolicy"), policy, &["File", "FallbackToLogsOnError"]);
    environment::environment(at, item, faults);
    ports::ports(at, item.ports.as_deref().unwrap_or_default(), faults);
    if let Some(requirements) = &item.resources {
        resources::requirements(&format!("{at}.resources"), requirements, faults);
    }
    if let Some(context) = &item.security_context {
        security::container(&format!("{at}.securityContext"), context, faults);
    }
    mounts(at, item.volume_mounts.as_deref().unwrap_or_default(), volumes, faults);
    devices(at, item, volumes, faults);
    restart(at, item, faults);
    probes::probes(at, item, init, faults);
}

fn name(at: &str, item: &Container, faults: &mut Faults) {
    let field = format!("{at}.name");
    if item.name.is_empty() {
        faults.add(field, "is missing");
    } else {
        faults.check(field, names::label(&item.name));
    }
}

fn image(at: &str, item: &Container, faults: &mut Faults) {
    let field = format!("{at}.image");
    match item.image.as_deref() {
        None | Some("") => faults.add(field, "is missing"),
        Some(image) => {
            faults.add_if(
                image.trim() != image,
                field,
                format!("is {image:?}, which begins or ends with a space"),
            );
        }
    }
    let policy = item.image_pull_policy.as_deref();
    faults.one_of(format!("{at}.imagePullPolicy"), policy, &["Always", "IfNotPresent", "Never"]);
}

fn mounts(at: &str, mounts: &[VolumeMount], volumes: &BTreeSet<&str>, faults: &mut Faults) {
    let mut paths = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let at = format!("{at}.volumeMounts[{index}]");
        known(&format!("{at}.name"), &mount.name, volumes, faults);
        // Stricter than upstream, which takes a relative path from the root.
        if mount.mount_path.is_empty() {
            faults.add(format!("{at}.mountPath"), "is missing");
        } else {
            let relative = !mount.mount_path.starts_with('/');
            faults.add_if(relative, format!("{at}.mountPath"), "is not an absolute path");
            faults.unique(&mut paths, &mount.mount_path, format!("{at}.mountPath"), "mount path");
        }
        let propagation = ["None", "HostToContainer", "Bidirectional"];
        faults.one_of(format!("{at}.mountPropagation"), mount.mount_propagation.as_deref(), &propagation);
        let recursive = ["Disabled", "IfPossible", "Enabled"];
        faults.one_of(format!("{at}.recursiveReadOnly"), mount.recursive_read_only.as_deref(), &recursive);
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (path, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
        faults.check(format!("{at}.subPath"), volumes::inner_path(&path));
        faults.check(format!("{at}.subPathExpr"), volumes::inner_path(&expression));
        let both = !path.is_empty() && !expression.is_empty();
        faults.add_if(both, format!("{at}.subPathExpr"), "cannot be combined with subPath");
    }
}

fn devices(at: &str, item: &Container, volumes: &BTreeSet<&str>, faults: &mut Faults) {
    for (index, device) in item.volume_devices.iter().flatten().enumerate() {
        let at = format!("{at}.volumeDevices[{index}]");
        known(&format!("{at}.name"), &device.name, volumes, faults);
        faults.add_if(device.device_path.is_empty(), format!("{at}.devicePath"), "is missing");
    }
}

fn known(field: &str, name: &str, volumes: &BTreeSet<&str>, faults: &mut Faults) {
    if name.is_empty() {
        faults.add(field, "is missing");
    } else {
        faults.add_if(!volumes.contains(name), field, format!("is {name:?}, but the pod has no such volume"));
    }
}

fn restart(at: &str, item: &Container, faults: &mut Faults) {
    let policy = item.restart_policy.as_deref();
    faults.one_of(format!("{at}.restartPolicy"), policy, &["Always", "OnFailure", "Never"]);
    let rules = item.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty());
    faults.add_if(
        rules && policy.is_none(),
        format!("{at}.restartPolicy"),
        "is missing, restartPolicyRules need it",
    );
    for (index, resize) in item.resize_policy.iter().flatten().enumerate() {
        let at = format!("{at}.resizePolicy[{index}]");
        faults.one_of(format!("{at}.resourceName"), Some(&resize.resource_name), &["cpu", "memory"]);
        let allowed = ["NotRequired", "RestartContainer"];
        faults.one_of(format!("{at}.restartPolicy"), Some(&resize.restart_policy), &allowed);
    }
}
