use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::*;
use crate::disk::{MemoryDisk, RealDisk};

/// Long for a machine with other work, short for a test.
const SHORT: Duration = Duration::from_secs(2);

/// A FUSE file system whose process never answers, until it dies.
struct Hung {
    point: PathBuf,
    device: Option<File>,
}

impl Hung {
    /// None without the right to mount one, which is said.
    fn at(point: &Path) -> Option<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let mounted = device.and_then(|device| {
            let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
            let kind = Some("fuse.hung");
            mount(Some("hung"), point, kind, MsFlags::empty(), Some(options.as_str()))?;
            Ok(Self { point: point.to_owned(), device: Some(device) })
        });
        mounted
            .map_err(|error| {
                assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "cannot mount: {error}");
                println!("SKIPPED: needs root, FUSE and the right to mount: {error}");
            })
            .ok()
    }

    /// The process dies: whoever waits gets an error.
    fn die(&mut self) {
        self.device = None;
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.die();
        let _ = umount2(&self.point, MntFlags::MNT_DETACH);
    }
}

struct Ground {
    apart: Apart,
    root: tempfile::TempDir,
}

fn ground() -> Ground {
    let root = tempfile::tempdir().unwrap();
    for dir in ["home/pods", "hung", "other"] {
        fs::create_dir_all(root.path().join(dir)).unwrap();
    }
    let home = root.path().join("home");
    Ground { apart: Apart::with_deadline(Arc::new(RealDisk), home, SHORT), root }
}

impl Ground {
    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    async fn look(&self, name: &str) -> Result<io::Result<()>, ApartError> {
        let path = self.path(name);
        self.apart.on(&path.clone(), move |_| fs::metadata(path).map(drop)).await
    }
}

/// Held by a test that counts threads, and by one that makes many.
static COUNTED: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Threads that work on volumes just now, those of tests beside this one among them.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.map(name).filter(|name| name.trim_end() == "volume").count()
}

