//! A disk that is full, as a tiny tmpfs. Needs root; says so where it may not mount.

use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::machine::{Machine, Said, sleeper};

/// A tmpfs of 256 KiB that goes with this value.
struct TinyDisk(PathBuf);

impl TinyDisk {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        match mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("size=256k,mode=750")) {
            Ok(()) => Some(Self(at.to_owned())),
            Err(error) => {
                println!("SKIPPED: cannot mount a tmpfs: {error}");
                None
            }
        }
    }

    /// Leaves no byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("ballast")).unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

/// Pods beside `new`: what they add to the journal is more than what is left of a page that was begun.
const MORE: usize = 6;

fn write_many(machine: &Machine) {
    machine.write("new.json", &sleeper("new"));
    for number in 0..MORE {
        machine.write(&format!("more-{number}.json"), &sleeper(&format!("more-{number}")));
    }
}

fn tells_of_the_journal(said: &Said) -> bool {
    said.code == Some(0) && said.err.to_lowercase().contains("journal")
}

#[tokio::test(flavor = "multi_thread")]
async fn b72_a_full_disk_under_the_journal_stops_no_pod() {
    let mut machine = Machine::new();
    let Some(disk) = TinyDisk::mount(&machine.root().join("pinnace")) else { return };
    machine.serve().await;
    machine.start();
    machine.write("old.json", &sleeper("old"));
    let old = machine.until_running("old").await;

    disk.fill();
    write_many(&machine);
    let new = machine.until_running("new").await;
    machine.until(&["pods"], "the full disk is shown", tells_of_the_journal).await;
    assert_eq!(machine.until_running("old").await, old);
    machine.remove("old.json");
    let stopped = |fake: &pinnace_cri::fake::Fake| fake.snapshot().running().iter().all(|c| c.id != old);
    assert!(machine.fake.wait_until(crate::machine::PATIENCE, stopped).await, "{}", machine.log());
    machine.assert_alive();

    disk.free();
    machine.until(&["pods"], "all is well", |said| said.code == Some(0) && said.err.is_empty()).await;
    let gone = |fake: &pinnace_cri::fake::Fake| fake.snapshot().sandboxes.len() == 1 + MORE;
    assert!(machine.fake.wait_until(crate::machine::PATIENCE, gone).await, "{}", machine.log());
    machine.kill().await;
    machine.start();
    assert_eq!(machine.until_running("new").await, new, "the journal is whole");
    machine.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b72_a_full_root_directory_is_survived() {
    let mut machine = Machine::new();
    let Some(disk) = TinyDisk::mount(&machine.root()) else { return };
    machine.serve().await;
    machine.start();
    machine.write("old.json", &sleeper("old"));
    let old = machine.until_running("old").await;
    disk.fill();
    write_many(&machine);
    machine.until(&["pods"], "the full disk is shown", tells_of_the_journal).await;
    machine.assert_alive();
    assert_eq!(machine.until_running("old").await, old);
    // Also a start on a full disk.
    machine.kill().await;
    machine.start();
    assert_eq!(machine.until_running("old").await, old);
    disk.free();
    machine.until_running("new").await;
    machine.until(&["pods"], "all is well", |said| said.code == Some(0) && said.err.is_empty()).await;
    assert_eq!(machine.until_running("old").await, old);
    machine.kill().await;
}
