//! Where log lines go and which are written: standard error, as text or JSON, by the kubelet's `--v`.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::config::flags::LogFormat;

/// Crates of this workspace; the rest is logged one step less.
const OWN: [&str; 5] = ["pinnace", "pinnace_cri", "pinnace_gc", "pinnace_pleg", "pinnace_prober"];

/// Installs the subscriber of this process. A second call changes nothing.
pub fn install(format: LogFormat, verbosity: u32) {
    let (own, others) = levels(verbosity);
    let filter = Targets::new().with_default(others).with_targets(OWN.map(|name| (name, own)));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    // An error means that one is installed already, as in tests.
    let _ = match format {
        LogFormat::Text => registry.with(lines.with_filter(filter)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_filter(filter)).try_init(),
    };
}

/// Levels of our own crates and of the others.
fn levels(verbosity: u32) -> (LevelFilter, LevelFilter) {
    match verbosity {
        0..=3 => (LevelFilter::INFO, LevelFilter::WARN),
        4..=5 => (LevelFilter::DEBUG, LevelFilter::INFO),
        6..=7 => (LevelFilter::TRACE, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::DEBUG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_verbosity_never_says_less() {
        for verbosity in 0..10 {
            let ((own, others), (next_own, next_others)) = (levels(verbosity), levels(verbosity + 1));
            assert!(next_own >= own && next_others >= others, "{verbosity}");
            assert!(own >= LevelFilter::INFO && others <= own);
        }
        assert_eq!(levels(4).0, LevelFilter::DEBUG);
    }
}
