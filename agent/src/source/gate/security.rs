//! Which fields of the two security contexts hold a pod: only those for another system. Each struct is taken apart, so
//! that a new field is noticed.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Capabilities, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
    Sysctl,
};

use super::Holds;

pub(super) fn pod(context: &PodSecurityContext, holds: &mut Holds) {
    let PodSecurityContext {
        app_armor_profile,
        fs_group: _,
        fs_group_change_policy: _,
        run_as_group: _,
        run_as_non_root: _,
        run_as_user: _,
        se_linux_change_policy: _,
        se_linux_options,
        seccomp_profile,
        supplemental_groups: _,
        supplemental_groups_policy: _,
        sysctls,
        windows_options,
    } = context;
    profiles(app_armor_profile, se_linux_options, seccomp_profile);
    for sysctl in sysctls.iter().flatten() {
        let Sysctl { name: _, value: _ } = sysctl;
    }
    holds.hold_if(windows_options.is_some(), "spec.securityContext", "windowsOptions");
}

pub(super) fn container(at: &str, context: &SecurityContext, holds: &mut Holds) {
    let SecurityContext {
        allow_privilege_escalation: _,
        app_armor_profile,
        capabilities,
        privileged: _,
        proc_mount: _,
        read_only_root_filesystem: _,
        run_as_group: _,
        run_as_non_root: _,
        run_as_user: _,
        se_linux_options,
        seccomp_profile,
        windows_options,
    } = context;
    if let Some(capabilities) = capabilities {
        let Capabilities { add: _, drop: _ } = capabilities;
    }
    profiles(app_armor_profile, se_linux_options, seccomp_profile);
    holds.hold_if(windows_options.is_some(), &format!("{at}.securityContext"), "windowsOptions");
}

/// All of these is built.
fn profiles(
    app_armor: &Option<AppArmorProfile>,
    se_linux: &Option<SELinuxOptions>,
    seccomp: &Option<SeccompProfile>,
) {
    if let Some(profile) = app_armor {
        let AppArmorProfile { localhost_profile: _, type_: _ } = profile;
    }
    if let Some(labels) = se_linux {
        let SELinuxOptions { level: _, role: _, type_: _, user: _ } = labels;
    }
    if let Some(profile) = seccomp {
        let SeccompProfile { localhost_profile: _, type_: _ } = profile;
    }
}
