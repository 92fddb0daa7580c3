use tempfile::TempDir;

use super::*;

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: i}]}\n";

struct Bench {
    root: TempDir,
    directory: Directory,
}

impl Bench {
    /// A directory with the one file `a`, looked at so long after its last change.
    fn after(millis: u64) -> Self {
        let root = TempDir::new().unwrap();
        fs::write(root.path().join("a"), POD).unwrap();
        let changed = Stamp::of(&fs::metadata(root.path().join("a")).unwrap()).changed().unwrap();
        let directory = Directory {
            path: root.path().to_owned(),
            ground: Ground { node: "n".to_owned(), is_alone: true },
            known: BTreeMap::new(),
            hints: Hints::default(),
            wall: changed + Duration::from_millis(millis),
        };
        Self { root, directory }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("a")
    }

    fn known(mut self, stamp: Option<Stamp>, digest: Option<Fnv128a>) -> Self {
        self.directory.known.insert(self.path(), Known { stamp, digest, in_use: true });
        self
    }

    fn hint(mut self, hint: Hint) -> Self {
        self.directory.hints.note("a".as_ref(), hint);
        self
    }

    fn seen(&self) -> Seen {
        match self.directory.look() {
            Look::Read { mut files, .. } => files.remove(&self.path()).expect("the file was not seen"),
            Look::Unreadable(problem) => panic!("{problem}"),
        }
    }

    fn waits(&self) -> Option<u128> {
        match self.seen() {
            Seen::Busy { again } => Some(again.as_millis()),
            Seen::Judged { .. } => None,
            Seen::Same { .. } => panic!("the file was not read"),
        }
    }
}

#[test]
fn a_file_is_left_alone_while_it_may_be_half_written() {
    assert_eq!(Bench::after(0).waits(), None, "a new file");
    assert_eq!(Bench::after(100).known(None, None).waits(), Some(150), "a running pod's file");
    assert_eq!(Bench::after(250).known(None, None).waits(), None, "when it is quiet");
    assert_eq!(Bench::after(0).known(None, None).hint(Hint::Complete).waits(), None, "when it is complete");
    assert_eq!(Bench::after(1_000).hint(Hint::Writing).waits(), Some(9_000), "while it is written");
    assert_eq!(Bench::after(10_000).hint(Hint::Writing).waits(), None, "when its writer does not end");
}

#[test]
fn b70_a_file_from_the_future_is_read() {
    let mut bench = Bench::after(0).known(None, None).hint(Hint::Writing);
    let hour = Duration::from_secs(3_600);
    bench.directory.wall -= hour;
    assert_eq!(bench.waits(), None, "after the clock stepped back by an hour");
    bench.directory.wall += hour - Duration::from_millis(5);
    assert_eq!(bench.waits(), Some(10_000), "changed just after the clock was read");
}

#[test]
fn an_unchanged_file_is_not_read_again_once_its_stamp_is_settled() {
    let fresh = Bench::after(1_999);
    let Seen::Judged { stamp: None, digest: Some(digest), outcome: Ok(_) } = fresh.seen() else {
        panic!("a fresh file has a stamp, or none was judged")
    };
    let settled = Bench::after(2_000);
    let Seen::Judged { stamp: Some(stamp), .. } = settled.seen() else { panic!("no stamp") };
    let again = settled.known(Some(stamp), None);
    assert!(matches!(again.seen(), Seen::Same { stamp: Some(_) }), "the stamp says that it is the same");
    let other = Bench::after(2_000).known(None, Some(digest));
    assert!(matches!(other.seen(), Seen::Same { stamp: Some(_) }), "the content says that it is the same");
    fs::write(again.path(), POD.replace("image: i", "image: j")).unwrap();
    assert!(
        matches!(again.seen(), Seen::Busy { .. } | Seen::Judged { .. }),
        "a changed file is not the same"
    );
}

#[test]
fn a_name_that_is_no_plain_text_is_a_problem_of_the_directory() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::after(0);
    fs::write(bench.root.path().join(std::ffi::OsStr::from_bytes(b"b\xff")), POD).unwrap();
    fs::write(bench.root.path().join("c\nd"), POD).unwrap();
    let Look::Read { files, mut problems } = bench.directory.look() else { panic!("unreadable") };
    assert_eq!(files.len(), 1);
    problems.sort_by_key(|problem| problem.reason.clone());
    let reasons: Vec<_> = problems.iter().map(|problem| problem.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "has a file whose name is not plain text, which is not read: \"b\\xFF\"",
            "has a file whose name is not plain text, which is not read: \"c\\nd\"",
        ]
    );
}
