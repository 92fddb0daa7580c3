//! A watch: a stream of events that reads the change log when it is polled.
//!
//! Woken by changes of the store or the network, by the time of the next bookmark, and by its timeout, which ends it.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::FakeApi;
use super::faults::Fault;
use super::kinds::Kind;
use super::network;
use super::requests::{Mark, Open};
use super::selector::Selector;
use super::status::Failure;
use super::store::{Change, Object};

/// Where a watch begins.
#[derive(Debug)]
pub struct Start {
    pub kind: &'static Kind,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub selector: Selector,
    /// Events after this version follow.
    pub version: u64,
    /// Objects that are shown as added first.
    pub initial: Vec<Object>,
    /// The bookmark that ends them is wanted.
    pub mark_initial: bool,
    pub bookmarks: bool,
    pub timeout: Duration,
    /// The version is too old: one ERROR event and nothing else.
    pub expired: Option<Failure>,
}

impl Start {
    /// The events that follow from a change for this watch: type and object.
    fn event(&self, change: &Change) -> Option<(&'static str, Value)> {
        if change.key.resource != self.kind.qualified()
            || self.namespace.as_ref().is_some_and(|wanted| *wanted != change.key.namespace)
            || self.name.as_ref().is_some_and(|wanted| *wanted != change.key.name)
        {
            return None;
        }
        let was = change.before.as_ref().is_some_and(|before| self.selector.matches(before));
        let is = !change.deleted && self.selector.matches(&change.object);
        match (was, is) {
            (false, true) => Some(("ADDED", (*change.object).clone())),
            (true, true) => Some(("MODIFIED", (*change.object).clone())),
            (true, false) if change.deleted => Some(("DELETED", (*change.object).clone())),
            // It left the selection: the watcher sees its last state that belonged to it, at the new version.
            (true, false) => {
                let mut last = change.before.as_deref().cloned()?;
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(("DELETED", last))
            }
            (false, false) => None,
        }
    }
}

struct Watching {
    api: FakeApi,
    start: Start,
    open: Open,
    changed: watch::Receiver<u64>,
    lines: VecDeque<Bytes>,
    /// How many more lines before the connection is cut within one.
    cut_after: Option<usize>,
    silent: bool,
    repeat: bool,
    lag: Duration,
    next_bookmark: Instant,
    deadline: Instant,
    over: bool,
}

/// The events of a watch as lines of JSON.
pub fn events(
    api: FakeApi,
    start: Start,
    open: Open,
    faults: Vec<Fault>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let now = Instant::now();
    let deadline = now + start.timeout;
    let period = api.lock().bookmark_period;
    let mut watching = Watching {
        changed: api.changed.subscribe(),
        next_bookmark: bookmark_due(now, period, deadline),
        deadline,
        api,
        start,
        open,
        lines: VecDeque::new(),
        cut_after: None,
        silent: false,
        repeat: false,
        lag: Duration::ZERO,
        over: false,
    };
    for fault in faults {
        match fault {
            Fault::CutWatch(after) => watching.cut_after = Some(after),
            Fault::Silent => watching.silent = true,
            Fault::Repeat => watching.repeat = true,
            Fault::Lag(time) => watching.lag = time,
            _ => {}
        }
    }
    watching.begin();
    futures::stream::unfold(watching, |mut watching| async move {
        let item = watching.next().await?;
        Some((item, watching))
    })
}

/// Once per period, and once more 2 s before the end, so that the next watch starts from a recent version:
/// k8s.io/apiserver `storage/cacher/cache_watcher.go`.
fn bookmark_due(now: Instant, period: Duration, deadline: Instant) -> Instant {
    let last = deadline - Duration::from_secs(2).min(deadline - now);
    if last > now { last.min(now + period) } else { now + period }
}

impl Watching {
    fn begin(&mut self) {
        for object in std::mem::take(&mut self.start.initial) {
            self.push("ADDED", &object);
        }
        if self.start.mark_initial {
            self.push_bookmark(json!({ "k8s.io/initial-events-end": "true" }));
        }
        if let Some(failure) = self.start.expired.take() {
            self.push("ERROR", &failure.body());
            self.over = true;
        }
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            self.changed.mark_unchanged();
            if self.silent {
                pending::<()>().await;
            }
            match self.open.mark() {
                Some(Mark::Mute) => pending().await,
                Some(Mark::Reset) => return self.fail(),
                Some(Mark::Cut) => return self.cut(),
                Some(Mark::End) => return None,
                Some(Mark::Expire) if !self.over => {
                    self.push("ERROR", &Failure::expired("too old resource version, by order").body());
                    self.over = true;
                }
                _ => {}
            }
            if let Some(line) = self.lines.pop_front() {
                return self.deliver(line);
            }
            if self.over {
                return None;
            }
            let wake = self.read();
            if self.lines.is_empty() {
                self.wait(wake).await;
            }
        }
    }

    fn deliver(&mut self, line: Bytes) -> Option<io::Result<Bytes>> {
        match &mut self.cut_after {
            Some(0) => {
                self.lines.push_front(line);
                self.cut()
            }
            Some(left) => {
                *left -= 1;
                Some(Ok(line))
            }
            None => Some(Ok(line)),
        }
    }

    /// Takes what is new from the log. Returns when a change that lags will be due.
    fn read(&mut self) -> Option<Instant> {
        let api = self.api.clone();
        let state = api.lock();
        let now = Instant::now();
        for change in state.store.since(self.start.version) {
            let due = change.at + self.lag;
            if due > now {
                return Some(due);
            }
            if let Some((kind, object)) = self.start.event(change) {
                self.push(kind, &object);
            }
            self.start.version = change.version;
        }
        self.start.version = self.start.version.max(state.store.version());
        let period = state.bookmark_period;
        drop(state);
        if now >= self.deadline {
            self.over = true;
        } else if now >= self.next_bookmark {
            self.next_bookmark = bookmark_due(now, period, self.deadline);
            if self.start.bookmarks {
                self.push_bookmark(json!({}));
            }
        }
        None
    }

    async fn wait(&mut self, due: Option<Instant>) {
        if self.over {
            return;
        }
        let until = due.unwrap_or(self.deadline).min(self.deadline).min(self.next_bookmark);
        tokio::select! {
            _ = self.changed.changed() => {}
            () = sleep_until(until) => {}
        }
    }

    fn push(&mut self, kind: &str, object: &Value) {
        let line = Bytes::from(format!("{}\n", json!({ "type": kind, "object": object })));
        if self.repeat {
            self.lines.push_back(line.clone());
        }
        self.lines.push_back(line);
    }

    fn push_bookmark(&mut self, annotations: Value) {
        let kind = self.start.kind;
        let mut metadata =
            json!({ "resourceVersion": self.start.version.to_string(), "creationTimestamp": null });
        if annotations != json!({}) {
            metadata["annotations"] = annotations;
        }
        self.push(
            "BOOKMARK",
            &json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata }),
        );
    }

    /// Half a line, then the reset.
    fn cut(&mut self) -> Option<io::Result<Bytes>> {
        let line = self
            .lines
            .pop_front()
            .unwrap_or_else(|| Bytes::from_static(b"{\"type\":\"MODIFIED\",\"object\":{\"kind\":"));
        self.lines.clear();
        self.cut_after = None;
        self.open.with(|request| request.mark = Some(Mark::Reset));
        Some(Ok(line.slice(..line.len() / 2)))
    }

    fn fail(&mut self) -> Option<io::Result<Bytes>> {
        self.open.with(|request| request.mark = Some(Mark::End));
        Some(Err(network::reset()))
    }
}
