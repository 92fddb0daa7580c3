//! Which programs know credentials for which images: `CredentialProviderConfig` files → providers.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Plugins;
use super::attributes::{self, GATE, TokenAttributes};
use crate::config::duration::GoDuration;
use crate::image::keyring::address::Address;

const KIND: &str = "CredentialProviderConfig";
const VERSIONS: [&str; 3] =
    ["kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v1beta1", "kubelet.config.k8s.io/v1alpha1"];
/// Longest file.
const MAX_FILE: u64 = 1 << 20;

/// A version of the JSON that is spoken with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Version {
    /// `credentialprovider.kubelet.k8s.io/v1`.
    #[serde(rename = "credentialprovider.kubelet.k8s.io/v1")]
    V1,
    /// `credentialprovider.kubelet.k8s.io/v1beta1`.
    #[serde(rename = "credentialprovider.kubelet.k8s.io/v1beta1")]
    V1Beta1,
    /// `credentialprovider.kubelet.k8s.io/v1alpha1`.
    #[serde(rename = "credentialprovider.kubelet.k8s.io/v1alpha1")]
    V1Alpha1,
}

impl Version {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "credentialprovider.kubelet.k8s.io/v1",
            Self::V1Beta1 => "credentialprovider.kubelet.k8s.io/v1beta1",
            Self::V1Alpha1 => "credentialprovider.kubelet.k8s.io/v1alpha1",
        }
    }
}

/// A program and what it is for.
#[derive(Clone, PartialEq)]
pub struct Provider {
    /// File name of the program.
    pub name: String,
    /// Images that it is asked about.
    pub images: Vec<Address>,
    /// How long an answer is kept that does not say so itself; zero is not at all.
    pub kept_for: Duration,
    /// What it speaks.
    pub version: Version,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its variables beside those of this process.
    pub env: Vec<(String, String)>,
    /// Which token of a pod's service account it is given; none gives it none.
    pub token: Option<TokenAttributes>,
}

/// Variables may be secrets.
impl std::fmt::Debug for Provider {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What makes the configuration of no use.
#[derive(Debug, thiserror::Error)]
pub enum InvalidProviders {
    /// A file cannot be read.
    #[error("failed to read {}", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// It says something else than a configuration.
    #[error("{}: {why}", .file.display())]
    Content {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is no such program.
    #[error("{} is no program that can be run", .0.display())]
    Program(PathBuf),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    kind: String,
    api_version: String,
    providers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    name: String,
    match_images: Vec<String>,
    default_cache_duration: GoDuration,
    api_version: Version,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
    token_attributes: Option<attributes::Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    value: String,
}

/// Reads a file, or the files of a directory in the order of their names, and finds the programs. `with_tokens`: they may
/// be given tokens of service accounts.
pub fn load(config: &Path, programs: &Path, with_tokens: bool) -> Result<Plugins, InvalidProviders> {
    let mut providers = Vec::new();
    let mut names = BTreeSet::new();
    for file in files(config)? {
        let content = |why: String| InvalidProviders::Content { file: file.clone(), why };
        let found = parse(&read(&file)?).map_err(content)?;
        for provider in found {
            if !names.insert(provider.name.clone()) {
                return Err(content(format!("there are two providers of the name {:?}", provider.name)));
            }
            if provider.token.is_some() && !with_tokens {
                let why =
                    format!("provider {:?}: tokenAttributes: needs the feature gate {GATE}", provider.name);
                return Err(content(why));
            }
            let program = programs.join(&provider.name);
            let can_run = std::fs::metadata(&program)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
            if !can_run {
                return Err(InvalidProviders::Program(program));
            }
            providers.push(provider);
        }
    }
    Ok(Plugins::new(providers, programs))
}

fn files(config: &Path) -> Result<Vec<PathBuf>, InvalidProviders> {
    let failed = |error| InvalidProviders::Read(config.to_owned(), error);
    if !std::fs::metadata(config).map_err(failed)?.is_dir() {
        return Ok(vec![config.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(config).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_one =
            path.extension().is_some_and(|kind| ["json", "yaml", "yml"].iter().any(|one| kind == *one));
        if is_one && !path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        let why = "no .json, .yaml or .yml file is in it".to_owned();
        return Err(InvalidProviders::Content { file: config.to_owned(), why });
    }
    Ok(found)
}

fn read(file: &Path) -> Result<String, InvalidProviders> {
    use crate::disk::{Disk, RealDisk};
    let failed = |error| InvalidProviders::Read(file.to_owned(), error);
    let bytes = RealDisk.read(file, MAX_FILE).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| failed(std::io::Error::other(error)))
}

/// The providers of one file. Pure.
pub fn parse(text: &str) -> Result<Vec<Provider>, String> {
    // No snippets: variables may be secrets.
    let options = serde_saphyr::options! { with_snippet: false };
    let file: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    if file.kind != KIND || !VERSIONS.contains(&file.api_version.as_str()) {
        return Err(format!("must be a {KIND} of {}", VERSIONS.join(" or ")));
    }
    if file.providers.is_empty() {
        return Err("providers: must not be empty".to_owned());
    }
    file.providers.into_iter().map(provider).collect()
}

fn provider(entry: Entry) -> Result<Provider, String> {
    let Entry { name, match_images, default_cache_duration, api_version, args, env, token_attributes } =
        entry;
    let wrong = |why: &str| Err(format!("provider {name:?}: {why}"));
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', ' ', '\0']) {
        return wrong("the name must be a plain file name");
    }
    let token = token_attributes.map(|written| attributes::parse(written, api_version)).transpose();
    let token = match token {
        Ok(token) => token,
        Err(why) => return wrong(&why),
    };
    if match_images.is_empty() {
        return wrong("matchImages: must not be empty");
    }
    let mut images = Vec::new();
    for pattern in &match_images {
        let Some(address) = Address::of_image(pattern) else {
            return wrong(&format!("matchImages: {pattern:?} names no host"));
        };
        images.push(address);
    }
    let Some(kept_for) = default_cache_duration.to_std() else {
        return wrong("defaultCacheDuration: must not be negative");
    };
    let env = env.into_iter().map(|variable| (variable.name, variable.value)).collect();
    Ok(Provider { name, images, kept_for, version: api_version, args, env, token })
}
