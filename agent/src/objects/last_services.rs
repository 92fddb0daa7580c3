//! The last list of Services, across restarts. A container that ends while the API server is away is started again with
//! the variables that it had; a list that is a little old serves it better than none. Owns `<root>/pinnace/services`,
//! written after the list was used and had changed; holds no secrets.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::book::Services;
use super::service::ServiceInfo;
use crate::disk::Disk;

/// A list that is longer is not kept: some 20,000 Services.
const LONGEST: u64 = 4 << 20;

/// The file. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct LastServices {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// What the file holds, as far as this process wrote or read it.
    held: Arc<Mutex<Option<Arc<Services>>>>,
}

impl LastServices {
    /// In the agent's own directory, `<root>/pinnace`.
    pub(super) fn new(disk: Arc<dyn Disk>, own: &std::path::Path) -> Self {
        Self { disk, path: own.join("services"), held: Arc::default() }
    }

    /// Sees that the file holds this list. A failure is logged: the list is a convenience of the next start.
    pub(super) async fn keep(&self, services: &Arc<Services>) {
        if self.holds(services) {
            return;
        }
        let (last, services) = (self.clone(), Arc::clone(services));
        let written = tokio::task::spawn_blocking(move || last.write(&services)).await;
        if let Err(error) = written.map_err(io::Error::other).and_then(|written| written) {
            tracing::warn!(%error, path = %self.path.display(), "failed to keep the list of services for the next start");
        }
    }

    fn holds(&self, services: &Arc<Services>) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().is_some_and(|held| Arc::ptr_eq(held, services) || held == services)
    }

    /// Only one writes at a time, and a list that failed to be written is not tried again before it changes.
    fn write(&self, services: &Arc<Services>) -> io::Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| held == services) {
            return Ok(());
        }
        *held = Some(Arc::clone(services));
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
        let Self { disk, path, .. } = self.clone();
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

fn by_namespace(all: Vec<ServiceInfo>) -> Services {
    let mut services = std::collections::BTreeMap::<String, Vec<ServiceInfo>>::new();
    for service in all {
        services.entry(service.namespace.clone()).or_default().push(service);
    }
    services.into_iter().map(|(namespace, services)| (namespace, services.into())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
        Arc::new(by_namespace(names.iter().map(service).collect()))
    }

    #[tokio::test]
    async fn b60_the_list_is_there_after_a_restart() {
        let disk = Arc::new(MemoryDisk::default());
        let open = || LastServices::new(Arc::clone(&disk) as Arc<dyn Disk>, Path::new("/r/pinnace"));
        assert_eq!(open().read().await, None);
        open().keep(&list(&["a", "b"])).await;
        assert_eq!(open().read().await, Some(list(&["a", "b"])));
        let kept = open();
        kept.keep(&list(&["a"])).await;
        let changes = disk.changes();
        kept.keep(&list(&["a"])).await;
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
