use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::mkfifo;
use proptest::prelude::*;

use super::*;
use crate::disk::{Disk, RealDisk};

/// Races of each kind; the same whether or not a run is whole, since they take a second.
const RACES: usize = 5_000;

/// A volume, and beside it what no container may see.
struct Ground {
    root: tempfile::TempDir,
    volume: PathBuf,
    host: PathBuf,
}

fn ground() -> Ground {
    let root = tempfile::tempdir().unwrap();
    // As the kernel names it, for links with an absolute target.
    let top = root.path().canonicalize().unwrap();
    let (volume, host) = (top.join("volume"), top.join("host"));
    fs::create_dir_all(volume.join("a/b")).unwrap();
    fs::create_dir_all(host.join("etc")).unwrap();
    fs::write(volume.join("a/file"), "of the volume").unwrap();
    for secret in [host.join("machine-id"), host.join("etc/machine-id")] {
        fs::write(secret, "of the host").unwrap();
    }
    Ground { root, volume, host }
}

impl Ground {
    fn hold(&self, inner: &str) -> Result<OwnedFd, SubPathError> {
        hold(&self.volume, Path::new(inner))
    }

    fn bind(&self, inner: &str, target: &str) -> Result<PathBuf, SubPathError> {
        let target = self.root.path().join("pod/volume-subpaths").join(target);
        let sub_path = SubPath { volume: self.volume.clone(), inner: inner.into(), target: target.clone() };
        RealDisk.bind_sub_path(&sub_path).map(|()| target)
    }

    /// Everything on the host's side, to compare.
    fn host(&self) -> Vec<(PathBuf, u32)> {
        let mut all = Vec::new();
        let mut ahead = vec![self.host.clone()];
        while let Some(directory) = ahead.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let (path, mode) = entry.map(|entry| (entry.path(), mode(&entry.path()))).unwrap();
                if path.is_dir() {
                    ahead.push(path.clone());
                }
                all.push((path, mode));
            }
        }
        all.sort();
        all
    }
}

/// Unmounts at the end of a test, whatever came of it.
impl Drop for Ground {
    fn drop(&mut self) {
        for mount in RealDisk.mounts(self.root.path()).unwrap_or_default().iter().rev() {
            let _ = RealDisk.unmount(&mount.path);
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Where what is held lies.
fn place(held: &OwnedFd) -> PathBuf {
    readlink(&descriptor(held)).unwrap().into()
}

/// Whether a test may mount; says so if not.
fn may_mount(ground: &Ground) -> bool {
    match ground.bind("a", "v/probe/0") {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "cannot mount: {error:?}");
            println!("SKIPPED: needs root and the right to mount: {error:?}");
            false
        }
    }
}

#[test]
fn a21_what_lies_in_the_volume_is_found_by_way_of_links_too() {
    let ground = ground();
    symlink("a/b", ground.volume.join("relative")).unwrap();
    symlink("../a/./b/..", ground.volume.join("a/back")).unwrap();
    symlink(ground.volume.join("a/b"), ground.volume.join("absolute")).unwrap();
    symlink("..data/file", ground.volume.join("file")).unwrap();
    symlink("a", ground.volume.join("..data")).unwrap();
    let found = |inner: &str| place(&ground.hold(inner).unwrap());
    for (inner, wanted) in [
        ("a", "a"),
        ("./a//b/", "a/b"),
        ("relative", "a/b"),
        ("a/back", "a"),
        ("a/back/back/file", "a/file"),
        ("absolute", "a/b"),
        ("file", "a/file"),
    ] {
        assert_eq!(found(inner), ground.volume.join(wanted), "{inner}");
    }
    assert_eq!(found("."), ground.volume);
}

#[test]
fn a21_nothing_outside_is_found_or_made() {
    let ground = ground();
    let before = ground.host();
    for (name, target) in [
        ("up", "../host"),
        ("far", "../../../../../../../etc"),
        ("root", "/"),
        ("climber", "a/../../host"),
        ("loop", "loop"),
        ("magic", "/proc/self/cwd"),
        ("dangling", "nowhere"),
    ] {
        symlink(target, ground.volume.join(name)).unwrap();
    }
    symlink(&ground.host, ground.volume.join("absolute")).unwrap();
    symlink(ground.volume.join("../host"), ground.volume.join("sly")).unwrap();
    for inner in [
        "..",
        "../host",
        "a/../../host",
        "/etc",
        "/",
        "a/..",
        "up",
        "up/etc",
        "up/new",
        "far",
        "far/new",
        "root/etc",
        "root/etc/new",
        "climber",
        "loop",
        "loop/x",
        "magic",
        "dangling",
        "dangling/x",
        "absolute",
        "absolute/machine-id",
        "absolute/new",
        "sly",
        "sly/new",
        "a/file/x",
        "a/file/x/y",
    ] {
        assert!(ground.hold(inner).is_err(), "{inner}");
    }
    assert!(hold(&ground.volume.join("a/file"), Path::new("x")).is_err(), "a volume that is a file");
    assert!(hold(&ground.volume.join("none"), Path::new("x")).is_err(), "a volume that is not there");
    assert_eq!(ground.host(), before);
    assert!(!ground.volume.join("nowhere").exists());
}

#[test]
fn a22_missing_directories_get_the_volumes_mode_and_group() {
    let ground = ground();
    fs::set_permissions(&ground.volume, fs::Permissions::from_mode(0o2770)).unwrap();
    let root = geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&ground.volume, None, Some(4242)).unwrap();
        // A change of owner may take it away.
        fs::set_permissions(&ground.volume, fs::Permissions::from_mode(0o2770)).unwrap();
    }
    ground.hold("x/y").unwrap();
    for made in ["x", "x/y"] {
        let made = ground.volume.join(made);
        assert_eq!(mode(&made), 0o2770);
        assert_eq!(fs::metadata(&made).unwrap().gid() == 4242, root);
    }
    fs::set_permissions(&ground.volume, fs::Permissions::from_mode(0o1777)).unwrap();
    ground.hold("z").unwrap();
    assert_eq!(mode(&ground.volume.join("z")) & 0o777, 0o777);
    // What is there keeps its mode.
    fs::set_permissions(ground.volume.join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    ground.hold("a/new").unwrap();
    assert_eq!(mode(&ground.volume.join("a")), 0o700);
}

