//! The points at which the agent may be made to die: each changing call to the runtime and each file operation,
//! before and after. They sit in decorators of the seams, so that the shipped binary has none.

use std::fs::File;
use std::future::Future;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use pinnace::disk::contents::{
    Attributes, Change, Contents, FileKind, HugePages, Mounted, SubPath, SubPathError, Tmpfs,
};
use pinnace::disk::{Disk, RealDisk};
use tower::Service;

/// The calls that change something in the runtime.
pub const CHANGING: [&str; 8] = [
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "PullImage",
];

/// Counts points, writes down each, and ends the process at one of them.
#[derive(Debug)]
pub struct Points {
    passed: AtomicU64,
    fatal: Option<u64>,
    log: File,
}

impl Points {
    /// Points from 1 on; the process ends at `fatal`. Each is appended to `log` as a line.
    pub fn new(fatal: Option<u64>, log: &Path) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        Ok(Self { passed: AtomicU64::new(0), fatal, log })
    }

    fn pass(&self, when: &str, what: &str) {
        let number = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        (&self.log).write_all(format!("{number} {when} {what}\n").as_bytes()).unwrap();
        if self.fatal == Some(number) {
            // Nothing is flushed and nothing is dropped, as when the power of SIGKILL ends it.
            std::process::abort();
        }
    }

    fn around<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        self.pass("before", what);
        let result = work();
        self.pass("after", what);
        result
    }
}

/// A transport to the runtime with a point on both sides of each changing call.
#[derive(Debug, Clone)]
pub struct FatalTransport<S> {
    pub inner: S,
    pub points: Arc<Points>,
}

impl<S, B> Service<http::Request<B>> for FatalTransport<S>
where
    S: Service<http::Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let call = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        // The clone is not ready; the one that was asked is.
        let next = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, next);
        let points = CHANGING.contains(&call.as_str()).then(|| Arc::clone(&self.points));
        Box::pin(async move {
            let Some(points) = points else { return ready.call(request).await };
            points.pass("before", &call);
            let answer = ready.call(request).await;
            points.pass("after", &call);
            answer
        })
    }
}

/// The real disk with a point on both sides of each operation that changes something.
#[derive(Debug)]
pub struct FatalDisk {
    pub points: Arc<Points>,
}

impl FatalDisk {
    fn around<T>(&self, verb: &str, path: &Path, work: impl FnOnce() -> T) -> T {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.points.around(&format!("{verb} {name}"), work)
    }
}

impl Disk for FatalDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.around("create_dir_all", path, || RealDisk.create_dir_all(path))
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        RealDisk.read(path, limit)
    }

    fn read_beneath(&self, root: &Path, inner: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        RealDisk.read_beneath(root, inner, limit)
    }

    fn append(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.around("append", path, || RealDisk.append(path, bytes, sync))
    }

    fn create_public(&self, path: &Path) -> io::Result<()> {
        self.around("create_public", path, || RealDisk.create_public(path))
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.around("overwrite", path, || RealDisk.overwrite(path, bytes))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.around("replace", path, || {
            // As a death within leaves it: the temporary file, half written.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let temporary = path.with_file_name(format!(".{name}.pinnace-tmp"));
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            if std::fs::write(&temporary, half).is_ok() {
                self.points.pass("within", &format!("replace {name}"));
            }
            RealDisk.replace(path, bytes)
        })
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        self.around("truncate", path, || RealDisk.truncate(path, length))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.around("rename", to, || RealDisk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.around("remove_file", path, || RealDisk.remove_file(path))
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.around("remove_tree", path, || RealDisk.remove_tree(path))
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.around("symlink", link, || RealDisk.symlink(target, link))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        RealDisk.list(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.around("remove_dir", path, || RealDisk.remove_dir(path))
    }

    fn contents(&self, root: &Path) -> io::Result<Contents> {
        RealDisk.contents(root)
    }

    fn change(&self, root: &Path, change: &Change) -> io::Result<()> {
        self.around("change", root, || RealDisk.change(root, change))
    }

    fn mount_tmpfs(&self, path: &Path, tmpfs: &Tmpfs) -> io::Result<()> {
        self.around("mount_tmpfs", path, || RealDisk.mount_tmpfs(path, tmpfs))
    }

    fn mount_huge_pages(&self, path: &Path, pages: HugePages, top: &Attributes) -> io::Result<()> {
        self.around("mount_huge_pages", path, || RealDisk.mount_huge_pages(path, pages, top))
    }

    fn bind_sub_path(&self, sub_path: &SubPath) -> Result<(), SubPathError> {
        self.around("bind_sub_path", &sub_path.target, || RealDisk.bind_sub_path(sub_path))
    }

    fn unmount(&self, path: &Path) -> io::Result<()> {
        self.around("unmount", path, || RealDisk.unmount(path))
    }

    fn mounts(&self, path: &Path) -> io::Result<Vec<Mounted>> {
        RealDisk.mounts(path)
    }

    fn mount_of(&self, path: &Path) -> io::Result<Mounted> {
        RealDisk.mount_of(path)
    }

    fn give_to_group(&self, root: &Path, gid: u32) -> io::Result<()> {
        self.around("give_to_group", root, || RealDisk.give_to_group(root, gid))
    }

    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>> {
        RealDisk.kind(path)
    }

    fn create_host_dir(&self, path: &Path) -> io::Result<()> {
        self.around("create_host_dir", path, || RealDisk.create_host_dir(path))
    }

    fn create_host_file(&self, path: &Path) -> io::Result<()> {
        self.around("create_host_file", path, || RealDisk.create_host_file(path))
    }
}
