use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// Far above anything that a loaded machine needs; a wait that ends here has failed.
const DEADLINE: Duration = Duration::from_secs(30);

fn manifest(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: {image}}}]}}\n"
    )
}

struct Bench {
    directory: TempDir,
    files: Files,
    desired: watch::Receiver<Arc<Desired>>,
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        Self::on(directory.path().to_owned(), directory, Vec::new())
    }

    fn on(path: PathBuf, directory: TempDir, admitted: Vec<Arc<DesiredPod>>) -> Self {
        let (out, desired) = watch::channel(Arc::default());
        let config = Config { path, period: Duration::from_secs(20), node: "n".to_owned() };
        let files = Files::new(config, Clock::of_this_machine().unwrap(), admitted, out);
        Self { directory, files, desired }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let desired = self.desired.borrow();
        let mut names: Vec<_> = desired.pods.values().map(|pod| pod.name.clone()).collect();
        names.sort();
        names
    }

    /// Problems with the directory's path cut off.
    fn problems(&self) -> Vec<String> {
        let root = format!("{}/", self.directory.path().display());
        self.desired.borrow().problems.iter().map(|problem| problem.to_string().replace(&root, "")).collect()
    }

    /// Hands the loop to a task, and what it writes to the test.
    fn start(self) -> Running {
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(self.files.run(stop.clone()));
        Running { directory: self.directory, desired: self.desired, stop, tasks }
    }
}

struct Running {
    directory: TempDir,
    desired: watch::Receiver<Arc<Desired>>,
    stop: CancellationToken,
    tasks: tokio::task::JoinSet<()>,
}

impl Running {
    async fn until(&mut self, what: &str, reached: impl FnMut(&Arc<Desired>) -> bool) {
        let waited = tokio::time::timeout(DEADLINE, self.desired.wait_for(reached)).await;
        let seen = waited.map(|value| value.map(|_| ()).map_err(|_| "the loop ended"));
        assert_eq!(seen, Ok(Ok(())), "waiting for {what}: {:?}", self.desired.borrow());
    }

    async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.tasks.join_next()).await;
        assert!(matches!(ended, Ok(Some(Ok(())))), "the loop did not stop: {ended:?}");
    }
}

fn image(desired: &Desired) -> Option<String> {
    desired.pods.values().next()?.pod.spec.as_ref()?.containers.first()?.image.clone()
}

#[tokio::test]
async fn a_pass_reads_manifests_and_says_what_is_wrong_with_the_others() {
    let mut bench = Bench::new();
    bench.write("web.yaml", manifest("web", "i"));
    bench.write(".hidden.yaml", manifest("hidden", "i"));
    bench.write("map.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: m}\ndata: {k: c4nary!}\n");
    bench.write(
        "port.yaml",
        manifest("bad", "i").replace("image: i", "image: i, ports: [{containerPort: x}]"),
    );
    fs::create_dir(bench.path("sub")).unwrap();
    symlink(bench.path("web.yaml"), bench.path("z-link.yaml")).unwrap();
    bench.files.pass().await;
    assert_eq!(bench.names(), ["web-n"]);
    assert_eq!(
        bench.problems(),
        [
            "map.yaml: data[k]: is not base64",
            "port.yaml: spec.containers[0].ports[0].containerPort: invalid type: string \"x\", expected i32",
            "sub: is a directory, expected a regular file",
            "z-link.yaml: metadata.name: default/web-n is already defined by web.yaml",
        ]
    );
}