#[tokio::test]
async fn b78_a_mount_that_hangs_keeps_one_thread_and_nobody_else() {
    let _counted = COUNTED.lock().await;
    let ground = ground();
    let Some(mut hung) = Hung::at(&ground.path("hung")) else { return };
    let pods = (0..5).map(|_| ground.look("hung/data"));
    let began = Instant::now();
    let told = futures::future::join_all(pods);
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            ground.look("other").await.unwrap().unwrap();
            ground.look("home/pods").await.unwrap().unwrap();
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let (told, slowest) = tokio::join!(told, others);
    assert!(slowest < SHORT, "others waited {slowest:?}");
    for told in told {
        let told = told.unwrap_err().to_string();
        assert!(
            told.contains(&format!("{} did not answer within 2 s", ground.path("hung").display())),
            "{told}"
        );
    }
    assert!(began.elapsed() < SHORT * 3);
    // From now on it is known, and told at once.
    let began = Instant::now();
    for _ in 0..100 {
        assert!(matches!(ground.look("hung/other").await, Err(ApartError::NoAnswer(_))));
    }
    assert!(began.elapsed() < SHORT * 3, "100 refusals took {:?}", began.elapsed());
    assert!(threads() <= 4, "{} threads for one mount", threads());
    hung.die();
    // It answers again, if only with an error.
    let deadline = Instant::now() + Duration::from_secs(10);
    while ground.look("hung/data").await.is_err() {
        assert!(Instant::now() < deadline, "the lane is still closed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Nothing of what a teardown asks for reaches a file system that does not answer.
#[tokio::test]
async fn b78_parts_of_a_mount_that_hangs_are_unmounted() {
    let ground = ground();
    let pod = ground.path("home/pods/u1");
    let target = pod.join("volume-subpaths/v/main/0");
    fs::create_dir_all(&target).unwrap();
    let Some(hung) = Hung::at(&ground.path("hung")) else { return };
    let none = None::<&str>;
    mount(Some(&hung.point), &target, none, MsFlags::MS_BIND, none).unwrap();
    let dir = pod.clone();
    let apart = Apart::with_deadline(Arc::new(RealDisk), ground.path("home"), Duration::from_secs(10));
    let gone = apart.alone(&pod, move |disk| crate::volume::tear_down::unmount(disk, &dir)).await;
    gone.unwrap().unwrap();
    assert!(RealDisk.mounts(&pod).unwrap().is_empty());
    RealDisk.remove_tree(&pod).unwrap();
    assert_eq!(RealDisk.mounts(&hung.point).unwrap().len(), 1, "the mount itself is not ours");
}

#[tokio::test]
async fn b78_work_that_panics_frees_its_lane() {
    let ground = ground();
    let path = ground.path("other");
    let failed = ground.apart.on(&path, |_| panic!("as a test wants it")).await;
    assert!(matches!(failed, Err(ApartError::Failed { .. })));
    ground.look("other").await.unwrap().unwrap();
}

#[tokio::test]
async fn b78_too_many_hanging_mounts_refuse_further_ones_and_only_those() {
    let ground = ground();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let hang = |number: usize| {
        let (apart, wait) = (ground.apart.clone(), Arc::clone(&wait));
        async move {
            let work = move |_: &dyn Disk| wait.lock().unwrap().recv().is_ok();
            apart.alone(Path::new(&format!("/m{number}")), work).await
        }
    };
    let told = futures::future::join_all((0..MAX_LANES).map(hang)).await;
    assert!(told.iter().all(|told| matches!(told, Err(ApartError::NoAnswer(_)))), "{told:?}");
    assert!(matches!(ground.look("other").await, Err(ApartError::TooMany)));
    ground.look("home/pods").await.unwrap().unwrap();
    drop(end);
    let deadline = Instant::now() + Duration::from_secs(10);
    while ground.look("other").await.is_err() {
        assert!(Instant::now() < deadline, "still refused");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn paths_have_the_lane_of_their_mount() {
    let disk = MemoryDisk::default();
    disk.put_mount(Path::new("/mnt/nfs"), "nfs4");
    disk.put_mount(Path::new("/r/pods/u1/volumes/kubernetes.io~csi/c"), "ext4");
    disk.put_mount(Path::new("/r/pods/u1/volumes/kubernetes.io~secret/s"), "tmpfs");
    let apart = Apart::new(Arc::new(disk), "/r".into());
    for (path, lane) in [
        ("/mnt/nfs/a/b", Some("/mnt/nfs")),
        ("/mnt/nfsx", Some("/mnt/nfsx")),
        ("/data/link", Some("/data/link")),
        ("/r/pods/u1/volumes/kubernetes.io~csi/c/x", Some("/r/pods/u1/volumes/kubernetes.io~csi/c")),
        ("/r/pods/u1/volumes/kubernetes.io~secret/s", None),
        ("/r/pods/u1/volumes/kubernetes.io~empty-dir/e", None),
    ] {
        assert_eq!(apart.place(Path::new(path)).await.unwrap(), lane.map(PathBuf::from), "{path}");
    }
}

/// Nobody knows yet that they hang: none of them is refused, and the pool of threads must outlast it.
#[test]
fn b78_many_mounts_that_hang_at_once_leave_threads_to_others() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_WAITS + 1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let _counted = COUNTED.lock().await;
        let root = tempfile::tempdir().unwrap();
        let started = Arc::new(AtomicUsize::new(0));
        let ours = Apart::with_deadline(Arc::new(RealDisk), root.path().to_owned(), SHORT * 2);
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let hang = |number: usize| {
            let (apart, wait, started) = (ours.clone(), Arc::clone(&wait), Arc::clone(&started));
            async move {
                let work = move |_: &dyn Disk| {
                    started.fetch_add(1, Ordering::SeqCst);
                    wait.lock().unwrap().recv().is_ok()
                };
                apart.alone(Path::new(&format!("/m{number}")), work).await
            }
        };
        let all = futures::future::join_all((0..MAX_WAITS * 2).map(hang));
        let other = async {
            // Behind all of them.
            let began = Instant::now();
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let started = started.load(Ordering::SeqCst);
                if started >= MAX_WAITS {
                    break;
                }
                assert!(began.elapsed() < SHORT, "{started} only have started");
            }
            let began = Instant::now();
            spawn_blocking(|| ()).await.unwrap();
            began.elapsed()
        };
        let (told, waited) = tokio::join!(all, other);
        // Had they taken every thread, it would have waited for the first of them to be given up.
        assert!(waited < SHORT, "another piece of work waited {waited:?}");
        assert!(told.iter().all(Result::is_err), "{told:?}");
        drop(end);
        let deadline = Instant::now() + Duration::from_secs(10);
        while threads() > 4 {
            assert!(Instant::now() < deadline, "{} threads go on", threads());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}
