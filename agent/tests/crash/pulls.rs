//! A46 on a real file system: a death at any point of a pull, a full disk, and whatever may be in a record's place.
//!
//! The process that dies pulls one private image with a secret, by the agent's own parts, and dies again while it takes
//! over from itself.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use jiff::Timestamp;
use nix::libc::SIGABRT;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use pinnace::clock::Clock;
use pinnace::disk::{Disk, RealDisk};
use pinnace::image::keyring::{Credential, Login, ObjectName, Source};
use pinnace::image::lanes::Lanes;
use pinnace::image::name::Name;
use pinnace::image::progress::Progress;
use pinnace::image::pull::{Pulls, Wanted, spec};
use pinnace::image::rate::Rate;
use pinnace::image::records::policy::Policy;
use pinnace::image::records::{Records, Verdict};
use pinnace::pod::slots::Order;
use pinnace_cri::client::{Client, Deadlines, layered, unix};
use pinnace_cri::fake::{Call, Fake, Options, Select};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::task::JoinSet;

use super::child::{FATAL_POINT, Places};
use super::points::{FatalDisk, FatalTransport, Points};

/// Set for a process that is to pull; its value is the directory of the run.
pub const PULL_DIR: &str = "PINNACE_TEST_CRASH_PULL";
const IMAGE: &str = "reg.test/team/private:1";
const PASSWORD: &str = "good";
/// More than a pull has, or a test that never ends.
const MOST: u64 = 40;
/// First deaths that are played at a time.
const AT_ONCE: usize = 4;

fn credential(secret: &str, password: &str) -> Credential {
    let login = Login { username: "u".into(), password: password.into(), email: String::new() };
    let source = ObjectName { uid: secret.into(), namespace: "ns".into(), name: secret.into() };
    Credential::new(login, Some(Source::Secret(source)))
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// The agent's images on this disk and this runtime.
struct Node {
    client: Client,
    records: Records,
    pulls: Pulls,
}

impl Node {
    fn new(client: Client, disk: Arc<dyn Disk>, root: &Path) -> Self {
        let records = Records::new(disk, root, Policy::default());
        let clock = Clock::of_this_machine().unwrap();
        let pulls = Pulls::new(
            client.clone(),
            clock,
            Lanes::new(1),
            Rate::new(0, 0),
            records.clone(),
            Progress::new(None),
        );
        Self { client, records, pulls }
    }

    fn of(fake: &Fake, root: &Path) -> Self {
        Self::new(fake.client(), Arc::new(RealDisk), root)
    }

    /// What a start does, before it lets a pod have an image.
    async fn take_over(&self) {
        assert!(self.records.wants_recovery().await);
        let images = self.client.list_images(None).await.unwrap();
        self.records.recover(images.items, now()).await;
    }

    async fn pull(&self) -> bool {
        let wanted = Wanted {
            shown: IMAGE.to_owned(),
            name: Name::parse(IMAGE).unwrap(),
            annotations: std::collections::BTreeMap::default(),
            credentials: vec![credential("right", PASSWORD)],
            place: Order { starts: true, ordinary: true, admitted: 0 },
        };
        self.pulls.pull(wanted).await.is_ok()
    }

    /// The image's id, if the runtime has it.
    async fn id(&self) -> Option<String> {
        let found = self.client.image_status(spec(&Name::parse(IMAGE).unwrap(), Default::default())).await;
        found.unwrap().map(|image| image.id.to_string())
    }

    async fn admits(&self, credentials: &[Credential]) -> bool {
        let id = self.id().await.unwrap();
        match self.records.judge(IMAGE, &id).await {
            Verdict::Use => true,
            Verdict::Verify => false,
            Verdict::Compare(known) => self.records.admits(&known, credentials, IMAGE, &id, now()).await,
        }
    }

    /// Nobody gets the image who has not shown that he may.
    async fn assert_closed(&self, case: &str) {
        assert!(!self.admits(&[]).await, "{case}: without a secret");
        assert!(!self.admits(&[credential("wrong", "guess")]).await, "{case}: with a wrong one");
    }

    /// The next pull sets all right.
    async fn assert_mends(&self, case: &str) {
        assert!(self.pull().await, "{case}");
        assert!(self.admits(&[credential("right", PASSWORD)]).await, "{case}: with the right secret");
        self.assert_closed(case).await;
    }
}

fn runtime() -> Fake {
    let fake = Fake::new(Options::default());
    fake.make_private(Select::any().image(IMAGE), "u", PASSWORD);
    fake
}

/// Takes over, pulls, and ends; or dies.
pub fn run(dir: &Path) {
    let fatal = std::env::var(FATAL_POINT).ok().map(|point| point.parse().unwrap());
    let places = Places(dir.to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let points = Arc::new(Points::new(fatal, &places.points()).unwrap());
        let inner = unix(&places.runtime().display().to_string()).unwrap();
        let transport = layered(FatalTransport { inner, points: Arc::clone(&points) });
        let client = Client::with_transport(transport, Deadlines::default());
        let node = Node::new(client, Arc::new(FatalDisk { points }), &places.root());
        node.take_over().await;
        assert!(node.pull().await);
    });
}

