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

use super::again::Again;
use super::book::{Answer, Book, Subject, Task, by_namespace};
use super::data::Data;
use super::fetch::{Fetch, FetchError, checked, collection};
use super::list_watch::{End, Heard, ListWatch};
use super::reach::Reach;
use super::service::ServiceInfo;
use super::trust::{Bundle, BundleItem, Bundles, PATHS, WHAT};
use super::wire::{Item, MapItem, SecretItem, ServiceItem};
use super::{Kind, Reference, Strategy};
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
    /// Shared by all followers.
    pub(super) reach: Arc<Reach>,
}

/// Why a try is over.
enum Over {
    /// The server is away: it did not answer, or not with a word on what was asked.
    Away,
    /// For another reason.
    Otherwise,
}

impl From<&FetchError> for Over {
    fn from(error: &FetchError) -> Self {
        if error.is_away() { Self::Away } else { Self::Otherwise }
    }
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
            Subject::Bundles => self.bundles().await,
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

    fn source(&self, paths: Vec<String>, name: Option<String>, what: &'static str) -> ListWatch {
        let (fetch, client) = (self.fetch.clone(), self.client.clone());
        ListWatch { fetch, client, paths, unserved: 0, name, what, spread: self.share() }
    }

    async fn object<T: Item + Into<Data>>(&self, reference: &Reference) {
        let (path, name) = match (collection(reference), checked(&reference.name)) {
            (Ok(path), Ok(name)) => (path, name.to_owned()),
            // It stays so.
            (Err(error), _) | (_, Err(error)) => return self.write(Err(error)),
        };
        let source = self.source(vec![path], Some(name), reference.kind.word());
        let tell = |found: Option<T>| {
            let data = found.map(|item| Arc::new(item.into()));
            let is_last = data.as_ref().is_some_and(|data: &Arc<Data>| data.immutable);
            self.write(Ok(Answer::Object(data)));
            if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.hear(source, |heard| match heard {
            Heard::Listed(items) => tell(items.into_iter().next()),
            Heard::Applied(item) => tell(Some(item)),
            Heard::Deleted(_) => tell(None),
        })
        .await;
    }

    async fn services(&self) {
        let source = self.source(vec!["/api/v1/services".to_owned()], None, "Service");
        let mut all: BTreeMap<(String, String), ServiceInfo> = BTreeMap::new();
        self.hear(source, |heard: Heard<ServiceItem>| {
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

    async fn bundles(&self) {
        let source = self.source(PATHS.map(str::to_owned).into(), None, WHAT);
        let mut all = Bundles::new();
        self.hear(source, |heard: Heard<BundleItem>| {
            match heard {
                Heard::Listed(items) => all = items.into_iter().map(Into::into).collect(),
                Heard::Applied(item) => all.extend([item.into()]),
                Heard::Deleted(item) => {
                    let (name, _): (String, Bundle) = item.into();
                    all.remove(&name);
                }
            }
            self.write(Ok(Answer::Bundles(Arc::new(all.clone()))));
            ControlFlow::Continue(())
        })
        .await;
    }

    /// Lists and watches for ever, or until `hear` has heard enough.
    async fn hear<T: Item>(
        &self,
        mut source: ListWatch,
        mut hear: impl FnMut(Heard<T>) -> ControlFlow<()> + Send,
    ) {
        let asked = &self.task.asked;
        let mut again = Again::default();
        loop {
            // Who asked before this list is answered by it.
            let _answered = asked.notified().now_or_never();
            let (began, seen) = (Instant::now(), self.reach.answers());
            let end = match source.list().await {
                Ok((items, version)) => {
                    self.reach.answered();
                    source.unserved = 0;
                    match hear(Heard::Listed(items)) {
                        ControlFlow::Break(()) => End::Enough,
                        ControlFlow::Continue(()) => {
                            let goes_on = || self.book.is_held(&self.task.subject);
                            source.watch(version, asked, goes_on, &mut hear).await
                        }
                    }
                }
                Err(FetchError::NotServed(_)) if source.go_on() => continue,
                Err(error) => {
                    self.write(Err(error.clone()));
                    End::Lost(error)
                }
            };
            let over = match end {
                End::Enough => return,
                End::Asked => {
                    again.forget();
                    continue;
                }
                End::Expired => Over::Otherwise,
                End::Lost(error) => {
                    tracing::debug!(subject = %self.task.subject, %error, "watch is lost");
                    Over::from(&error)
                }
            };
            if self.book.give_up(&self.task.subject) {
                return;
            }
            self.before_next(&mut again, &over, seen, began.elapsed()).await;
        }
    }

    /// Asks again and again.
    async fn poll(&self, reference: &Reference) {
        let mut again = Again::default();
        loop {
            let _answered = self.task.asked.notified().now_or_never();
            let seen = self.reach.answers();
            match self.fetch.object(reference).await {
                Ok(found) => {
                    again.forget();
                    self.reach.answered();
                    self.write(Ok(Answer::Object(found.map(Arc::new))));
                    self.pause(POLL).await;
                }
                Err(error) => {
                    let over = Over::from(&error);
                    self.write(Err(error));
                    if self.book.give_up(&self.task.subject) {
                        return;
                    }
                    self.before_next(&mut again, &over, seen, Duration::ZERO).await;
                }
            }
        }
    }

    /// Waits before the next try, after one that began when the server had given `seen` answers to anybody and went on
    /// for so long.
    async fn before_next(&self, again: &mut Again, over: &Over, seen: u64, lived: Duration) {
        let is_away = matches!(over, Over::Away);
        self.pause(again.after(is_away, seen, lived)).await;
        if is_away {
            self.reach.turn(seen).await;
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
