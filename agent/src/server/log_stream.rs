//! One container log on its way to a reader: opened, cut to its tail, decoded, and followed on request.
//!
//! Pulled by the reader, so a slow one costs a file position and one buffer. While it follows, it is woken by
//! inotify on the log's directory, with a slow poll beside it (a fast one without inotify). It ends at the end
//! of the file, or when followed, once the container is no longer running and all is read, or with the stop
//! token. A rotated log is read to its end before the new one is opened.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use inotify::{EventStream, Inotify, WatchMask};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cri_log::Decoder;
use super::log_file::LogFile;
use super::log_tail::last_lines;
use super::views::Views;

/// Bytes read at once. One buffer per reader.
const BUFFER: usize = 32 << 10;
/// Poll while inotify wakes: for the end of the container, which the file does not show.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// Poll without inotify, and how often at most the container is looked at while its log is written to.
const FAST_POLL: Duration = Duration::from_millis(250);
/// Buffer for inotify events: one event with the longest file name is 272 bytes.
const EVENTS: usize = 1_024;

/// How a log is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Put the time before every line.
    pub timestamps: bool,
    /// Only what was written since then.
    pub since: Option<Timestamp>,
    /// Only so many bytes of output.
    pub limit: Option<u64>,
}

/// A log that is being read.
pub struct LogStream {
    log: LogFile,
    file: tokio::fs::File,
    inode: u64,
    /// Bytes of the file that are still to be read: a log that is not followed ends where it ended when it was
    /// opened, however fast it grows.
    left: u64,
    /// Bytes that may still be told.
    room: u64,
    /// The file that took this one's name. This one is read to its end once more: what was written just before
    /// the rotation is still to come.
    successor: Option<(File, u64)>,
    decoder: Decoder,
    follow: Option<Follow>,
}

/// What following a log takes.
struct Follow {
    views: Arc<dyn Views>,
    stop: CancellationToken,
    events: Option<EventStream<[u8; EVENTS]>>,
    /// When the container was last seen running: not asked for at every line that is written.
    seen_running: Option<Instant>,
    /// The container has ended: what is in the file now is all there will be.
    ended: bool,
}

impl LogStream {
    /// Opens a log.
    pub async fn open(log: LogFile, options: Options) -> io::Result<Self> {
        let (log, file, metadata, start) = tokio::task::spawn_blocking(move || {
            let file = log.open()?;
            let metadata = file.metadata()?;
            let start = match options.tail {
                Some(lines) => last_lines(metadata.len(), lines, |b, offset| file.read_exact_at(b, offset))?,
                None => 0,
            };
            Ok::<_, io::Error>((log, file, metadata, start))
        })
        .await
        .map_err(io::Error::other)??;
        let mut file = tokio::fs::File::from_std(file);
        file.seek(io::SeekFrom::Start(start)).await?;
        Ok(Self {
            log,
            file,
            inode: metadata.ino(),
            left: metadata.len().saturating_sub(start),
            room: options.limit.unwrap_or(u64::MAX),
            successor: None,
            decoder: Decoder::new(options.timestamps).since(options.since),
            follow: None,
        })
    }

    /// Goes on after the end of the file until the container ends.
    #[must_use]
    pub fn follow(mut self, views: Arc<dyn Views>, stop: CancellationToken) -> Self {
        // inotify may be used up on a busy machine; polling does as well.
        let events = watch(self.log.path()).ok();
        self.follow = Some(Follow { views, stop, events, seen_running: None, ended: false });
        self
    }

    /// The pieces of the log; an error ends it.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        futures::stream::unfold(Some(self), |log| async {
            let mut log = log?;
            match log.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(log))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.room == 0 {
            return Ok(None);
        }
        let mut buffer = vec![0; BUFFER];
        let mut out = Vec::new();
        loop {
            let read = self.read(&mut buffer).await?;
            self.decoder.push(buffer.get(..read).unwrap_or_default(), &mut out);
            if !out.is_empty() {
                out.truncate(usize::try_from(self.room).unwrap_or(usize::MAX));
                self.room = self.room.saturating_sub(out.len() as u64);
                return Ok(Some(Bytes::from(out)));
            }
            if read == 0 && !self.more().await {
                return Ok(None);
            }
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.follow.is_some() {
            return self.file.read(buffer).await;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(buffer.get_mut(..most).unwrap_or_default()).await?;
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }

    /// At the end of the file: whether to read again, after waiting for a reason to.
    async fn more(&mut self) -> bool {
        let Some(follow) = &mut self.follow else { return false };
        if follow.stop.is_cancelled() {
            return false;
        }
        if let Some((file, inode)) = self.successor.take() {
            self.file = tokio::fs::File::from_std(file);
            self.inode = inode;
            return true;
        }
        self.successor = successor(&self.log, self.inode);
        if self.successor.is_some() {
            return true;
        }
        if follow.ended {
            return false;
        }
        if follow.is_running(self.log.path()) {
            follow.wait().await;
        } else {
            follow.ended = true;
        }
        true
    }
}

impl Follow {
    fn is_running(&mut self, path: &Path) -> bool {
        if self.seen_running.is_some_and(|at| at.elapsed() < FAST_POLL) {
            return true;
        }
        let running = is_running(self.views.as_ref(), path);
        self.seen_running = running.then(Instant::now);
        running
    }

    async fn wait(&mut self) {
        let poll = if self.events.is_some() { SLOW_POLL } else { FAST_POLL };
        let written = async {
            match &mut self.events {
                // An error or the end of events leaves the poll.
                Some(events) => matches!(events.next().await, Some(Ok(_))),
                None => false,
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(poll) => {}
            true = written => {}
        }
    }
}

/// The file that took the log's name by rotation, if one did.
fn successor(log: &LogFile, inode: u64) -> Option<(File, u64)> {
    let file = log.open().ok()?;
    let found = file.metadata().ok()?.ino();
    (found != inode).then_some((file, found))
}

fn is_running(views: &dyn Views, path: &Path) -> bool {
    let is_it = |log: &Option<String>| log.as_deref().is_some_and(|log| Path::new(log) == path);
    views.containers().iter().any(|container| container.state == "Running" && is_it(&container.log_path))
}

fn watch(path: &Path) -> io::Result<EventStream<[u8; EVENTS]>> {
    let inotify = Inotify::init()?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    inotify.watches().add(directory, WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO)?;
    inotify.into_event_stream([0; EVENTS])
}