#[tokio::test]
async fn a66_what_is_no_small_regular_file_is_refused_without_blocking() {
    let mut bench = Bench::new();
    bench.write("good.yaml", manifest("good", "i"));
    symlink("/dev/zero", bench.path("zero")).unwrap();
    symlink("/dev/stdin", bench.path("tty")).unwrap();
    symlink("loop", bench.path("loop")).unwrap();
    symlink("nowhere", bench.path("gone")).unwrap();
    nix::unistd::mkfifo(&bench.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket")).unwrap();
    let huge = fs::File::create(bench.path("huge")).unwrap();
    huge.set_len(1024 * 1024 * 1024).unwrap();
    fs::File::create(bench.path("over")).unwrap().set_len(1024 * 1024 + 1).unwrap();
    tokio::time::timeout(DEADLINE, bench.files.pass()).await.expect("the pass hangs on some file");
    assert_eq!(bench.names(), ["good-n"]);
    let problems = bench.problems();
    for expected in [
        "fifo: is a FIFO, expected a regular file",
        "gone: failed to read: No such file or directory (os error 2)",
        "huge: is larger than 1048576 bytes",
        "over: is larger than 1048576 bytes",
        "socket: is a socket, expected a regular file",
        "zero: is a device, expected a regular file",
    ] {
        assert!(problems.iter().any(|problem| problem == expected), "{expected:?} is not among {problems:?}");
    }
    assert_eq!(problems.len(), 8, "{problems:?}");
}

#[tokio::test]
async fn a66_five_thousand_files_are_read_once_and_one_more_is_a_problem() {
    let mut bench = Bench::new();
    for number in 0..5_000 {
        bench.write(&format!("{number:05}.yaml"), manifest(&format!("p{number}"), "i"));
    }
    bench.files.pass().await;
    assert_eq!((bench.names().len(), bench.problems().len()), (5_000, 0));
    bench.write("00000-more.yaml", manifest("more", "i"));
    bench.desired.mark_unchanged();
    bench.files.pass().await;
    assert_eq!(bench.names().len(), 5_000, "what runs is not displaced by a newcomer");
    let problem = format!("{}: has 5001 files, only 5000 of them are read", bench.directory.path().display());
    assert_eq!(bench.problems(), [problem]);
}

#[tokio::test]
async fn an_unchanged_directory_publishes_nothing() {
    let mut bench = Bench::new();
    bench.write("a", manifest("web", "i"));
    bench.write("b", "broken");
    bench.files.pass().await;
    bench.desired.mark_unchanged();
    bench.files.pass().await;
    bench.files.pass().await;
    assert!(!bench.desired.has_changed().unwrap());
}

#[tokio::test]
async fn a_missing_directory_is_a_problem_and_not_synced() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    let mut bench = Bench::on(missing.clone(), directory, Vec::new());
    bench.files.pass().await;
    assert!(!bench.desired.borrow().synced);
    assert_eq!(
        bench.problems(),
        ["missing: cannot be read, what runs goes on: No such file or directory (os error 2)"]
    );
    fs::create_dir(&missing).unwrap();
    fs::write(missing.join("a"), manifest("web", "i")).unwrap();
    bench.files.pass().await;
    assert!(bench.desired.borrow().synced);
    assert_eq!(bench.names(), ["web-n"]);
    fs::remove_dir_all(&missing).unwrap();
    bench.files.pass().await;
    assert_eq!((bench.names(), bench.problems().len()), (vec!["web-n".to_owned()], 1));
}

#[tokio::test]
async fn the_path_may_be_one_manifest() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("pod.yaml");
    fs::write(&file, manifest("web", "i")).unwrap();
    fs::write(directory.path().join("other.yaml"), manifest("other", "i")).unwrap();
    let running = Bench::on(file.clone(), directory, Vec::new());
    let mut running = running.start();
    running.until("the pod", |desired| desired.pods.len() == 1).await;
    fs::write(&file, manifest("web", "j")).unwrap();
    running.until("the edit", |desired| image(desired).as_deref() == Some("j")).await;
    fs::remove_file(&file).unwrap();
    running.until("the removal", |desired| desired.pods.is_empty() && desired.synced).await;
    running.stop().await;
}

#[tokio::test]
async fn events_bring_pods_edits_and_removals_long_before_the_rescan() {
    let bench = Bench::new();
    bench.write("a.yaml", manifest("web", "i"));
    let mut running = bench.start();
    running.until("the first pod", |desired| desired.pods.len() == 1).await;
    let root = running.directory.path().to_owned();
    fs::write(root.join("b.yaml"), manifest("other", "i")).unwrap();
    running.until("a second pod", |desired| desired.pods.len() == 2).await;
    fs::remove_file(root.join("b.yaml")).unwrap();
    running.until("its removal", |desired| desired.pods.len() == 1).await;
    fs::write(root.join(".a.tmp"), manifest("web", "j")).unwrap();
    fs::rename(root.join(".a.tmp"), root.join("a.yaml")).unwrap();
    running.until("the rename over it", |desired| image(desired).as_deref() == Some("j")).await;
    fs::rename(root.join("a.yaml"), root.join("c.yaml")).unwrap();
    let renamed = root.join("c.yaml");
    running.until("the rename", |desired| desired.pods.values().all(|pod| origin(pod) == renamed)).await;
    running.stop().await;
}