/// One life in a process of its own; whether it died at its point.
async fn live(places: &Places, fatal: u64) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_puller", "--nocapture"]).env(PULL_DIR, &places.0);
    command.env(FATAL_POINT, fatal.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.stderr(Stdio::piped()).kill_on_drop(true).output().await.unwrap();
    let died = output.status.signal() == Some(SIGABRT);
    assert!(died || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    died
}

/// Whether each of the two lives died at its point.
async fn two_deaths(first: u64, second: u64) -> (bool, bool) {
    let dir = tempfile::tempdir().unwrap();
    let places = Places(dir.path().to_owned());
    let fake = runtime();
    fake.serve_unix(places.runtime()).await.unwrap();
    let died = live(&places, first).await;
    let again = live(&places, second).await;
    let case = format!("deaths at {first} and {second}");
    let node = Node::of(&fake, &places.root());
    let pulled = fake.count_calls(|record| record.call == Call::PullImage) > 0;
    let known = ["pulling", "pulled"].iter().any(|dir| !told(&places.root(), dir).is_empty());
    assert!(known || !pulled, "{case}: a pull that nobody knows of");
    if node.id().await.is_none() {
        // The runtime finishes what it was asked for, or somebody else brings the image: nobody can tell.
        fake.seed_image(IMAGE, 1024);
    }
    if known {
        node.assert_closed(&format!("{case}, before all is looked at")).await;
    }
    node.take_over().await;
    if known {
        node.assert_closed(&case).await;
    }
    node.assert_mends(&case).await;
    assert!(told(&places.root(), "pulling").is_empty(), "{case}: an intent is left");
    (died, again)
}

/// Files of intents or records, without what a death left of one.
fn told(root: &Path, dir: &str) -> Vec<PathBuf> {
    let is_whole = |path: &PathBuf| path.extension().is_none();
    files(&root.join("image_manager").join(dir)).into_iter().filter(is_whole).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// Plays each `step`th second death after each first one; how many there were of the first, and of both.
pub async fn survive_deaths(step: u64) -> (u64, u64) {
    let (mut points, mut pairs, mut firsts) = (0, 0, 1..MOST);
    let mut runs = JoinSet::new();
    loop {
        while runs.len() < AT_ONCE
            && let Some(first) = firsts.next()
        {
            runs.spawn(async move {
                let mut second = 1 + first % step;
                loop {
                    let (died, again) = two_deaths(first, second).await;
                    if !died || !again {
                        return (died, second / step);
                    }
                    second += step;
                }
            });
        }
        let Some(ended) = runs.join_next().await else { return (points, pairs) };
        match ended.unwrap() {
            (true, seconds) => (points, pairs) = (points + 1, pairs + seconds),
            // The pull has no more points.
            (false, _) => firsts = MOST..MOST,
        }
    }
}

/// A disk of some pages that goes with this value.
struct TinyDisk(TempDir);

impl TinyDisk {
    /// None, and a word about it, where nothing may be mounted.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        match mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k,mode=750")) {
            Ok(()) => Some(Self(dir)),
            Err(error) => {
                println!("SKIPPED a46: cannot mount a tmpfs: {error}");
                None
            }
        }
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.path().join("ballast")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

/// The disk is full before the pull, or becomes so during it.
pub async fn survive_a_full_disk() {
    let Some(disk) = TinyDisk::mount() else { return };
    let fake = runtime();
    let node = Node::of(&fake, disk.0.path());
    node.take_over().await;
    disk.fill();
    assert!(!node.pull().await, "a pull that nobody would know of");
    assert_eq!(fake.count_calls(|record| record.call == Call::PullImage), 0);
    disk.free();

    let intent = node.records.intend(IMAGE).await.unwrap();
    fake.seed_image(IMAGE, 1024);
    disk.fill();
    let id = node.id().await.unwrap();
    node.records.pulled(intent, &id, Some(&credential("right", PASSWORD)), now()).await;
    node.assert_closed("a record without room").await;
    let node = Node::of(&fake, disk.0.path());
    node.assert_closed("after a restart").await;
    node.take_over().await;
    node.assert_closed("with what could be looked at").await;
    disk.free();
    node.assert_mends("with room again").await;
}

/// What may be found in the place of a record.
pub async fn survive_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let fake = runtime();
    let node = Node::of(&fake, dir.path());
    node.take_over().await;
    assert!(node.pull().await);
    let record = files(&dir.path().join("image_manager/pulled")).remove(0);
    let good = std::fs::read(&record).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let bit = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        bytes
    };
    let kinds: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("zeros, as after a power cut", vec![0; good.len()]),
        ("cut", good[..good.len() / 2].to_vec()),
        ("another version", text.replace("v1beta1", "v9").into_bytes()),
        ("another kind", text.replace("ImagePulledRecord", "ImagePullIntent").into_bytes()),
        ("another image's", text.replace("\"imageRef\":\"", "\"imageRef\":\"x").into_bytes()),
        ("a field too many", text.replacen('{', "{\"more\":1,", 1).into_bytes()),
        ("a changed key", bit(text.find("credentialMapping").unwrap())),
        ("too large", vec![b' '; 5 << 20]),
        ("no text", vec![0xff; 64]),
    ];
    for (kind, bytes) in kinds {
        std::fs::write(&record, bytes).unwrap();
        let right = [credential("right", PASSWORD)];
        assert!(!node.admits(&right).await, "{kind}: believed");
        node.assert_closed(kind).await;
        let node = Node::of(&fake, dir.path());
        node.take_over().await;
        node.assert_closed(&format!("{kind}, after a restart")).await;
        node.assert_mends(kind).await;
    }
    std::fs::remove_file(&record).unwrap();
    nix::unistd::mkfifo(&record, nix::sys::stat::Mode::S_IRWXU).unwrap();
    node.assert_closed("a pipe").await;
    node.assert_mends("a pipe").await;
    std::fs::remove_file(&record).unwrap();
    std::fs::create_dir(&record).unwrap();
    node.assert_closed("a directory").await;
    // Nobody takes that away, and nothing can be written in its place.
    assert!(node.pull().await);
    node.assert_closed("a directory that stays").await;
}