#[test]
fn a21_directories_files_pipes_and_sockets_are_mounted_as_what_they_are() {
    use std::os::unix::fs::FileTypeExt;
    let ground = ground();
    if !may_mount(&ground) {
        return;
    }
    mkfifo(&ground.volume.join("pipe"), Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(ground.volume.join("socket")).unwrap();
    let kind =
        |inner: &str| fs::metadata(ground.bind(inner, &format!("v/c/{inner}")).unwrap()).unwrap().file_type();
    assert!(kind("a").is_dir());
    assert!(kind("pipe").is_fifo());
    assert!(kind("socket").is_socket());
    let file = ground.bind("a/file", "v/c/9").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "of the volume");
    let made = ground.bind("made/here", "v/c/10").unwrap();
    fs::write(made.join("x"), "seen").unwrap();
    assert_eq!(fs::read_to_string(ground.volume.join("made/here/x")).unwrap(), "seen");
}

/// An instance before may have left its mount: the same part is used on, another takes its place, whatever its type.
#[test]
fn a_mount_of_an_earlier_instance_is_used_or_replaced() {
    let ground = ground();
    if !may_mount(&ground) {
        return;
    }
    let target = ground.bind("a", "v/c/0").unwrap();
    let mounts = || RealDisk.mounts(&target).unwrap().len();
    ground.bind("a", "v/c/0").unwrap();
    assert_eq!(mounts(), 1);
    // As an update of a volume exchanges its version.
    fs::rename(ground.volume.join("a"), ground.volume.join("old")).unwrap();
    fs::create_dir(ground.volume.join("a")).unwrap();
    fs::write(ground.volume.join("a/new"), "new").unwrap();
    ground.bind("a", "v/c/0").unwrap();
    assert_eq!(fs::read_to_string(target.join("new")).unwrap(), "new");
    assert_eq!(mounts(), 1);
    ground.bind("old/file", "v/c/0").unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "of the volume");
    ground.bind("a", "v/c/0").unwrap();
    assert_eq!((mounts(), target.is_dir()), (1, true));
    RealDisk.unmount(&target).unwrap();
    assert!(target.is_dir() && !target.join("new").exists());
    ground.bind("a", "v/c/0").unwrap();
    assert_eq!(mounts(), 1);
}

/// What is mounted where the volume shares its mounts with the node appears in the part too. Unmounting the part takes
/// it off there, and not off the node.
#[test]
fn i7_unmounting_a_part_leaves_the_nodes_own_mounts() {
    let ground = ground();
    if !may_mount(&ground) {
        return;
    }
    let (none, shared) = (None::<&str>, ground.root.path().join("shared"));
    fs::create_dir(&shared).unwrap();
    mount(Some(&ground.volume), &shared, none, MsFlags::MS_BIND, none).unwrap();
    mount(none, &shared, none, MsFlags::MS_SHARED, none).unwrap();
    let target = ground.root.path().join("pod/0");
    let part = SubPath { volume: shared.clone(), inner: "a".into(), target: target.clone() };
    RealDisk.bind_sub_path(&part).unwrap();
    mount(Some(&ground.host), &shared.join("a/b"), none, MsFlags::MS_BIND, none).unwrap();
    assert!(target.join("b/machine-id").exists(), "it appears in the part");
    RealDisk.unmount(&target).unwrap();
    assert!(!target.join("b").exists());
    assert!(shared.join("a/b/machine-id").exists(), "and stays on the node");
}

