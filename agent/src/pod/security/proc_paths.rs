//! What of /proc and /sys a container does not see, or sees read-only. Pure.

use super::Refusal;

/// Paths that a container without `procMount: Unmasked` does not see (`pkg/securitycontext/util.go`).
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths that it sees read-only (the same source).
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The two lists of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    pub(super) masked: Vec<String>,
    pub(super) read_only: Vec<String>,
}

/// By its `procMount`. A privileged container's are sent as well: the runtime passes over them.
pub(super) fn of(proc_mount: Option<&str>, of_this_machine: &[String]) -> Result<Hidden, Refusal> {
    match proc_mount {
        None | Some("" | "Default") => {
            let masked = MASKED.iter().map(|path| (*path).to_owned());
            Ok(Hidden {
                masked: masked.chain(of_this_machine.iter().cloned()).collect(),
                read_only: READ_ONLY.iter().map(|path| (*path).to_owned()).collect(),
            })
        }
        Some("Unmasked") => Ok(Hidden::default()),
        Some(other) => Err(Refusal::Unknown { field: "procMount", value: other.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_paths_are_masked_too() {
        let throttle = ["/sys/devices/system/cpu/cpu0/thermal_throttle".to_owned()];
        let hidden = of(None, &throttle).unwrap();
        assert_eq!((hidden.masked.len(), hidden.read_only.len()), (13, 5));
        assert_eq!(hidden.masked.last(), throttle.first());
        assert_eq!(of(Some("Default"), &throttle).unwrap(), hidden);
        assert_eq!(of(Some("Unmasked"), &throttle).unwrap(), Hidden::default());
        assert!(of(Some("unmasked"), &throttle).is_err());
    }
}
