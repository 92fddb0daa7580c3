//! Files that whoever started this process left open. Nothing here uses them, and every program that this process
//! starts would have them too: a file of the host's in a place where nobody looks for it (CVE-2024-21626 was one).

use std::os::fd::RawFd;

/// Closes everything beyond the three standard files. To be called first of all, while this process has opened
/// nothing itself.
pub fn close() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<RawFd> =
        open.flatten().filter_map(|file| file.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The list itself is among them, and is closed already.
        let _closed = nix::unistd::close(number);
    }
}