/// Somebody exchanges a directory of the volume and a link, as fast as may be, while a part of it is looked for.
fn race(ground: &Ground, link: &Path, mut each: impl FnMut(usize)) {
    let (inside, hidden) = (ground.volume.join("a"), ground.volume.join("hidden"));
    symlink(link, &hidden).unwrap();
    let over = AtomicBool::new(false);
    let swap = || renameat2(AT_FDCWD, &inside, AT_FDCWD, &hidden, RenameFlags::RENAME_EXCHANGE);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                swap().unwrap();
            }
        });
        for round in 0..RACES {
            each(round);
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a20_a_racer_never_gets_the_hosts_files() {
    for target in ["/", "../host", "ABSOLUTE"] {
        let ground = ground();
        let target = if target == "ABSOLUTE" { ground.host.clone() } else { target.into() };
        fs::create_dir(ground.volume.join("a/etc")).unwrap();
        fs::write(ground.volume.join("a/etc/machine-id"), "of the volume").unwrap();
        let (mut found, mut refused) = (0_usize, 0_usize);
        race(&ground, &target, |_| match ground.hold("a/etc/machine-id") {
            Ok(held) => {
                found += 1;
                assert_eq!(fs::read_to_string(descriptor(&held)).unwrap(), "of the volume");
            }
            Err(_) => refused += 1,
        });
        println!("{found} found, {refused} refused, 0 escapes");
        assert!(found > 0 && refused > 0, "no race: {found} found, {refused} refused");
    }
}

#[test]
fn a22_a_racer_never_has_a_directory_made_elsewhere() {
    let ground = ground();
    let before = ground.host();
    let mut made = 0_usize;
    race(&ground, &ground.host, |round| {
        if let Ok(held) = ground.hold(&format!("a/d{}/e{round}", round % 7)) {
            assert!(fs::metadata(descriptor(&held)).unwrap().is_dir());
            made += 1;
        }
    });
    assert!(made > 0);
    assert_eq!(ground.host(), before);
}

/// What a random volume holds, in the order in which it is made; each goes into a directory made before.
#[derive(Debug, Clone)]
enum Thing {
    Directory,
    File,
    Pipe,
    Link(String),
}

fn thing() -> impl Strategy<Value = Thing> {
    let name = prop_oneof!["t[0-9]", Just("..".to_owned()), Just(".".to_owned()), Just("host".to_owned())];
    let target = prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"));
    let start = prop_oneof![Just(""), Just("/"), Just("VOLUME/"), Just("HOST/")];
    prop_oneof![
        4 => Just(Thing::Directory),
        2 => Just(Thing::File),
        1 => Just(Thing::Pipe),
        6 => (start, target).prop_map(|(start, target)| Thing::Link(format!("{start}{target}"))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a21_whatever_the_tree_and_the_path_nothing_outside_is_found_or_made(
        things in prop::collection::vec((thing(), 0..100_usize), 0..12),
        path in prop::collection::vec("(t[0-9]|t[0-9]|t[0-9]|new|\\.\\.|\\.|)", 1..6),
        absolute in prop::bool::weighted(0.1),
    ) {
        let ground = ground();
        let mut directories = vec![ground.volume.clone()];
        for (number, (thing, place)) in things.iter().enumerate() {
            let path = directories[place % directories.len()].join(format!("t{}", number % 10));
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            match thing {
                Thing::Directory => {
                    fs::create_dir(&path).unwrap();
                    directories.push(path);
                }
                Thing::File => fs::write(path, "x").unwrap(),
                Thing::Pipe => mkfifo(&path, Mode::S_IRWXU).unwrap(),
                Thing::Link(target) => {
                    let target = target.replace("VOLUME", &ground.volume.to_string_lossy());
                    symlink(target.replace("HOST", &ground.host.to_string_lossy()), path).unwrap();
                }
            }
        }
        let before = ground.host();
        let inner = format!("{}{}", if absolute { "/" } else { "" }, path.join("/"));
        let held = ground.hold(&inner);
        if let Ok(held) = &held {
            prop_assert!(place(held).starts_with(&ground.volume), "{} is {:?}", inner, place(held));
        }
        if Path::new(&inner).is_absolute() || path.iter().any(|name| name == "..") {
            prop_assert!(held.is_err(), "{}", inner);
        }
        // What the kernel finds there without leaving the volume is found, and the same thing.
        let name = ground.volume.join(&inner);
        if let (Ok(real), false) = (name.canonicalize(), held.is_err()) {
            prop_assert_eq!(place(&held.unwrap()), real);
        }
        prop_assert_eq!(ground.host(), before);
        prop_assert_eq!(fs::read_dir(ground.root.path()).unwrap().count(), 2);
    }
}
