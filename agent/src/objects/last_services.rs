//! The last list of Services, across restarts. A container that ends while the API server is away is started again with
//! the variables that it had; a list that is a little old serves it better than none. Owns `<root>/pinnace/services`,
//! which holds no secrets; woken by a list that is another; writes the file at most every ten seconds; ends with the stop
//! token. No start of a container waits for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::book::{Book, Services, by_namespace};
use super::service::ServiceInfo;
use crate::disk::Disk;

/// A list that is longer is not kept: some 20,000 Services.
const LONGEST: u64 = 4 << 20;
/// Least time between two writes: Services come and go in groups.
const PERIOD: Duration = Duration::from_secs(10);

/// The file.
#[derive(Clone)]
pub(super) struct LastServices {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

/// Keeps the file as the book has the list, until `stop`.
pub(super) async fn keep(last: LastServices, book: Arc<Book>, stop: CancellationToken) {
    let mut keeping = Keeping { last, held: None };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = book.services_changed.notified() => {}
        }
        if let Some(services) = book.services() {
            keeping.keep(services).await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// The file, and what it holds as far as this process knows.
struct Keeping {
    last: LastServices,
    held: Option<Arc<Services>>,
}

impl Keeping {
    /// Sees that the file holds this list. A failure is logged, and the next change tries again.
    async fn keep(&mut self, services: Arc<Services>) {
        if self.held.is_none() {
            self.held = self.last.read().await;
        }
        if self.held.as_ref() == Some(&services) {
            return;
        }
        let (last, written) = (self.last.clone(), Arc::clone(&services));
        let result = tokio::task::spawn_blocking(move || last.write(&written)).await;
        match result.map_err(io::Error::other).and_then(|result| result) {
            Ok(()) => self.held = Some(services),
            Err(error) => {
                let path = self.last.path.display();
                tracing::warn!(%error, %path, "failed to keep the list of services for the next start");
            }
        }
    }
}

impl LastServices {
    /// In the agent's own directory, `<root>/pinnace`.
    pub(super) fn new(disk: Arc<dyn Disk>, own: &Path) -> Self {
        Self { disk, path: own.join("services") }
    }

    fn write(&self, services: &Services) -> io::Result<()> {
        let all: Vec<&ServiceInfo> = services.values().flat_map(|services| services.iter()).collect();
        let bytes = serde_json::to_vec(&all)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
            return Err(io::Error::other("the list is longer than 4 MiB"));
        }
        self.path.parent().map_or(Ok(()), |own| self.disk.create_dir_all(own))?;
        self.disk.replace(&self.path, &bytes)
    }

    /// The list of an earlier run; none if there is none that can be read.
    pub(super) async fn read(&self) -> Option<Arc<Services>> {
        let Self { disk, path } = self.clone();
        let read = tokio::task::spawn_blocking(move || disk.read(&path, LONGEST)).await.ok()?;
        let decoded = read.and_then(|bytes| Ok(serde_json::from_slice::<Vec<ServiceInfo>>(&bytes)?));
        match decoded {
            Ok(all) => Some(Arc::new(by_namespace(all))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "failed to read the last list of services");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::objects::service::ServicePort;

    fn list(names: &[&str]) -> Arc<Services> {
        let service = |name: &&str| ServiceInfo {
            name: (*name).to_owned(),
            namespace: "ns".to_owned(),
            cluster_ip: "10.0.0.1".to_owned(),
            ports: vec![ServicePort { name: String::new(), port: 80, protocol: "TCP".to_owned() }],
        };
        Arc::new(by_namespace(names.iter().map(service)))
    }

    #[tokio::test]
    async fn b60_the_list_is_there_after_a_restart() {
        let disk = Arc::new(MemoryDisk::default());
        let open = || LastServices::new(Arc::clone(&disk) as Arc<dyn Disk>, Path::new("/r/pinnace"));
        let keeping = || Keeping { last: open(), held: None };
        assert_eq!(open().read().await, None);
        keeping().keep(list(&["a", "b"])).await;
        assert_eq!(open().read().await, Some(list(&["a", "b"])));
        let mut kept = keeping();
        kept.keep(list(&["a"])).await;
        let changes = disk.changes();
        kept.keep(list(&["a"])).await;
        assert_eq!((open().read().await, disk.changes()), (Some(list(&["a"])), changes));
    }

    #[tokio::test]
    async fn a_damaged_file_is_no_list() {
        let disk = Arc::new(MemoryDisk::default());
        disk.put(Path::new("/r/pinnace/services"), b"[{");
        let last = LastServices::new(disk as Arc<dyn Disk>, Path::new("/r/pinnace"));
        assert_eq!(last.read().await, None);
    }
}
