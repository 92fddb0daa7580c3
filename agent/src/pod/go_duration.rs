//! Durations as Go prints them (`40s`, `1m20s`, `5m0s`), which users know from the kubelet's messages.

use std::time::Duration;

/// Formats whole seconds; a fraction is cut off.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_go_prints() {
        let text = |seconds| go_duration(Duration::from_secs(seconds));
        assert_eq!(
            [text(0), text(40), text(80), text(300), text(3661)],
            ["0s", "40s", "1m20s", "5m0s", "1h1m1s"]
        );
    }
}
