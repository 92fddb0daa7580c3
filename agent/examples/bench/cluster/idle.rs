//! S-a: what a subject costs while nothing happens.

use anyhow::Result;

use super::{Session, audit};
use crate::machine::{cpu_of, memory_of, wakeups_between, wakeups_of};
use crate::report::ms;

impl Session<'_> {
    pub(super) async fn idle(&mut self, pods: usize) -> Result<()> {
        tokio::time::sleep(self.setting.settle).await;
        let (pid, daemon) = (self.subject.pid()?, self.setting.runtime(self.subject.kind.name())?.pid);
        let before = (cpu_of(pid)?, cpu_of(daemon)?, wakeups_of(pid)?, audit::end(&self.setting.audit)?);
        tokio::time::sleep(self.setting.window).await;
        let after = (cpu_of(pid)?, cpu_of(daemon)?, wakeups_of(pid)?);
        let seconds = self.setting.window.as_secs_f64();
        let minute = 60.0 / seconds;
        let title = format!("idle with {pods}");
        self.add(&format!("{title}: CPU per minute"), "ms", ms(after.0.saturating_sub(before.0)) * minute);
        let daemon = ms(after.1.saturating_sub(before.1)) * minute;
        self.add(&format!("{title}: containerd's daemon, CPU per minute"), "ms", daemon);
        let wakeups = wakeups_between(&before.2, &after.2) as f64 / seconds;
        self.add(&format!("{title}: wake-ups"), "per s", wakeups);
        let calls: usize =
            audit::since(&self.setting.audit, before.3, &self.subject.node)?.into_values().sum();
        self.add(&format!("{title}: API calls about pods"), "per min", calls as f64 * minute);
        let memory = memory_of(pid)?;
        for (what, kib) in [("RSS", memory.rss), ("PSS", memory.pss), ("of it anonymous", memory.anonymous)] {
            self.add(&format!("{title}: {what}"), "MiB", kib as f64 / 1024.0);
        }
        Ok(())
    }
}
