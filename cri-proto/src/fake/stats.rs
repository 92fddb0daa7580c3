//! Usage figures of containers and pods. A running container uses what it was told to; the default is 10
//! millicores and 1 MiB.

use std::collections::BTreeMap;

use tonic::Status;

use super::Fake;
use super::filter;
use super::lock::lock;
use super::record::{AsOf, Container, Phase, Sandbox};
use super::view;
use crate::v1;

/// What a container uses while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time per second, in nanocores.
    pub nano_cores: u64,
    /// Memory in bytes, all of it in the working set.
    pub memory_bytes: u64,
    /// Bytes in its writable layer.
    pub disk_bytes: u64,
    /// Inodes in its writable layer.
    pub inodes: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { nano_cores: 10_000_000, memory_bytes: 1024 * 1024, disk_bytes: 4096, inodes: 10 }
    }
}

/// What was told, by container id.
pub(super) type Usages = BTreeMap<String, Usage>;

fn value(value: u64) -> Option<v1::UInt64Value> {
    Some(v1::UInt64Value { value })
}

/// Processor nanoseconds used after `ran` nanoseconds.
fn cpu_used(usage: Usage, ran: i64) -> u64 {
    let ran = u128::try_from(ran).unwrap_or(0);
    let used = ran.saturating_mul(u128::from(usage.nano_cores)) / 1_000_000_000;
    u64::try_from(used).unwrap_or(u64::MAX)
}

fn memory(now: i64, bytes: u64) -> v1::MemoryUsage {
    v1::MemoryUsage {
        timestamp: now,
        working_set_bytes: value(bytes),
        usage_bytes: value(bytes),
        rss_bytes: value(bytes),
        ..Default::default()
    }
}

impl Fake {
    /// Sets what a container uses from now on.
    pub fn set_usage(&self, container_id: &str, usage: Usage) {
        lock(&self.inner.usage).insert(container_id.to_owned(), usage);
    }

    fn stats(&self, container: &Container, now: i64) -> v1::ContainerStats {
        let usage = lock(&self.inner.usage).get(&container.id).copied().unwrap_or_default();
        let mut stats = v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes {
                id: container.id.clone(),
                metadata: container.config.metadata.clone(),
                labels: container.config.labels.clone(),
                annotations: container.config.annotations.clone(),
            }),
            writable_layer: Some(v1::FilesystemUsage {
                timestamp: now,
                fs_id: Some(v1::FilesystemIdentifier {
                    mountpoint: self.inner.options.root.to_string_lossy().into_owned(),
                }),
                used_bytes: value(usage.disk_bytes),
                inodes_used: value(usage.inodes),
            }),
            ..Default::default()
        };
        if let Phase::Running { started_at } = container.phase {
            stats.cpu = Some(v1::CpuUsage {
                timestamp: now,
                usage_core_nano_seconds: value(cpu_used(usage, now.saturating_sub(started_at))),
                usage_nano_cores: value(usage.nano_cores),
                ..Default::default()
            });
            stats.memory = Some(memory(now, usage.memory_bytes));
        }
        stats
    }

    pub(super) fn stats_of_container(&self, id: &str) -> Result<v1::ContainerStats, Status> {
        let state = lock(&self.inner.state);
        let container = state.container(id)?;
        match container.phase {
            Phase::Running { .. } => Ok(self.stats(container, state.wall())),
            // The words of containerd, which asks the process and gets nothing.
            _ => Err(Status::unknown("unexpected metrics response: []")),
        }
    }

    pub(super) fn stats_of_containers(
        &self,
        filter: Option<&v1::ContainerStatsFilter>,
    ) -> Vec<v1::ContainerStats> {
        let state = lock(&self.inner.state);
        let now = state.wall();
        let running = state.containers.values().filter(|c| matches!(c.phase, Phase::Running { .. }));
        let faults = &self.inner.faults;
        running
            .filter(|c| filter::container_stats_fit(filter, &view::container(c, AsOf::Now, faults)))
            .map(|container| self.stats(container, now))
            .collect()
    }

    pub(super) fn stats_of_sandbox(&self, id: &str) -> Result<v1::PodSandboxStats, Status> {
        let state = lock(&self.inner.state);
        let sandbox = state.sandbox(id)?;
        let members: Vec<&Container> =
            state.containers.values().filter(|c| c.sandbox_id == sandbox.id).collect();
        Ok(self.pod_stats(sandbox, &members, state.wall()))
    }

    pub(super) fn stats_of_sandboxes(
        &self,
        filter: Option<&v1::PodSandboxStatsFilter>,
    ) -> Vec<v1::PodSandboxStats> {
        let faults = &self.inner.faults;
        let ids: Vec<String> = {
            let state = lock(&self.inner.state);
            let fits = |s: &&Sandbox| filter::sandbox_stats_fit(filter, &view::sandbox(s, AsOf::Now, faults));
            state.sandboxes.values().filter(fits).map(|sandbox| sandbox.id.clone()).collect()
        };
        ids.iter().filter_map(|id| self.stats_of_sandbox(id).ok()).collect()
    }

    fn pod_stats(&self, sandbox: &Sandbox, members: &[&Container], now: i64) -> v1::PodSandboxStats {
        let containers: Vec<v1::ContainerStats> = members
            .iter()
            .filter(|container| matches!(container.phase, Phase::Running { .. }))
            .map(|container| self.stats(container, now))
            .collect();
        let sum = |part: fn(&v1::ContainerStats) -> Option<u64>| {
            containers.iter().filter_map(part).fold(0_u64, u64::saturating_add)
        };
        let cpu_total = sum(|s| s.cpu.as_ref()?.usage_core_nano_seconds.as_ref().map(|v| v.value));
        let cpu_rate = sum(|s| s.cpu.as_ref()?.usage_nano_cores.as_ref().map(|v| v.value));
        let bytes = sum(|s| s.memory.as_ref()?.working_set_bytes.as_ref().map(|v| v.value));
        let processes = u64::try_from(containers.len()).unwrap_or(u64::MAX);
        v1::PodSandboxStats {
            attributes: Some(v1::PodSandboxAttributes {
                id: sandbox.id.clone(),
                metadata: sandbox.config.metadata.clone(),
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(v1::LinuxPodSandboxStats {
                cpu: Some(v1::CpuUsage {
                    timestamp: now,
                    usage_core_nano_seconds: value(cpu_total),
                    usage_nano_cores: value(cpu_rate),
                    ..Default::default()
                }),
                memory: Some(memory(now, bytes)),
                process: Some(v1::ProcessUsage { timestamp: now, process_count: value(processes) }),
                containers,
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}
