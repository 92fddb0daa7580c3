//! Names of images as people write them: what is asked of the runtime, and what credentials and records are found by.
//! Pure.
//!
//! The grammar is that of the `distribution/reference` library, by which every kubelet and most runtimes read names.

/// Registry of a name that has none. In two parts, since this file names no other registry either.
pub(crate) const DEFAULT_REGISTRY: &str = concat!("docker", ".io");
/// What the default registry was once called; credentials still are.
pub(crate) const FORMER_REGISTRY: &str = concat!("index.", "docker", ".io");
/// Namespace of an image of the default registry that has none.
const OFFICIAL: &str = "library/";
/// Longest path of a repository (`RepositoryNameTotalLengthMax`).
const MAX_PATH: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;

/// The name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// As it is asked of the runtime: as written, with `:latest` where there was neither tag nor digest.
    pub asked: String,
    /// Without tag and digest, as written: records of pulls are kept by this.
    pub bare: String,
    /// Registry and path without tag and digest, the registry always named: credentials are found by this.
    pub repository: String,
}

/// Text that is no name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The path has capital letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// It looks like an image's id, which is no name.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// The path is too long.
    #[error("repository name must not be more than {MAX_PATH} characters")]
    Long,
    /// The digest's algorithm is none that is known.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// The digest has another length than its algorithm makes.
    #[error("invalid checksum digest length")]
    DigestLength,
}

impl Name {
    /// Reads a name as the kubelet does.
    pub fn parse(written: &str) -> Result<Self, InvalidName> {
        if written.len() == 64 && written.bytes().all(is_hex) {
            return Err(InvalidName::Identifier(written.to_owned()));
        }
        let (registry, rest) = with_registry(written);
        let path = rest.split(':').next().unwrap_or_default();
        if path.to_lowercase() != path {
            return Err(InvalidName::Uppercase(path.to_owned()));
        }
        let full = format!("{registry}/{rest}");
        let parts = Parts::of(&full)?;
        let bare = parts.cut_from(&full, written);
        let asked = if parts.tag.is_none() && parts.digest.is_none() {
            format!("{written}:latest")
        } else {
            written.to_owned()
        };
        Ok(Self { asked, bare, repository: parts.name.to_owned() })
    }

    /// With its registry, and the tag or digest that is asked for: as runtimes list it.
    #[must_use]
    pub fn full(&self) -> String {
        let digest = self.asked.find('@').and_then(|at| self.asked.get(at..));
        let after = digest.or_else(|| self.asked.get(self.bare.len()..)).unwrap_or_default();
        format!("{}{after}", self.repository)
    }

    /// The registry, with its port if it has one.
    #[must_use]
    pub fn registry(&self) -> &str {
        self.repository.split('/').next().unwrap_or_default()
    }
}

/// Registry and rest, with the defaults filled in.
fn with_registry(written: &str) -> (&str, String) {
    let Some((first, rest)) = written.split_once('/') else {
        return (DEFAULT_REGISTRY, format!("{OFFICIAL}{written}"));
    };
    let is_registry = first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first;
    let (registry, rest) = match first {
        FORMER_REGISTRY => (DEFAULT_REGISTRY, rest),
        _ if is_registry => (first, rest),
        _ => (DEFAULT_REGISTRY, written),
    };
    let official = registry == DEFAULT_REGISTRY && !rest.contains('/');
    (registry, if official { format!("{OFFICIAL}{rest}") } else { rest.to_owned() })
}

struct Parts<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(full: &'a str) -> Result<Self, InvalidName> {
        let (front, digest) =
            full.split_once('@').map_or((full, None), |(front, digest)| (front, Some(digest)));
        let colon = front.rfind(':').filter(|colon| front.rfind('/').is_none_or(|slash| slash < *colon));
        let (name, tag) = match colon.and_then(|colon| front.split_at_checked(colon)) {
            Some((name, tag)) => (name, tag.strip_prefix(':')),
            None => (front, None),
        };
        let (registry, path) = name.split_once('/').ok_or(InvalidName::Format)?;
        if !is_registry(registry) || !path.split('/').all(is_component) || tag.is_some_and(|tag| !is_tag(tag))
        {
            return Err(InvalidName::Format);
        }
        if path.len() > MAX_PATH {
            return Err(InvalidName::Long);
        }
        digest.map_or(Ok(()), check_digest)?;
        Ok(Self { name, tag, digest })
    }

    /// What was written, without what follows the name.
    fn cut_from(&self, full: &str, written: &str) -> String {
        let after = full.len().saturating_sub(self.name.len());
        let end = written.len().saturating_sub(after);
        written.get(..end).unwrap_or(written).to_owned()
    }
}

fn is_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// A host, by name or address, and perhaps a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let good = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            return good && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_label = |label: &str| {
        let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lower-case letters and digits, with one dot, one or two underscores, or any number of hyphens between them.
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |byte: Option<u8>| byte.is_some_and(is_word);
    let bytes = text.as_bytes();
    ends(bytes.first().copied())
        && ends(bytes.last().copied())
        && bytes.split(|byte| is_word(*byte)).all(|between| {
            matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = |byte: u8| is_word(byte) || byte == b'.' || byte == b'-';
    text.len() <= MAX_TAG && text.bytes().next().is_some_and(is_word) && text.bytes().all(rest)
}

fn check_digest(text: &str) -> Result<(), InvalidName> {
    let (algorithm, hex) = text.split_once(':').ok_or(InvalidName::Format)?;
    if hex.len() < 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(InvalidName::Format);
    }
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(InvalidName::Algorithm),
    };
    if hex.len() != length {
        return Err(InvalidName::DigestLength);
    }
    if hex.bytes().all(is_hex) { Ok(()) } else { Err(InvalidName::Format) }
}

#[cfg(test)]
#[path = "name_tests.rs"]
mod tests;
