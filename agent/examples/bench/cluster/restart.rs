//! S-f: killed beside running pods and started again; nothing may happen to them.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Session, audit};
use crate::machine::cpu_of;
use crate::report::ms;

/// Away for so long.
const GONE: Duration = Duration::from_secs(1);
/// Watched for so long after the start.
const WATCHED: Duration = Duration::from_secs(15);

impl Session<'_> {
    pub(super) async fn restart(&mut self, pods: usize) -> Result<()> {
        let before = (self.disturbed(), self.witness.node().lost);
        self.subject.kill()?;
        tokio::time::sleep(GONE).await;
        let log = audit::end(&self.setting.audit)?;
        let began = self.subject.start()?;
        let whole = self.subject.until_complete(pods).await?;
        tokio::time::sleep(WATCHED.saturating_sub(Instant::now().saturating_duration_since(began))).await;
        let title = format!("restart with {pods}");
        let took = ms(whole.saturating_duration_since(began));
        self.add(&format!("{title}: exec -> own view complete"), "ms", took);
        let cpu = ms(cpu_of(self.subject.pid()?)?);
        self.add(&format!("{title}: CPU in {} s", WATCHED.as_secs()), "ms", cpu);
        let calls = audit::since(&self.setting.audit, log, &self.subject.node)?;
        let writes = calls.iter().filter(|(call, _)| !call.starts_with("get") && !call.starts_with("list"));
        let writes: usize = writes.map(|(_, count)| count).sum();
        self.add(&format!("{title}: API writes about pods"), "", writes as f64);
        let disturbed = f64::from(self.disturbed().saturating_sub(before.0));
        self.add(&format!("{title}: pods disturbed"), "", disturbed);
        let lost = f64::from(self.witness.node().lost.saturating_sub(before.1));
        self.add(&format!("{title}: node seen not Ready"), "times", lost);
        Ok(())
    }

    /// Pods that restarted or were not Ready for a time.
    fn disturbed(&self) -> u32 {
        let pods = self.witness.pods();
        let here = pods.values().filter(|seen| seen.gone.is_none());
        here.map(|seen| u32::from(seen.flips > 0 || seen.restarts > 0)).sum()
    }
}
