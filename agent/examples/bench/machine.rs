//! What the machine is and does, and what a process used of it. Reads /proc.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Share of time, in percent over ten seconds, in which somebody waited for a CPU; above it, figures are not to be
/// compared with those of another run.
pub(crate) const BUSY: f64 = 10.0;

/// One line: processor, number of them, memory, kernel, load.
pub(crate) fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let (cpus, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let number = cpus.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "machine: {number} x {}, {}, Linux {}, load {}",
        field(&cpus, "model name"),
        field(&memory, "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
    )
}

/// Percent of the last ten seconds in which somebody waited for a CPU; none where the kernel does not tell.
pub(crate) fn pressure() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    text.split_once("avg10=")?.1.split(' ').next()?.parse().ok()
}

/// CPU time of this process so far.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// CPU time of another process so far, threads that ended included.
pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?;
    Ok(clock_gettime(clock)?.into())
}

/// How often each living thread of a process went to sleep and was woken.
pub(crate) fn wakeups_of(pid: u32) -> Result<BTreeMap<OsString, u64>> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        threads.insert(task.file_name(), number_after(&status, "voluntary_ctxt_switches:").unwrap_or(0));
    }
    Ok(threads)
}

/// Wake-ups between two looks, but for those of threads that ended meanwhile.
pub(crate) fn wakeups_between(before: &BTreeMap<OsString, u64>, after: &BTreeMap<OsString, u64>) -> u64 {
    let since =
        |(thread, count): (&OsString, &u64)| count.saturating_sub(before.get(thread).copied().unwrap_or(0));
    after.iter().map(since).sum()
}

/// Memory of a process in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    pub(crate) pss: u64,
    pub(crate) anonymous: u64,
}

/// Memory of a process.
pub(crate) fn memory_of(pid: u32) -> Result<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .context("failed to read smaps_rollup")?;
    let field = |key: &str| number_after(&text, key).with_context(|| format!("no {key} in smaps_rollup"));
    Ok(Memory { rss: field("Rss:")?, pss: field("Pss:")?, anonymous: field("Pss_Anon:")? })
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The process that runs with `word` among its arguments.
pub(crate) fn pid_with_argument(word: &str) -> Option<i32> {
    std::fs::read_dir("/proc").ok()?.find_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
        arguments.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()).then_some(pid)
    })
}