#[tokio::test]
async fn a66_a_half_written_file_changes_nothing_until_it_is_closed() {
    let bench = Bench::new();
    bench.write("a.yaml", manifest("web", "i"));
    let mut running = bench.start();
    running.until("the first pod", |desired| desired.pods.len() == 1).await;
    let root = running.directory.path().to_owned();
    let mut writer = fs::File::create(root.join("a.yaml")).unwrap();
    let text = manifest("web", "j");
    // A prefix that is a valid pod of its own, and looks provoked by another file meanwhile.
    for (turn, part) in [&text[..], "# more\n"].into_iter().enumerate() {
        writer.write_all(part.as_bytes()).unwrap();
        fs::write(root.join(format!("other{turn}.yaml")), manifest(&format!("other{turn}"), "x")).unwrap();
        running.until("another pod", |desired| desired.pods.len() == turn + 2).await;
        let images: Vec<_> = running
            .desired
            .borrow()
            .pods
            .values()
            .filter_map(|pod| pod.pod.spec.as_ref()?.containers.first()?.image.clone())
            .collect();
        assert!(!images.contains(&"j".to_owned()), "the file was read before it was closed");
        assert!(running.desired.borrow().problems.is_empty());
    }
    drop(writer);
    running
        .until("the closed file", |desired| {
            desired.pods.values().any(|pod| {
                pod.pod.spec.as_ref().is_some_and(|spec| spec.containers[0].image.as_deref() == Some("j"))
            })
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_again() {
    let outer = TempDir::new().unwrap();
    let path = outer.path().join("manifests");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a"), manifest("web", "i")).unwrap();
    let mut running = Bench::on(path.clone(), outer, Vec::new()).start();
    running.until("the first pod", |desired| desired.pods.len() == 1).await;
    fs::rename(&path, path.with_extension("old")).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a"), manifest("web", "i")).unwrap();
    fs::write(path.join("b"), manifest("other", "i")).unwrap();
    running.until("the second pod", |desired| desired.pods.len() == 2).await;
    fs::write(path.join("c"), manifest("third", "i")).unwrap();
    running.until("the third pod", |desired| desired.pods.len() == 3).await;
    running.stop().await;
}

#[tokio::test]
async fn without_inotify_the_rescan_finds_changes() {
    let mut bench = Bench::new();
    bench.files.config.period = Duration::from_millis(20);
    bench.files.notice = Notice::exhausted();
    bench.write("a", manifest("web", "i"));
    let mut running = bench.start();
    running.until("the pod", |desired| desired.pods.len() == 1).await;
    fs::write(running.directory.path().join("a"), manifest("web", "j")).unwrap();
    running.until("the edit", |desired| image(desired).as_deref() == Some("j")).await;
    running.stop().await;
}

#[tokio::test]
async fn a_start_with_a_broken_file_keeps_what_was_admitted() {
    let mut first = Bench::new();
    first.write("a", manifest("web", "i"));
    first.files.pass().await;
    let admitted: Vec<_> = first.desired.borrow().pods.values().cloned().collect();
    first.write("a", "apiVersion: v1\nkind: Po");
    let path = first.directory.path().to_owned();
    let mut second = Bench::on(path, first.directory, admitted.clone());
    second.files.hints.note("a".as_ref(), hints::Hint::Complete);
    second.files.pass().await;
    assert_eq!(second.desired.borrow().pods.values().cloned().collect::<Vec<_>>(), admitted);
    assert_eq!(second.problems().len(), 1);
}

#[tokio::test]
async fn a67_objects_are_told_with_the_pods() {
    use crate::objects::{Kind, Reference};
    let objects = Objects::default();
    let mut bench = Bench::new();
    bench.files = bench.files.alone_with(objects.clone());
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\nstringData: {k: one}\n";
    bench.write("s.yaml", secret);
    bench.files.pass().await;
    assert!(bench.problems().is_empty(), "{:?}", bench.problems());
    let reference = Reference { kind: Kind::Secret, namespace: "ns".into(), name: "s".into() };
    let data = objects.get(&reference).await.unwrap().unwrap();
    assert_eq!(data.values["k"].bytes(), b"one");
}
