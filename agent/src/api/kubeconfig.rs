//! Reads a kubeconfig and says plainly what it lacks.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};
use x509_parser::pem::Pem;

/// A usable kubeconfig.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What kube makes of it.
    pub config: kube::Config,
    /// The API server's address.
    pub server: String,
    /// Files whose change asks for another look: the kubeconfig and what it points at.
    pub files: Vec<PathBuf>,
    /// What is wrong with the client certificate's dates, if anything. The server has the last word: it may have
    /// another clock.
    pub warning: Option<String>,
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A field is missing or wrong.
    #[error("kubeconfig {file}: {field}: {reason}")]
    Field {
        /// The file.
        file: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be read, or what it points at cannot.
    #[error("kubeconfig {file}: failed to load")]
    Load {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: Box<KubeconfigError>,
    },
}

/// Reads the kubeconfig and everything that it points at.
pub async fn load(file: &Path, now: Timestamp) -> Result<Loaded, LoadError> {
    let failed = |source| LoadError::Load { file: file.to_owned(), source: Box::new(source) };
    let kubeconfig = Kubeconfig::read_from(file).map_err(failed)?;
    let (server, user) = chosen(&kubeconfig).map_err(|(field, reason)| LoadError::Field {
        file: file.to_owned(),
        field,
        reason,
    })?;
    let mut files = vec![file.to_owned()];
    files.extend(user.iter().flat_map(|user| {
        [&user.client_certificate, &user.client_key].into_iter().flatten().map(PathBuf::from)
    }));
    for path in files.iter().skip(1) {
        // kube reads them when the first connection is made; by then nobody would know which file it was.
        if let Err(error) = std::fs::File::open(path) {
            let (field, reason) = ("users".to_owned(), format!("failed to read {}: {error}", path.display()));
            return Err(LoadError::Field { file: file.to_owned(), field, reason });
        }
    }
    let pem = user.as_ref().and_then(certificate);
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(failed)?;
    let warning = pem.and_then(|pem| dates(&pem, now));
    Ok(Loaded { config, server, files, warning })
}

/// The server and user of the current context.
fn chosen(kubeconfig: &Kubeconfig) -> Result<(String, Option<AuthInfo>), (String, String)> {
    let fault = |field: &str, reason: String| (field.to_owned(), reason);
    let name = kubeconfig.current_context.as_deref().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| fault("current-context", "is missing".to_owned()))?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == name);
    let context = context
        .and_then(|context| context.context.as_ref())
        .ok_or_else(|| fault("current-context", format!("there is no context {name:?}")))?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let cluster = cluster
        .and_then(|cluster| cluster.cluster.as_ref())
        .ok_or_else(|| fault("contexts", format!("there is no cluster {:?}", context.cluster)))?;
    let server = cluster.server.clone().filter(|server| !server.is_empty());
    let server = server.ok_or_else(|| {
        fault(&format!("clusters[{}].cluster.server", context.cluster), "is missing".to_owned())
    })?;
    let known = |name: &String| kubeconfig.auth_infos.iter().find(|user| user.name == *name);
    let user = match context.user.as_ref().filter(|name| !name.is_empty()) {
        Some(name) => known(name)
            .ok_or_else(|| fault("contexts", format!("there is no user {name:?}")))?
            .auth_info
            .clone(),
        None => None,
    };
    Ok((server, user))
}

/// The client certificate as PEM, from wherever the kubeconfig has it.
fn certificate(user: &AuthInfo) -> Option<Vec<u8>> {
    use base64::Engine as _;
    match (&user.client_certificate_data, &user.client_certificate) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD.decode(data).ok(),
        (None, Some(path)) => std::fs::read(path).ok(),
        (None, None) => None,
    }
}

/// What is wrong with the dates of a certificate. Pure.
fn dates(pem: &[u8], now: Timestamp) -> Option<String> {
    let pem = Pem::iter_from_buffer(pem).flatten().find(|pem| pem.label == "CERTIFICATE")?;
    let certificate = pem.parse_x509().ok()?;
    let validity = certificate.validity();
    let at = |seconds: i64| Timestamp::from_second(seconds).ok();
    let (start, end) = (at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?);
    if now < start {
        return Some(format!(
            "the client certificate is valid from {start} on, and this machine's clock says {now}"
        ));
    }
    (now > end)
        .then(|| format!("the client certificate expired at {end}, and this machine's clock says {now}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        std::fs::write(&file, text).unwrap();
        (dir, file)
    }

    async fn refusal(text: &str) -> String {
        let (_dir, file) = write(text);
        let error = load(&file, Timestamp::UNIX_EPOCH).await.unwrap_err();
        crate::chain::Chain(&error).to_string().replace(&file.to_string_lossy().into_owned(), "FILE")
    }

    const HEAD: &str = "apiVersion: v1\nkind: Config\n";

    #[tokio::test]
    async fn each_fault_names_file_field_and_reason() {
        let contexts = "contexts: [{name: c, context: {cluster: k, user: u}}]\ncurrent-context: c\n";
        let none = refusal(HEAD).await;
        assert_eq!(none, "kubeconfig FILE: current-context: is missing");
        let no_cluster = refusal(&format!("{HEAD}{contexts}")).await;
        assert_eq!(no_cluster, "kubeconfig FILE: contexts: there is no cluster \"k\"");
        let no_server = refusal(&format!("{HEAD}{contexts}clusters: [{{name: k, cluster: {{}}}}]\n")).await;
        assert_eq!(no_server, "kubeconfig FILE: clusters[k].cluster.server: is missing");
        let clusters = "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:6443'}}]\n";
        let no_user = refusal(&format!("{HEAD}{contexts}{clusters}")).await;
        assert_eq!(no_user, "kubeconfig FILE: contexts: there is no user \"u\"");
        let gone = "users: [{name: u, user: {client-certificate: /none, client-key: /none}}]\n";
        let gone = refusal(&format!("{HEAD}{contexts}{clusters}{gone}")).await;
        assert!(gone.starts_with("kubeconfig FILE: users: failed to read /none"), "{gone}");
    }

    #[tokio::test]
    async fn a_plain_kubeconfig_is_loaded() {
        let text = format!(
            "{HEAD}contexts: [{{name: c, context: {{cluster: k}}}}]\ncurrent-context: c\n\
             clusters: [{{name: k, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n"
        );
        let (_dir, file) = write(&text);
        let loaded = load(&file, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!((loaded.server.as_str(), loaded.files), ("http://127.0.0.1:1", vec![file]));
        assert_eq!(loaded.warning, None);
    }

    #[test]
    fn the_dates_of_a_certificate_are_held_against_the_clock() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["n".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let pem = params.self_signed(&key).unwrap().pem();
        let at = |text: &str| dates(pem.as_bytes(), text.parse().unwrap());
        assert_eq!(at("2020-06-01T00:00:00Z"), None);
        assert!(at("2019-06-01T00:00:00Z").unwrap().contains("valid from 2020-01-01"));
        assert!(at("2022-06-01T00:00:00Z").unwrap().contains("expired at 2021-01-01"));
        assert_eq!(dates(b"no certificate", Timestamp::UNIX_EPOCH), None);
    }
}
