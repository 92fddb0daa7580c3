//! Whether the runtime has known holes through which an image or a pod gets at the node. Waits for its version; writes one
//! line to the log and one event of the node; ends with the stop token. A version that changes is told of again.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::events::{EventLog, Object};
use crate::runtime::watch::RuntimeState;

/// The first release of each line of containerd without CVE-2026-53488 (a label of an image runs a command of the host's
/// root), CVE-2026-53489 and CVE-2026-47262. Older lines have no such release.
const FIXED: [((u32, u32), u32); 5] = [((1, 7), 33), ((2, 0), 10), ((2, 1), 9), ((2, 2), 8), ((2, 3), 2)];
/// Lines from here on came later.
const NEXT: (u32, u32) = (2, 4);

/// What is wrong with a runtime of this name and version; none if nothing is known. Pure.
#[must_use]
pub fn of(version: &str) -> Option<String> {
    let (name, number) = version.split_once(' ')?;
    if name != "containerd" {
        return None;
    }
    let (line, patch) = parse(number)?;
    let fixed = FIXED.iter().find(|(known, _)| *known == line).map(|(_, patch)| *patch);
    if line >= NEXT || fixed.is_some_and(|fixed| patch >= fixed) {
        return None;
    }
    let (major, minor) = line;
    let to = match fixed {
        Some(fixed) => format!("{major}.{minor}.{fixed}"),
        None => "1.7.33 or 2.2.8".to_owned(),
    };
    Some(format!(
        "{version} lets an image run commands as the host's root (CVE-2026-53488, CVE-2026-53489, CVE-2026-47262) unless \
         its packager mended that: update it to {to} or newer"
    ))
}

/// Line and patch of `v2.2.1`, `1.6.20~ds1` and the like.
fn parse(number: &str) -> Option<((u32, u32), u32)> {
    let mut parts = number.trim_start_matches('v').splitn(3, '.');
    let (major, minor, patch) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = patch.find(|character: char| !character.is_ascii_digit()).unwrap_or(patch.len());
    Some(((major.parse().ok()?, minor.parse().ok()?), patch.get(..digits)?.parse().ok()?))
}

/// Tells of it.
pub async fn tell(
    mut runtime: watch::Receiver<RuntimeState>,
    events: EventLog,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut told = None;
    loop {
        let version = runtime.borrow_and_update().version.clone();
        if version.is_some() && version != told {
            if let Some(found) = version.as_deref().and_then(of) {
                tracing::warn!(found, "the runtime has known holes");
                events.warning(Object::node(""), "RuntimeOutdated", &found, clock.now().wall);
            }
            told = version;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = runtime.changed() => if changed.is_err() { return stop.cancelled().await },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a51_lines_are_judged_by_their_own_fix() {
        for old in ["1.6.20~ds1", "1.7.32", "v2.0.9", "v2.1.0", "v2.2.7", "v2.2.1", "2.3.1", "1.4.3-rc.1"] {
            assert!(of(&format!("containerd {old}")).is_some(), "{old}");
        }
        for new in ["1.7.33", "v2.0.10", "2.1.9", "v2.2.8", "2.2.10+x", "v2.3.2", "v2.4.0", "v3.0.0-beta.1"] {
            assert_eq!(of(&format!("containerd {new}")), None, "{new}");
        }
        for other in ["cri-o 1.30.0", "containerd", "containerd unknown", "fake-cri 1.0.0", ""] {
            assert_eq!(of(other), None, "{other}");
        }
        let found = of("containerd v2.2.1").unwrap();
        assert!(found.ends_with("update it to 2.2.8 or newer"), "{found}");
    }
}
