//! For which images a pod's credentials are asked for again: `imagePullCredentialsVerificationPolicy`. Pure.

use crate::image::name::Name;

/// When a pod must show that it may have an image that is already there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Policy {
    /// Never, and no records are kept: the gate `KubeletEnsureSecretPulledImages` is off.
    Off,
    /// Never.
    Never,
    /// For images that this node pulled; what was put there otherwise is for everyone.
    #[default]
    Pulled,
    /// For all but those of a list.
    Unlisted(Allowlist),
    /// Always.
    Always,
}

/// Names of images, each a whole repository or, with `/*` at its end, all below a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowlist {
    whole: Vec<String>,
    below: Vec<String>,
}

/// What the configuration says makes no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPolicy(String);

impl Policy {
    /// From the words of the configuration; an empty word is the default.
    pub fn parse(word: &str, allowlist: &[String]) -> Result<Self, InvalidPolicy> {
        let listed = "NeverVerifyAllowlistedImages";
        if !allowlist.is_empty() && word != listed {
            let why = format!("may be set with imagePullCredentialsVerificationPolicy: {listed} only");
            return Err(InvalidPolicy(why));
        }
        match word {
            "" | "NeverVerifyPreloadedImages" => Ok(Self::Pulled),
            "NeverVerify" => Ok(Self::Never),
            "AlwaysVerify" => Ok(Self::Always),
            _ if word == listed => Allowlist::parse(allowlist).map(Self::Unlisted),
            _ => Err(InvalidPolicy(format!("is unknown: {word:?}"))),
        }
    }

    /// Whether an image, by its name without tag and digest, must be verified.
    #[must_use]
    pub fn asks(&self, bare: &str, pulled_here: bool) -> bool {
        match self {
            Self::Off | Self::Never => false,
            Self::Pulled => pulled_here,
            Self::Unlisted(list) => !list.has(bare),
            Self::Always => true,
        }
    }
}

impl Allowlist {
    fn parse(patterns: &[String]) -> Result<Self, InvalidPolicy> {
        let mut list = Self::default();
        for pattern in patterns {
            let wrong = |why: &str| Err(InvalidPolicy(format!("{pattern:?} {why}")));
            if pattern.trim() != pattern {
                return wrong("begins or ends with a space");
            }
            match pattern.strip_suffix('*') {
                Some(below) if below.ends_with('/') && below.len() > 1 && !below.contains('*') => {
                    list.below.push(below.to_owned());
                }
                Some(_) => return wrong("is no name that ends with /*"),
                None if Name::parse(pattern).is_ok_and(|name| name.bare == *pattern) => {
                    list.whole.push(pattern.clone());
                }
                None => return wrong("is no image name without tag and digest"),
            }
        }
        Ok(list)
    }

    fn has(&self, bare: &str) -> bool {
        self.whole.iter().any(|known| known == bare) || self.below.iter().any(|path| bare.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_configuration() {
        let parse = |word: &str| Policy::parse(word, &[]);
        assert_eq!(parse(""), Ok(Policy::Pulled));
        assert_eq!(parse("NeverVerifyPreloadedImages"), Ok(Policy::Pulled));
        assert_eq!(parse("NeverVerify"), Ok(Policy::Never));
        assert_eq!(parse("AlwaysVerify"), Ok(Policy::Always));
        assert!(parse("Sometimes").is_err());
        assert!(Policy::parse("AlwaysVerify", &["a".to_owned()]).is_err());
    }

    #[test]
    fn an_allowlist_has_whole_names_and_paths() {
        let list = ["reg.x/a".to_owned(), "reg.y/*".to_owned()];
        let policy = Policy::parse("NeverVerifyAllowlistedImages", &list).unwrap();
        for (bare, asks) in
            [("reg.x/a", false), ("reg.x/a/b", true), ("reg.y/a/b", false), ("reg.yy/a", true)]
        {
            assert_eq!(policy.asks(bare, false), asks, "{bare}");
            assert_eq!(policy.asks(bare, true), asks, "{bare}");
        }
        for wrong in ["*", "/*", " a", "a:1", "a*", "a/*/b", "*/a/*", ""] {
            let list = [wrong.to_owned()];
            assert!(Policy::parse("NeverVerifyAllowlistedImages", &list).is_err(), "{wrong:?}");
        }
    }
}
