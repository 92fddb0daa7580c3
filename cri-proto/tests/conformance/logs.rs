//! Logs of containers on disk.

use std::sync::Arc;

use crate::bench::{Bench, Outcome, check};

pub(crate) async fn output_is_written_in_the_cri_format(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench
        .start(&pod, "main", &["sh", "-c", "echo one; echo two >&2; sleep 1; echo three; echo -n four"])
        .await?;
    let status = bench.exited(&container).await?;
    let expected = std::path::Path::new(&pod.config.log_directory).join("main.log");
    check!(std::path::Path::new(&status.log_path) == expected, "{status:?}");
    let log = std::fs::read_to_string(&expected).unwrap_or_default();
    let mut seen = Vec::new();
    for line in log.lines() {
        let Some((stamp, rest)) = line.split_once(' ') else { continue };
        // 2026-01-01T00:00:00.123456789 and a zone.
        check!(stamp.len() > 20 && stamp.as_bytes().get(10) == Some(&b'T'), "{line}");
        seen.push(rest);
    }
    seen.sort_unstable();
    check!(seen == ["stderr F two", "stdout F one", "stdout F three", "stdout P four"], "{log}");
    Ok(())
}
