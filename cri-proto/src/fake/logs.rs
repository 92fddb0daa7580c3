//! Logs of containers on disk, in the CRI format: `time stream P|F text`, one line each.
//!
//! All file work runs on tokio's blocking threads; an open log is shared by the process that writes it and
//! the call that reopens it after a rotation.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::clock::rfc3339_nano;
use super::lock::lock;
use super::script::{Output, Stream};

/// Longest text in one log line before it is split, as containerd does by default.
const MAX_LINE: usize = 16 * 1024;

/// An open log.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    file: Arc<Mutex<File>>,
    /// Text that was written without a line end so far.
    rest: Arc<Mutex<BTreeMap<Stream, String>>>,
}

/// The logs that are open, by path.
#[derive(Debug, Default)]
pub(super) struct OpenLogs(Mutex<BTreeMap<PathBuf, LogFile>>);

fn open(path: &PathBuf) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    File::options().create(true).append(true).open(path)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl OpenLogs {
    /// Opens the log, making its directory where it is missing.
    pub(super) async fn open(&self, path: PathBuf) -> io::Result<LogFile> {
        let wanted = path.clone();
        let file = blocking(move || open(&wanted)).await?;
        let log = LogFile { file: Arc::new(Mutex::new(file)), rest: Arc::default() };
        lock(&self.0).insert(path, log.clone());
        Ok(log)
    }

    /// Goes on in a new file of the same path; the old one was renamed.
    pub(super) async fn reopen(&self, path: PathBuf) -> io::Result<()> {
        let log = lock(&self.0).get(&path).cloned();
        let file = blocking(move || open(&path)).await?;
        if let Some(log) = log {
            *lock(&log.file) = file;
        }
        Ok(())
    }
}

impl LogFile {
    /// Writes what a process wrote; text without a line end waits for the rest of its line.
    pub(super) async fn write(&self, wall: i64, output: &Output) {
        let lines = split(&mut lock(&self.rest), wall, output);
        self.append(lines).await;
    }

    /// Writes what still waits for a line end: as partial lines, since no end will come.
    pub(super) async fn finish(&self, wall: i64) {
        let rest = std::mem::take(&mut *lock(&self.rest));
        let lines = rest.into_iter().filter(|(_, text)| !text.is_empty());
        self.append(lines.map(|(stream, text)| line(wall, stream, 'P', &text)).collect()).await;
    }

    async fn append(&self, lines: String) {
        let file = Arc::clone(&self.file);
        let written = blocking(move || lock(&file).write_all(lines.as_bytes())).await;
        if let Err(error) = written {
            tracing::warn!(%error, "failed to write a container log");
        }
    }
}

fn line(wall: i64, stream: Stream, tag: char, text: &str) -> String {
    let name = if stream == Stream::Stdout { "stdout" } else { "stderr" };
    format!("{} {name} {tag} {text}\n", rfc3339_nano(wall))
}

/// The lines that are complete once `output` was added to what waited; keeps the rest.
fn split(rest: &mut BTreeMap<Stream, String>, wall: i64, output: &Output) -> String {
    let waiting = rest.entry(output.stream).or_default();
    waiting.push_str(&output.text);
    let mut lines = String::new();
    loop {
        let end = waiting.find('\n');
        let (text, tag, next) = match end {
            Some(end) if end <= MAX_LINE => (end, 'F', end.saturating_add(1)),
            _ if waiting.len() > MAX_LINE => {
                let cut = waiting.floor_char_boundary(MAX_LINE);
                (cut, 'P', cut)
            }
            _ => return lines,
        };
        lines.push_str(&line(wall, output.stream, tag, waiting.get(..text).unwrap_or_default()));
        waiting.drain(..next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> String {
        let mut rest = BTreeMap::new();
        let output = |text: &&str| Output { stream: Stream::Stdout, text: (*text).to_owned() };
        texts.iter().map(|text| split(&mut rest, 0, &output(text))).collect()
    }

    #[test]
    fn lines_are_full_partial_or_wait() {
        let at = rfc3339_nano(0);
        assert_eq!(lines(&["a\nb", "c\n"]), format!("{at} stdout F a\n{at} stdout F bc\n"));
        assert_eq!(lines(&["a"]), "");
        let long = "x".repeat(MAX_LINE + 3) + "\n";
        let split = lines(&[&long]);
        let parts: Vec<&str> = split.lines().collect();
        assert_eq!(parts.len(), 2);
        assert!(parts[0].contains(" P x") && parts[1].ends_with(" F xxx"), "{parts:?}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_lost_or_added(texts in proptest::collection::vec("[a-zé\n]{0,40}", 0..20)) {
            let mut rest = BTreeMap::new();
            let mut written = String::new();
            for text in &texts {
                written += &split(&mut rest, 0, &Output { stream: Stream::Stderr, text: text.clone() });
            }
            let mut read: String = written
                .lines()
                .map(|line| line.split_once(" F ").map_or(String::new(), |(_, text)| format!("{text}\n")))
                .collect();
            read += rest.get(&Stream::Stderr).map_or("", String::as_str);
            proptest::prop_assert_eq!(read, texts.concat());
        }
    }
}
