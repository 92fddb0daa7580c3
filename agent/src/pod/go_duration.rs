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

/// Formats with a fraction of at most milliseconds, as in `Successfully pulled image … in 1.234s`.
#[must_use]
pub fn go_duration_millis(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, millis) {
        (0, 0) => "0s".to_owned(),
        (0, millis) => format!("{millis}ms"),
        (_, 0) => go_duration(duration),
        _ => {
            let fraction = format!("{millis:03}");
            let whole = go_duration(duration);
            format!("{}.{}s", whole.trim_end_matches('s'), fraction.trim_end_matches('0'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_those_of_go() {
        let text = |millis| go_duration_millis(Duration::from_millis(millis));
        assert_eq!(
            [text(0), text(7), text(1_000), text(1_230), text(80_005), text(3_600_100)],
            ["0s", "7ms", "1s", "1.23s", "1m20.005s", "1h0m0.1s"]
        );
    }

    #[test]
    fn prints_what_go_prints() {
        let text = |seconds| go_duration(Duration::from_secs(seconds));
        assert_eq!(
            [text(0), text(40), text(80), text(300), text(3661)],
            ["0s", "40s", "1m20s", "5m0s", "1h1m1s"]
        );
    }
}
