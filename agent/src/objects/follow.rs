//! Follows one subject for as long as somebody wants it: lists, watches, and begins anew when that is lost. Writes every
//! word to the [`Book`]. Woken by the watch, by time after a failure, and by those who want a fresh answer. Ends when it
//! is dropped, and by itself where there is nothing more to hear: an immutable object.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::book::{Answer, Book, Subject, Task, by_namespace};
use super::data::Data;
use super::fetch::{Fetch, FetchError, checked, collection};
use super::list_watch::{End, Heard, ListWatch};
use super::service::ServiceInfo;
use super::wire::{Item, MapItem, SecretItem, ServiceItem};
use super::{Kind, Reference, Strategy};
use crate::api::patience::Pace;

/// Delays after failures in a row. The first is short: a pod may be waiting.
const PACE: Pace = Pace { first: Duration::from_millis(250), cap: Duration::from_secs(30) };
/// Least time between a failure and the next try, however many ask for it.
const LEAST: Duration = Duration::from_millis(250);
/// Up to this is added to each delay, for each subject its own share of it: what was lost together is not asked for
/// together.
const SPREAD: Duration = Duration::from_secs(1);
/// Between two looks at an object that is not watched: the kubelet's sync period and the life of what it caches
/// (`pkg/kubelet/util/manager/cache_based_manager.go`).
pub(super) const POLL: Duration = Duration::from_secs(60);

/// What a follower works with.
pub(super) struct Follow {
    pub(super) task: Task,
    pub(super) book: Arc<Book>,
    pub(super) fetch: Fetch,
    /// Over which the watch goes.
    pub(super) client: kube::Client,
    pub(super) strategy: Strategy,
}

impl Follow {
    /// Follows until there is nothing more to hear, or nobody wants to.
    pub(super) async fn run(self) {
        let over = self.task.over.clone();
        tokio::select! {
            biased;
            () = over.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        match &self.task.subject {
            Subject::Services => self.services().await,
            Subject::Object(reference) if self.strategy != Strategy::Watch => self.poll(reference).await,
            Subject::Object(reference) => match reference.kind {
                Kind::ConfigMap => self.object::<MapItem>(reference).await,
                Kind::Secret => self.object::<SecretItem>(reference).await,
            },
        }
    }

    fn write(&self, heard: Result<Answer, FetchError>) {
        self.book.write(&self.task.subject, heard, Instant::now());
    }

    /// This subject's share of what is spread, 0 to 1.
    fn share(&self) -> f64 {
        let mut hasher = DefaultHasher::new();
        self.task.subject.hash(&mut hasher);
        f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }

    fn source(&self, path: String, name: Option<String>, what: &'static str) -> ListWatch {
        let (fetch, client) = (self.fetch.clone(), self.client.clone());
        ListWatch { fetch, client, path, name, what, spread: self.share() }
    }

    async fn object<T: Item + Into<Data>>(&self, reference: &Reference) {
        let (path, name) = match (collection(reference), checked(&reference.name)) {
            (Ok(path), Ok(name)) => (path, name.to_owned()),
            // It stays so.
            (Err(error), _) | (_, Err(error)) => return self.write(Err(error)),
        };
        let source = self.source(path, Some(name), reference.kind.word());
        let tell = |found: Option<T>| {
            let data = found.map(|item| Arc::new(item.into()));
            let is_last = data.as_ref().is_some_and(|data: &Arc<Data>| data.immutable);
            self.write(Ok(Answer::Object(data)));
            if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.hear(&source, |heard| match heard {
            Heard::Listed(items) => tell(items.into_iter().next()),
            Heard::Applied(item) => tell(Some(item)),
            Heard::Deleted(_) => tell(None),
        })
        .await;
    }

    async fn services(&self) {
        let source = self.source("/api/v1/services".to_owned(), None, "Service");
        let mut all: BTreeMap<(String, String), ServiceInfo> = BTreeMap::new();
        self.hear(&source, |heard: Heard<ServiceItem>| {
            let keyed = |item: ServiceItem| {
                let service = ServiceInfo::from(item);
                ((service.namespace.clone(), service.name.clone()), service)
            };
            match heard {
                Heard::Listed(items) => all = items.into_iter().map(keyed).collect(),
                Heard::Applied(item) => all.extend([keyed(item)]),
                Heard::Deleted(item) => drop(all.remove(&keyed(item).0)),
            }
            self.write(Ok(Answer::Services(Arc::new(by_namespace(all.values().cloned())))));
            ControlFlow::Continue(())
        })
        .await;
    }

    /// Lists and watches for ever, or until `hear` has heard enough.
    async fn hear<T: Item>(
        &self,
        source: &ListWatch,
        mut hear: impl FnMut(Heard<T>) -> ControlFlow<()> + Send,
    ) {
        let asked = &self.task.asked;
        let mut failures: u32 = 0;
        loop {
            // Who asked before this list is answered by it.
            let _answered = asked.notified().now_or_never();
            let began = Instant::now();
            let end = match source.list().await {
                Ok((items, version)) => match hear(Heard::Listed(items)) {
                    ControlFlow::Break(()) => End::Enough,
                    ControlFlow::Continue(()) => {
                        source
                            .watch(version, asked, || self.book.is_held(&self.task.subject), &mut hear)
                            .await
                    }
                },
                Err(error) => {
                    self.write(Err(error.clone()));
                    End::Lost(error)
                }
            };
            // One that lived begins to count anew.
            failures = if began.elapsed() >= PACE.cap { 1 } else { failures.saturating_add(1) };
            match end {
                End::Enough => return,
                End::Asked => {
                    failures = 0;
                    continue;
                }
                End::Expired => {}
                End::Lost(error) => tracing::debug!(subject = %self.task.subject, %error, "watch is lost"),
            }
            if self.book.give_up(&self.task.subject) {
                return;
            }
            self.pause(PACE.after(failures)).await;
        }
    }

    /// Asks again and again.
    async fn poll(&self, reference: &Reference) {
        let mut failures: u32 = 0;
        while failures == 0 || !self.book.give_up(&self.task.subject) {
            let _answered = self.task.asked.notified().now_or_never();
            match self.fetch.object(reference).await {
                Ok(found) => {
                    failures = 0;
                    self.write(Ok(Answer::Object(found.map(Arc::new))));
                    self.pause(POLL).await;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.write(Err(error));
                    self.pause(PACE.after(failures)).await;
                }
            }
        }
    }

    /// Waits so long and its share more, or until somebody asks.
    async fn pause(&self, length: Duration) {
        let asked = async {
            tokio::time::sleep(LEAST).await;
            self.task.asked.notified().await;
        };
        tokio::select! {
            () = asked => {}
            () = tokio::time::sleep(length + SPREAD.mul_f64(self.share())) => {}
        }
    }
}
