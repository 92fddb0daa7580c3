//! The static pod directory: the loop that turns its files into desired pods.
//!
//! Owns the record of every manifest. Woken by inotify, by a rescan every `fileCheckFrequency` and, after an
//! absence or a half-written file, by a second look soon after. Writes one watch value, [`Desired`], and where
//! there is no API server the ConfigMaps and Secrets of the directory. Ends with its stop token. Events only say "look again": a lost one costs a rescan's period.
//!
//! ```text
//! directory ─ look (blocking thread) ─→ Look ─ decide ─→ State ─→ watch<Desired>
//! ```

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::desired::{Desired, DesiredPod, Problem};
use crate::clock::Clock;
use crate::objects::Objects;
use crate::wait::at;
use hints::Hints;
use judge::Ground;
use notice::Notice;
use scan::{Look, State};

mod hints;
mod judge;
mod look;
mod notice;
mod scan;

/// Shortest time between two rescans, for a configuration that asks for none.
const LEAST_PERIOD: Duration = Duration::from_millis(10);

/// What the loop is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// `staticPodPath`: a directory of manifests, or one manifest.
    pub path: PathBuf,
    /// `fileCheckFrequency`: the longest time between two looks; 20 s in the kubelet.
    pub period: Duration,
    /// The node's name.
    pub node: String,
}

/// The loop over the static pod directory.
#[derive(Debug)]
pub struct Files {
    config: Config,
    clock: Clock,
    out: watch::Sender<Arc<Desired>>,
    state: State,
    hints: Hints,
    notice: Notice,
    /// Where no API server is configured: whom ConfigMaps and Secrets are told to.
    objects: Option<Objects>,
}

impl Files {
    /// A loop that continues with the pods that were `admitted` when the agent last ran: at most one for each
    /// file, else the last of them counts.
    #[must_use]
    pub fn new(
        config: Config,
        clock: Clock,
        admitted: Vec<Arc<DesiredPod>>,
        out: watch::Sender<Arc<Desired>>,
    ) -> Self {
        let state = State::admitted(admitted);
        let (hints, notice) = (Hints::default(), Notice::default());
        Self { config, clock, out, state, hints, notice, objects: None }
    }

    /// No API server is configured: files are all the ConfigMaps and Secrets that there are.
    #[must_use]
    pub fn alone_with(self, objects: Objects) -> Self {
        objects.expect_manifests();
        Self { objects: Some(objects), ..self }
    }

    /// Looks whenever there may be something new, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut due = interval(self.config.period.max(LEAST_PERIOD));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let again = self.state.look_again(&self.clock.now()).map(|after| Instant::now() + after);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Cancel-safe: what was read from inotify is in `hints` before the next wait.
                () = self.notice.changed(&mut self.hints) => {}
                _ = due.tick() => {}
                () = at(again), if again.is_some() => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // Dropped only to end: a look that hangs on a dead mount must not delay the stop.
                () = self.pass() => {}
            }
        }
    }

    async fn pass(&mut self) {
        let now = self.clock.now();
        let seen = self.look().await;
        let next = scan::decide(&self.state, seen, &now);
        report(self.state.desired(), next.desired());
        // Before the pods that refer to them.
        if let (Some(objects), Some(found)) = (&self.objects, next.objects()) {
            objects.tell_manifests(found);
        }
        publish(&self.out, next.desired());
        self.state = next;
    }

    async fn look(&mut self) -> Look {
        let look = look::Directory {
            path: self.config.path.clone(),
            ground: Ground { node: self.config.node.clone(), is_alone: self.objects.is_some() },
            known: self.state.known(),
            hints: self.hints.take(),
            wall: self.clock.now().wall,
        };
        let watches = self.notice.watches();
        // Armed before the look, so that no change falls between the two.
        let both = move || (watches.map_or(Ok(()), |watches| notice::arm(watches, &look.path)), look.look());
        match tokio::task::spawn_blocking(both).await {
            Ok((armed, seen)) => {
                armed.unwrap_or_else(|error| self.notice.failed(&error));
                seen
            }
            Err(_) => Look::Unreadable(Problem {
                file: self.config.path.clone(),
                field: None,
                reason: "the look at the directory failed inside, the next one tries again".to_owned(),
            }),
        }
    }
}

fn publish(out: &watch::Sender<Arc<Desired>>, desired: &Arc<Desired>) {
    out.send_if_modified(|current| {
        let changed = !current.is_same(desired);
        if changed {
            *current = Arc::clone(desired);
        }
        changed
    });
}

/// Each change once: a rescan that finds the same says nothing.
fn report(before: &Desired, after: &Desired) {
    let known: HashSet<(&Path, &str)> = before.problems.iter().map(identity).collect();
    for problem in after.problems.iter().filter(|problem| !known.contains(&identity(problem))) {
        warn!(%problem, "manifest is not used");
    }
    for (uid, pod) in &after.pods {
        if !before.pods.contains_key(uid) {
            info!(pod = pod.full_name(), %uid, file = %origin(pod).display(), "static pod is desired");
        }
        let known = before.pods.get(uid).is_some_and(|known| known.held == pod.held);
        for held in pod.held.iter().filter(|_| !known) {
            warn!(pod = pod.full_name(), field = held.field, reason = held.reason, "pod is held");
        }
    }
    for (uid, pod) in before.pods.iter().filter(|(uid, _)| !after.pods.contains_key(*uid)) {
        info!(pod = pod.full_name(), %uid, "static pod is no longer desired");
    }
}

fn identity(problem: &Problem) -> (&Path, &str) {
    (&problem.file, &problem.reason)
}

fn origin(pod: &DesiredPod) -> &Path {
    match &pod.origin {
        super::desired::Origin::File(path) => path,
        super::desired::Origin::Api => Path::new(""),
    }
}

#[cfg(test)]
mod tests;
