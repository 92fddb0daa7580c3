//! Identifiers that the runtime and the pods' authors hand us, parsed once at the border.
//!
//! An id ends up in file paths, log lines and further calls, so one that is empty, over-long or path-like
//! is refused here and can exist nowhere else.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest id that is accepted, in bytes. containerd and CRI-O use 64 hex digits, pod UIDs have 32 or 36.
pub const MAX_ID_BYTES: usize = 253;

/// Why a string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The string has no characters.
    #[error("{kind} is empty")]
    Empty {
        /// What the string was meant to be, such as `container id`.
        kind: &'static str,
    },
    /// The string is longer than [`MAX_ID_BYTES`].
    #[error("{kind} has {bytes} bytes, more than {MAX_ID_BYTES}")]
    TooLong {
        /// What the string was meant to be.
        kind: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A character outside `[A-Za-z0-9._:-]`, or a leading `.` or `-`.
    #[error("{kind} {text:?} has a character that no id has")]
    Character {
        /// What the string was meant to be.
        kind: &'static str,
        /// The string.
        text: String,
    },
}

pub(crate) fn check(kind: &'static str, text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty { kind });
    }
    if text.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong { kind, bytes: text.len() });
    }
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
    if text.starts_with(['.', '-']) || !text.chars().all(harmless) {
        return Err(InvalidId::Character { kind, text: text.to_owned() });
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses `text`, refusing what could not be an id.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                check($kind, text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

id!(
    /// The runtime's id of a pod sandbox.
    SandboxId,
    "sandbox id"
);
id!(
    /// The runtime's id of a container.
    ContainerId,
    "container id"
);
id!(
    /// The UID of a pod: names its directories and its objects in the runtime.
    PodUid,
    "pod uid"
);
id!(
    /// The runtime's id of an image: a digest, with or without its algorithm.
    ImageId,
    "image id"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_a_path_could_be_made_of() {
        for bad in ["", ".", "..", "../../x", "a/b", "/a", "a\0b", "a\n", "-rf", ".hidden", "é", "a b"] {
            assert!(ContainerId::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(PodUid::new(&"a".repeat(MAX_ID_BYTES + 1)).is_err());
    }

    #[test]
    fn accepts_the_ids_that_exist() {
        for good in ["8f1c", "4b6e3a1c-7b1f-4e55-a0f4-6b9f24a0c9d1", "fake-sandbox-1", "a_b.c"] {
            assert_eq!(SandboxId::new(good).map(|id| id.to_string()), Ok(good.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn an_accepted_id_is_one_path_component(text in ".*") {
            if let Ok(id) = PodUid::new(&text) {
                let components: Vec<_> = std::path::Path::new(id.as_str()).components().collect();
                prop_assert_eq!(components.len(), 1);
                prop_assert!(matches!(components[0], std::path::Component::Normal(_)));
            }
        }
    }
}
