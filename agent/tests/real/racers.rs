//! A neighbour who changes a volume while containers start on a part of it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::{Value, json};

use crate::manifest::{container, pod};
use crate::node::Node;
use crate::runtime::Runtime;
use crate::say;

/// Containers that start again and again, in an ordinary run and in the whole one; their starts, and the time for them.
const RACERS: (usize, usize) = (10, 24);
const STARTS: (usize, usize) = (50, 5_000);
const LIMIT: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(3_600));
const OF_THE_VOLUME: &str = "the volume's\n";

/// A neighbour exchanges a directory of a volume and a link to the host, as fast as it can, while containers start on a
/// part of it. None ever sees the host's file.
pub(crate) fn a20_a_racer_never_shows_the_hosts_files(runtime: &Runtime) {
    let whole = std::env::var_os("PINNACE_TEST_ALL").is_some();
    let (racers, starts, limit) =
        if whole { (RACERS.1, STARTS.1, LIMIT.1) } else { (RACERS.0, STARTS.0, LIMIT.0) };
    let node = Node::restless(runtime);
    let dir = tempfile::tempdir().expect("a directory");
    let (volume, host, out) = (dir.path().join("volume"), dir.path().join("host"), dir.path().join("out"));
    for (top, word) in [(volume.join("a"), OF_THE_VOLUME), (host.clone(), "the host's\n")] {
        fs::create_dir_all(top.join("etc")).expect("directories");
        fs::write(top.join("etc/witness"), word).expect("a witness");
    }
    fs::create_dir(&out).expect("a directory for what is seen");
    let (inside, hidden) = (volume.join("a"), volume.join("hidden"));
    std::os::unix::fs::symlink(&host, &hidden).expect("a link");
    let (over, exchanges) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for _ in 0..2 {
                    renameat2(AT_FDCWD, &inside, AT_FDCWD, &hidden, RenameFlags::RENAME_EXCHANGE)
                        .expect("an exchange");
                }
                exchanges.fetch_add(2, Ordering::Relaxed);
                // Most starts must succeed: each refusal is tried again seconds later.
                (0..500).for_each(|_| std::hint::spin_loop());
            }
        });
        let raced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            node.put(&racing(racers, &volume, &out));
            node.until("as many starts", limit, |_| lines(&out) >= starts);
            lines(&out)
        }));
        over.store(true, Ordering::Relaxed);
        raced.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    say(&format!(
        "A20 on containerd {}: {seen} starts (whole: {}) in {:.0?}, {} exchanges, 0 escapes",
        runtime.version,
        STARTS.1,
        began.elapsed(),
        exchanges.into_inner()
    ));
    node.remove("racers");
    node.until_gone("racers");
}

/// Containers that note what they see and end.
fn racing(racers: usize, volume: &Path, out: &Path) -> Value {
    let mut pod = pod("racers", "Always", "true");
    let one = |number: usize| {
        let mut one = container(&format!("c{number}"), &format!("cat /m/witness >>/out/{number}"));
        one["volumeMounts"] = json!([
            { "name": "v", "mountPath": "/m", "subPath": "a/etc" }, { "name": "out", "mountPath": "/out" },
        ]);
        one
    };
    pod["spec"]["containers"] = (0..racers).map(one).collect();
    pod["spec"]["volumes"] = json!([
        { "name": "v", "hostPath": { "path": volume } }, { "name": "out", "hostPath": { "path": out } },
    ]);
    pod
}

/// Starts so far, all of which saw what they should.
fn lines(out: &Path) -> usize {
    let files = fs::read_dir(out).expect("what was seen").map(|entry| entry.expect("an entry").path());
    files
        .map(|file| {
            let text = fs::read_to_string(&file).expect("what one has seen");
            let rest = text.replace(OF_THE_VOLUME, "");
            // The last line may be just on its way.
            assert!(OF_THE_VOLUME.starts_with(&rest), "{} has seen {rest:?}", file.display());
            text.lines().count()
        })
        .sum()
}
