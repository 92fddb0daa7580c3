//! The journal as its users see it: on a disk in memory that fails, fills up, or stops at any call.

mod damage;
mod real;
mod writing;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::history::{Class, ContainerHistory, Entry, Exit, Histories, PodHistory, Terminal, What, apply};
use super::{Journal, JournalError, Opened};
use crate::clock::{BootTime, Stamp};
use crate::disk::{Disk, Failing, MemoryDisk};

const DIR: &str = "/journal";
const LOG: &str = "/journal/log.jsonl";
const SNAPSHOT: &str = "/journal/snapshot.json";

fn uid(number: usize) -> PodUid {
    PodUid::new(&format!("uid-{number}")).unwrap()
}

fn attempt(pod: usize, attempt: u32) -> Entry {
    Entry { uid: uid(pod), what: What::SandboxAttempt(attempt) }
}

fn exited(pod: usize, attempt: u32, message: &str) -> Entry {
    let boot = BootTime { boot_id: "boot".into(), millis: 7 };
    let seen = Stamp { boot, wall: jiff::Timestamp::UNIX_EPOCH };
    let exit = Exit {
        container_id: format!("c-{pod}-{attempt}"),
        attempt,
        code: 3,
        reason: "Error".to_owned(),
        message: message.to_owned(),
        started_at: 1,
        finished_at: 2,
    };
    Entry { uid: uid(pod), what: What::Exited { name: "main".to_owned(), exit, seen } }
}

fn folded(entries: &[Entry]) -> Histories {
    let mut histories = Histories::new();
    entries.iter().for_each(|entry| apply(&mut histories, entry));
    histories
}

fn reopen(disk: &Arc<MemoryDisk>) -> Opened {
    Journal::open(Arc::clone(disk) as Arc<dyn Disk>, DIR.into())
}

/// A journal whose writer runs until the set is dropped or the token is cancelled.
struct Running {
    disk: Arc<MemoryDisk>,
    journal: Journal,
    stop: CancellationToken,
    writer: JoinSet<()>,
}

impl Running {
    fn start(disk: &Arc<MemoryDisk>) -> Self {
        let opened = reopen(disk);
        let stop = CancellationToken::new();
        let mut writer = JoinSet::new();
        writer.spawn(opened.writer.run(stop.clone()));
        Self { disk: Arc::clone(disk), journal: opened.journal, stop, writer }
    }

    async fn stop(mut self) -> Arc<MemoryDisk> {
        self.stop.cancel();
        timeout(Duration::from_secs(60), self.writer.join_next()).await.expect("the writer ends");
        self.disk
    }
}

fn from(from: u64, kind: ErrorKind, partial: usize) -> Option<Failing> {
    Some(Failing { from, kind, partial, calls: u64::MAX, after_rename: false })
}
