//! The log reader against a naive one, on random files in random options.

use std::fmt::Write as _;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::server::log_file::LogFile;
use crate::server::log_stream::{LogStream, Options};

/// One record: seconds after ten, nanoseconds, whether it ends its line, and what it says.
type Record = (u32, u32, bool, String);

fn record() -> impl Strategy<Value = Record> {
    let nanos = prop_oneof![Just(0), Just(500_000_000), Just(1), 0..1_000_000_000_u32];
    let text = prop_oneof!["[a-z ]{0,12}", Just("x".repeat(40_000))];
    (0..20_u32, nanos, prop::bool::weighted(0.7), text)
}

fn at((seconds, nanos, ..): &Record) -> Timestamp {
    let ten: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    ten + SignedDuration::new(i64::from(*seconds), i32::try_from(*nanos).unwrap())
}

fn file(records: &[Record]) -> String {
    records.iter().enumerate().fold(String::new(), |mut file, (index, record)| {
        let (stream, tag) =
            (if index % 2 == 0 { "stdout" } else { "stderr" }, if record.2 { "F" } else { "P" });
        writeln!(file, "{} {stream} {tag} {}", at(record), record.3).unwrap();
        file
    })
}

/// Reads everything, then leaves out, then joins, then cuts.
fn naive(records: &[Record], options: Options) -> String {
    let skip = options.tail.map_or(0, |tail| records.len().saturating_sub(usize::try_from(tail).unwrap()));
    let mut told = String::new();
    let mut begins = true;
    for record in
        records[skip..].iter().filter(|record| options.since.is_none_or(|since| at(record) >= since))
    {
        if begins && options.timestamps {
            write!(told, "{:.9} ", at(record)).unwrap();
        }
        told += &record.3;
        begins = record.2;
        if begins {
            told.push('\n');
        }
    }
    told.truncate(options.limit.map_or(told.len(), |limit| usize::try_from(limit).unwrap().min(told.len())));
    told
}

fn read(path: &std::path::Path, options: Options) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pieces: Vec<bytes::Bytes> = runtime.block_on(async {
        let log = LogFile::beneath(path.parent().unwrap().to_owned(), path.to_owned());
        LogStream::open(log, options).await.unwrap().into_stream().try_collect().await.unwrap()
    });
    String::from_utf8(pieces.concat()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn tail_since_and_limit_agree_with_a_naive_reader(
        records in prop::collection::vec(record(), 0..24),
        tail in prop::option::of(0..30_u64),
        since in prop::option::of(0..20_u32),
        limit in prop::option::of(1..400_u64),
        timestamps: bool,
    ) {
        let since = since.map(|seconds| at(&(seconds, 0, true, String::new())));
        let options = Options { tail, timestamps, since, limit };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, file(&records)).unwrap();
        prop_assert_eq!(read(&path, options), naive(&records, options));
    }
}
