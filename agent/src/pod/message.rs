//! The last words of a container: its termination message file, else the end of its log, read
//! once when its end is first seen.
//!
//! The file is the container's to write, so it is opened without following links or waiting, must be a regular
//! file, and no more than the limit is read of it.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use pinnace_cri::container::ContainerStatus;
use pinnace_cri::labels;

use crate::journal::history::Exit;
use crate::pod::mind::Around;

/// Most bytes of a message file (`MaxContainerTerminationMessageLength` of `pkg/kubelet/types/constants.go`).
const FILE_BYTES: u64 = 4096;
/// Most bytes of a log that stand in for a message (`MaxContainerTerminationMessageLogLength`).
const LOG_BYTES: u64 = 2048;
/// Most lines of it (`MaxContainerTerminationMessageLogLines`).
const LOG_LINES: usize = 80;

/// Where an instance's last words are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sources {
    file: Option<PathBuf>,
    log: Option<PathBuf>,
}

/// Adds the last words to an exit that was just seen.
pub async fn complete(exit: &mut Exit, container: &str, around: &Around<'_>) {
    let seen = around.seen.map(|seen| seen.containers.as_slice()).unwrap_or_default();
    let instance = seen
        .iter()
        .find(|instance| instance.record.name == container && instance.record.attempt == exit.attempt);
    let Some(status) = instance.and_then(|instance| instance.status.clone()) else { return };
    let sources = sources(&status);
    if let Ok(words) = tokio::task::spawn_blocking(move || last_words(&sources)).await {
        exit.message = joined(&exit.message, &words);
    }
}

fn sources(status: &ContainerStatus) -> Sources {
    let path = status.annotations.get(labels::TERMINATION_MESSAGE_PATH);
    let file = path.and_then(|path| status.mounts.iter().find(|(inside, _)| inside == path));
    let policy = status.annotations.get(labels::TERMINATION_MESSAGE_POLICY).map(String::as_str);
    let from_log = policy == Some("FallbackToLogsOnError")
        && status.exit_code != 0
        && status.reason != "ContainerCannotRun"
        && !status.log_path.is_empty();
    Sources {
        file: file.map(|(_, outside)| PathBuf::from(outside)),
        log: from_log.then(|| PathBuf::from(&status.log_path)),
    }
}

fn joined(said: &str, words: &str) -> String {
    match (said.is_empty(), words.is_empty()) {
        (_, true) => said.to_owned(),
        (true, false) => words.to_owned(),
        (false, false) => format!("{said}: {words}"),
    }
}

fn last_words(sources: &Sources) -> String {
    let file = sources.file.as_deref().and_then(|path| read_start(path, FILE_BYTES).ok()).unwrap_or_default();
    if !file.is_empty() {
        return file;
    }
    sources.log.as_deref().and_then(|path| read_log_end(path).ok()).unwrap_or_default()
}

fn open(path: &Path) -> io::Result<std::fs::File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

fn read_start(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The texts of the last lines of a CRI log. Stamps and tags take at most half of a line as short as a word,
/// so four times the limit is read.
fn read_log_end(path: &Path) -> io::Result<String> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    let window = LOG_BYTES.saturating_mul(4);
    file.seek(SeekFrom::Start(length.saturating_sub(window)))?;
    let mut bytes = Vec::new();
    file.take(window).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may be the end of one.
    let whole = if length > window { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    Ok(end_of_log(whole))
}

/// Texts of CRI log lines (`stamp stream tag text`): the last ones, within both limits.
fn end_of_log(log: &str) -> String {
    let mut kept: Vec<String> = Vec::new();
    let mut bytes = 0;
    for line in log.lines().rev().take(LOG_LINES) {
        let mut parts = line.splitn(4, ' ');
        let (tag, text) = (parts.nth(2).unwrap_or(""), parts.next().unwrap_or(""));
        let piece = if tag.starts_with('P') { text.to_owned() } else { format!("{text}\n") };
        bytes += piece.len();
        if bytes > usize::try_from(LOG_BYTES).unwrap_or(usize::MAX) {
            break;
        }
        kept.push(piece);
    }
    kept.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a27_only_a_regular_file_is_read_and_no_more_than_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("m");
        std::fs::write(&file, vec![b'x'; 10_000]).unwrap();
        assert_eq!(read_start(&file, FILE_BYTES).unwrap().len(), 4096);
        let link = dir.path().join("l");
        std::os::unix::fs::symlink("/etc/hostname", &link).unwrap();
        assert!(read_start(&link, FILE_BYTES).is_err(), "a link was followed");
        let fifo = dir.path().join("f");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read_start(&fifo, FILE_BYTES).is_err(), "a FIFO was read");
        std::fs::write(&file, [0xff, b'a']).unwrap();
        assert_eq!(read_start(&file, FILE_BYTES).unwrap(), "\u{fffd}a");
    }

    #[test]
    fn the_end_of_a_log_is_its_last_lines_without_stamps() {
        let line = |n: usize| format!("2026-01-01T00:00:00.0Z stdout F line {n}\n");
        let log: String = (0..200).map(line).collect();
        let end = end_of_log(&log);
        assert_eq!(end.lines().count(), LOG_LINES);
        assert!(end.ends_with("line 199\n"));
        assert_eq!(end_of_log("t stdout P ab\nt stdout F c d\n"), "abc d\n");
    }

    #[test]
    fn both_texts_are_joined_as_the_kubelet_does() {
        assert_eq!(joined("", "b"), "b");
        assert_eq!(joined("a", ""), "a");
        assert_eq!(joined("a", "b"), "a: b");
    }
}
