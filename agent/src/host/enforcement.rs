//! What of the kernel concerns the confinement of pods. Parsers are pure; [`read`] is thin.

use std::path::Path;

const CPUS: &str = "/sys/devices/system/cpu";

/// What this machine's kernel offers and shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcement {
    /// Major and minor version; none if it is not told.
    pub kernel: Option<(u32, u32)>,
    /// AppArmor is enabled.
    pub app_armor: bool,
    /// SELinux is enabled.
    pub se_linux: bool,
    /// Counters of each CPU's throttling, by which one container could watch another's work.
    pub throttling: Vec<String>,
}

/// Reads this machine.
#[must_use]
pub fn read() -> Enforcement {
    let release = nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned());
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    Enforcement {
        kernel: version(&release.unwrap_or_default()),
        app_armor: Path::new("/sys/kernel/security/apparmor").exists()
            && is_enabled(&text("/sys/module/apparmor/parameters/enabled")),
        se_linux: is_labelling(&text("/proc/self/mounts"), &text("/proc/self/attr/current")),
        throttling: throttling(Path::new(CPUS)),
    }
}

/// Of a release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let (major, rest) = release.split_once('.')?;
    let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest.get(..digits)?.parse().ok()?))
}

fn is_enabled(parameter: &str) -> bool {
    parameter.starts_with('Y')
}

/// Whether files and processes have labels of SELinux: its file system can be written to, and a policy has given this
/// process another label than the first one of all. As the library decides that runtimes use.
fn is_labelling(mounts: &str, label: &str) -> bool {
    let writable = |line: &str| {
        let mut words = line.split(' ').skip(2);
        let is_its = words.next() == Some("selinuxfs");
        is_its && words.next().is_some_and(|options| options.split(',').all(|option| option != "ro"))
    };
    mounts.lines().any(writable) && label.trim_end_matches(['\0', '\n']) != "kernel"
}

/// In the order of the CPUs.
fn throttling(cpus: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(cpus).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.strip_prefix("cpu")?.parse().ok()?;
        let path = entry.path().join("thermal_throttle");
        path.exists().then(|| (number, path.to_string_lossy().into_owned()))
    });
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort_unstable();
    numbered.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_two_numbers_in_front() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("4.15-rc1"), Some((4, 15)));
        assert_eq!(version("5.4"), Some((5, 4)));
        assert_eq!((version(""), version("6"), version("a.b")), (None, None, None));
    }

    #[test]
    fn a_parameter_says_yes_or_not() {
        assert!(is_enabled("Y\n"));
        assert!(!is_enabled("N\n") && !is_enabled(""));
    }

    #[test]
    fn labels_need_a_file_system_and_a_policy() {
        let mounts = "proc /proc proc rw 0 0\nselinuxfs /sys/fs/selinux selinuxfs rw,nosuid 0 0\n";
        let label = "system_u:system_r:unconfined_service_t:s0\0";
        assert!(is_labelling(mounts, label));
        assert!(!is_labelling(mounts, "kernel\0") && !is_labelling(mounts, "kernel\n"));
        assert!(!is_labelling(&mounts.replace("rw,", "ro,"), label));
        assert!(!is_labelling("proc /proc proc rw 0 0\nselinuxfs /x tmpfs rw 0 0\n", label));
    }

    #[test]
    fn each_cpu_with_counters_has_a_path() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cpu10/thermal_throttle", "cpu2/thermal_throttle", "cpu3", "cpufreq/thermal_throttle"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let shown = throttling(dir.path());
        let wanted = ["cpu2", "cpu10"].map(|cpu| format!("{}/{cpu}/thermal_throttle", dir.path().display()));
        assert_eq!(shown, wanted);
        assert_eq!(throttling(Path::new("/no/such")), Vec::<String>::new());
    }
}
