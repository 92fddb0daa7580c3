//! inotify on the directory, or nothing where the host has none left: then the rescan alone finds changes.

use std::io;
use std::path::Path;

use futures::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchMask, Watches};
use tracing::warn;

use super::hints::{Hint, Hints};

/// Room for about 15 events with the longest names.
const BUFFER_BYTES: usize = 4096;

/// The watch. It is armed anew before each look, since the directory may have been replaced.
#[derive(Default)]
pub(super) struct Notice {
    stream: Option<EventStream<[u8; BUFFER_BYTES]>>,
    warned: bool,
    #[cfg(test)]
    unavailable: bool,
}

impl std::fmt::Debug for Notice {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Notice").field("armed", &self.stream.is_some()).finish_non_exhaustive()
    }
}

impl Notice {
    /// The end by which [`arm`] adds the directory; none where the host has no inotify left.
    pub(super) fn watches(&mut self) -> Option<Watches> {
        #[cfg(test)]
        if self.unavailable {
            return None;
        }
        if self.stream.is_none() {
            let stream = Inotify::init().and_then(|inotify| inotify.into_event_stream([0; BUFFER_BYTES]));
            self.stream = stream.map_err(|error| self.failed(&error)).ok();
        }
        self.stream.as_ref().map(EventStream::watches)
    }

    /// A host that has no inotify left.
    #[cfg(test)]
    pub(super) fn exhausted() -> Self {
        Self { unavailable: true, ..Self::default() }
    }

    /// Says once that changes are found late.
    pub(super) fn failed(&mut self, error: &io::Error) {
        // A missing directory is reported by the look itself.
        if error.kind() != io::ErrorKind::NotFound && !std::mem::replace(&mut self.warned, true) {
            warn!(%error, "failed to watch static pods, changes are found by rescans only");
        }
    }

    /// Waits for a reason to look, having noted what it says in `hints`; for ever where nothing is watched.
    pub(super) async fn changed(&mut self, hints: &mut Hints) {
        loop {
            let Some(stream) = &mut self.stream else { return std::future::pending().await };
            match stream.next().await {
                Some(Ok(event)) if note(&event, hints) => return,
                Some(Ok(_)) => {}
                // The next rescan makes a new one.
                Some(Err(error)) => {
                    self.failed(&error);
                    self.stream = None;
                }
                None => self.stream = None,
            }
        }
    }
}

/// Watches the directory `path`, or the directory that the file `path` is in. Blocking, as any look at a file
/// system may be. A directory that is watched already costs one system call.
pub(super) fn arm(mut watches: Watches, path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = if path.is_dir() { path } else { parent };
    let content = WatchMask::CREATE | WatchMask::MODIFY | WatchMask::CLOSE_WRITE | WatchMask::ATTRIB;
    let names = WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE;
    let itself = WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
    watches.add(directory, content | names | itself).map(drop)
}

/// Notes an event; whether it is a reason to look.
fn note(event: &EventOwned, hints: &mut Hints) -> bool {
    let Some(name) = event.name.as_deref() else { return true };
    if name.as_encoded_bytes().starts_with(b".") {
        return false;
    }
    if event.mask.contains(EventMask::MODIFY) {
        hints.note(name, Hint::Writing);
        return false;
    }
    if event.mask.intersects(EventMask::CLOSE_WRITE | EventMask::MOVED_TO) {
        hints.note(name, Hint::Complete);
    } else if event.mask.intersects(EventMask::DELETE | EventMask::MOVED_FROM) {
        hints.forget(name);
    }
    true
}
