//! One list and watch: a list, then events from its version on. Makes no decision but when the two have come to their
//! end; whoever runs it tries again.
//!
//! Lists go over the connection that calls share, watches over one that only watches share: what is many must not hold
//! up what is waited for.

use std::ops::ControlFlow;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use http::Request;
use kube::Client;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::fetch::{Fetch, FetchError, failed};
use super::wire::{Item, Line, List};
use crate::api::patience::CALL;

/// Objects in a page of a list.
const PAGE: u32 = 500;
/// A server ends a watch after this long at the least, and up to twice as long after: client-go's reflector asks for
/// the same.
const LEAST_WATCH: Duration = Duration::from_secs(300);
/// A watch that ends sooner than this was no watch.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// What is heard.
pub(super) enum Heard<T> {
    /// Everything that there is.
    Listed(Vec<T>),
    /// This is new or changed.
    Applied(T),
    /// This is gone.
    Deleted(T),
}

/// Why a watch is over.
#[derive(Debug)]
pub(super) enum End {
    /// Who listens has heard enough.
    Enough,
    /// A fresh list is asked for.
    Asked,
    /// Its version is no longer known to the server.
    Expired,
    /// It was lost.
    Lost(FetchError),
}

/// Where to list and watch.
#[derive(Clone)]
pub(super) struct ListWatch {
    pub(super) fetch: Fetch,
    /// Over which watches go.
    pub(super) client: Client,
    /// Where its objects are: the first of these is asked, and the next when there is no such place.
    pub(super) paths: Vec<String>,
    /// How many of them were found not to be there, one after the other.
    pub(super) unserved: usize,
    /// Name of the one object that is meant, checked.
    pub(super) name: Option<String>,
    /// What answers are called in errors.
    pub(super) what: &'static str,
    /// 0 to 1: where between its bounds the length of watches lies.
    pub(super) spread: f64,
}

impl ListWatch {
    fn query(&self, rest: &str) -> String {
        let selector = self.name.as_ref().map(|name| format!("fieldSelector=metadata.name%3D{name}&"));
        let path = self.paths.first().map(String::as_str).unwrap_or_default();
        format!("{path}?{}{rest}", selector.unwrap_or_default())
    }

    /// Goes on to the next place, of which there is none here; false when all of them were asked.
    pub(super) fn go_on(&mut self) -> bool {
        self.unserved = self.unserved.saturating_add(1);
        if self.unserved >= self.paths.len() {
            self.unserved = 0;
        }
        if !self.paths.is_empty() {
            self.paths.rotate_left(1);
        }
        self.unserved > 0
    }

    fn request(&self, rest: &str) -> Result<Request<Vec<u8>>, FetchError> {
        let query = self.query(rest);
        Request::get(&query).body(Vec::new()).map_err(|_| FetchError::Name(query))
    }

    /// Everything, and the version to watch from.
    pub(super) async fn list<T: Item>(&self) -> Result<(Vec<T>, String), FetchError> {
        let (mut all, mut more) = (Vec::new(), String::new());
        loop {
            let request = self.request(&format!("limit={PAGE}{more}"))?;
            let text = self.fetch.call(request).await.map_err(|error| match error {
                // Of what is there a list may be empty, but it is there.
                kube::Error::Api(status) if status.code == 404 => FetchError::NotServed(self.what),
                error => failed(error),
            })?;
            // What a decoder has to say may quote the text.
            let page: List<T> = serde_json::from_str(&text).map_err(|_| FetchError::Answer(self.what))?;
            all.extend(page.items.into_iter().flatten());
            match page.metadata.more.filter(|more| !more.is_empty()) {
                // Upstream's tokens are URL-safe base64; what is not is escaped.
                Some(token) => more = format!("&continue={}", escaped(&token)),
                None => return Ok((all, page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }

    /// Watches from `version` on, request after request while `goes_on`. Ends when `asked` is notified.
    pub(super) async fn watch<T: Item>(
        &self,
        mut version: String,
        asked: &Notify,
        goes_on: impl Fn() -> bool,
        hear: &mut (impl FnMut(Heard<T>) -> ControlFlow<()> + Send),
    ) -> End {
        loop {
            let began = Instant::now();
            let end = tokio::select! {
                biased;
                end = self.watch_once(&mut version, hear) => end,
                () = asked.notified() => return End::Asked,
            };
            match end {
                Ok(()) if !goes_on() => return End::Expired,
                Ok(()) if began.elapsed() >= TOO_SHORT => {}
                Ok(()) => return End::Lost(FetchError::Answer("watch")),
                Err(end) => return end,
            }
        }
    }

    /// One request, to its end in order.
    async fn watch_once<T: Item>(
        &self,
        version: &mut String,
        hear: &mut (impl FnMut(Heard<T>) -> ControlFlow<()> + Send),
    ) -> Result<(), End> {
        let timeout = LEAST_WATCH.mul_f64(1.0 + self.spread.clamp(0.0, 1.0)).as_secs();
        let rest =
            format!("watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={timeout}");
        let request = self.request(&rest).map_err(End::Lost)?;
        let lost = |error| match error {
            kube::Error::Api(status) if status.code == 410 => End::Expired,
            error => End::Lost(failed(error)),
        };
        let opening = Box::pin(self.client.request_stream(request));
        let opened = tokio::time::timeout(CALL, opening).await;
        let stream = opened.map_err(|_| End::Lost(FetchError::Silent))?.map_err(lost)?;
        futures::pin_mut!(stream);
        let mut line = Vec::new();
        while next(&mut stream, &mut line).await? {
            self.take(&line, version, hear)?;
            line.clear();
            // Between two events a large object's buffer is of no use.
            line.shrink_to(4096);
        }
        Ok(())
    }

    fn take<T: Item>(
        &self,
        line: &[u8],
        version: &mut String,
        hear: &mut impl FnMut(Heard<T>) -> ControlFlow<()>,
    ) -> Result<(), End> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let wrong = || End::Lost(FetchError::Answer(self.what));
        let Line { kind, object } = serde_json::from_slice::<Line<T>>(line).map_err(|_| wrong())?;
        if let Some(new) = object.meta().resource_version.as_ref().filter(|new| !new.is_empty()) {
            version.clone_from(new);
        }
        let flow = match kind.as_str() {
            "ADDED" | "MODIFIED" => hear(Heard::Applied(object)),
            "DELETED" => hear(Heard::Deleted(object)),
            "BOOKMARK" => ControlFlow::Continue(()),
            "ERROR" if object.code() == Some(410) => return Err(End::Expired),
            _ => return Err(wrong()),
        };
        if flow.is_break() { Err(End::Enough) } else { Ok(()) }
    }
}

/// Reads one line; false at the end of the stream.
async fn next(stream: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> Result<bool, End> {
    let read = stream.read_until(b'\n', line).await;
    let read = read.map_err(|error| End::Lost(failed(kube::Error::Service(Box::new(error)))))?;
    Ok(read > 0)
}

fn escaped(token: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    token
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_any_form_is_one_value_of_a_query() {
        assert_eq!(escaped("aZ9-_"), "aZ9-_");
        assert_eq!(escaped("a+b=&"), "a%2Bb%3D%26");
    }
}
