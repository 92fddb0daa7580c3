//! Which fields of the two security contexts hold a pod.

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

use super::{Filled, Holds, Inherited};

pub(super) fn pod(context: &PodSecurityContext, holds: &mut Holds) {
    let PodSecurityContext {
        app_armor_profile,
        fs_group: _,
        fs_group_change_policy: _,
        run_as_group: _,
        run_as_non_root: _, // judged per container, where the user is known
        run_as_user: _,
        se_linux_change_policy: _,
        se_linux_options,
        seccomp_profile,
        supplemental_groups: _,
        supplemental_groups_policy,
        sysctls,
        windows_options,
    } = context;
    let at = "spec.securityContext";
    holds.hold_if(app_armor_profile.is_some(), at, "appArmorProfile");
    holds.hold_if(se_linux_options.is_some(), at, "seLinuxOptions");
    seccomp(seccomp_profile);
    holds.hold_if(supplemental_groups_policy.as_deref() == Some("Strict"), at, "supplementalGroupsPolicy");
    holds.hold_if(sysctls.filled(), at, "sysctls");
    holds.hold_if(windows_options.is_some(), at, "windowsOptions");
}

pub(super) fn container(
    at: &str,
    context: Option<&SecurityContext>,
    inherited: Inherited,
    holds: &mut Holds,
) {
    let at = &format!("{at}.securityContext");
    let own = context.and_then(|context| own(at, context, holds));
    let user = context.and_then(|context| context.run_as_user).or(inherited.run_as_user);
    if user.is_some() {
        return;
    }
    // Who the image would run as is not asked yet, so the promise could not be checked.
    match (own, inherited.run_as_non_root) {
        (Some(true), _) => holds.hold(format!("{at}.runAsNonRoot")),
        (None, Some(true)) => {
            let field = "spec.securityContext.runAsNonRoot";
            if !holds.held.iter().any(|held| held.field == field) {
                holds.hold(field.to_owned());
            }
        }
        (Some(false) | None, _) => {}
    }
}

/// Holds what the container's own context asks for; returns its `runAsNonRoot`.
fn own(at: &str, context: &SecurityContext, holds: &mut Holds) -> Option<bool> {
    let SecurityContext {
        allow_privilege_escalation: _,
        app_armor_profile,
        capabilities,
        privileged: _,
        proc_mount,
        read_only_root_filesystem: _,
        run_as_group: _,
        run_as_non_root,
        run_as_user: _,
        se_linux_options,
        seccomp_profile,
        windows_options,
    } = context;
    holds.hold_if(app_armor_profile.is_some(), at, "appArmorProfile");
    if let Some(capabilities) = capabilities {
        // Both lists are built.
        let Capabilities { add: _, drop: _ } = capabilities;
    }
    holds.hold_if(proc_mount.as_deref().is_some_and(|mount| mount != "Default"), at, "procMount");
    holds.hold_if(se_linux_options.is_some(), at, "seLinuxOptions");
    seccomp(seccomp_profile);
    holds.hold_if(windows_options.is_some(), at, "windowsOptions");
    *run_as_non_root
}

/// All three kinds of profile are built; taken apart so that a new field is noticed.
fn seccomp(profile: &Option<SeccompProfile>) {
    if let Some(profile) = profile {
        let SeccompProfile { localhost_profile: _, type_: _ } = profile;
    }
}
