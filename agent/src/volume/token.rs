//! Service-account tokens: when one is to be renewed and until when it can be used. Pure.
//!
//! A life is measured from when the token came, by the boot clock: neither a wrong wall clock here nor one that steps
//! makes a token seem younger or older than it is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;

use crate::clock::{Now, Stamp};
use crate::disk::contents::Opaque;

/// A token is renewed at this share of its life, in percent (`requiresRefresh` of `pkg/kubelet/token/token_manager.go`).
const RENEWED_AT_PERCENT: u32 = 80;
/// Or at this age, whichever comes first (the same source).
const OLDEST: Duration = Duration::from_secs(24 * 3600);
/// Pods that came at once renew apart by up to this much (the same source).
const JITTER: Duration = Duration::from_secs(10);
/// Life of a token whose answer does not say: that of the volume that every pod gets.
const USUAL_LIFE: Duration = Duration::from_secs(3607);

/// A token and its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token itself, never shown.
    pub bytes: Opaque,
    /// When its life began, as far as this node knows.
    pub since: Stamp,
    /// How long it is valid from then on.
    pub life: Duration,
}

/// What to do about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing for so long.
    Nothing(Duration),
    /// Renew it; until that works it can still be used.
    Renewal,
    /// It is no longer valid.
    Replacement,
}

impl Token {
    /// A token that has just come, with the life that the answer names in seconds.
    #[must_use]
    pub fn received(bytes: Opaque, seconds: Option<i64>, now: &Now) -> Self {
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        Self { bytes, since: now.stamp(), life: seconds.map_or(USUAL_LIFE, Duration::from_secs) }
    }

    /// A token that an earlier run of the agent left in its volume; none if it does not tell its own life, which is
    /// what a JWT's claims `iat` and `exp` do. Nothing else of it is trusted: the API server judges tokens.
    #[must_use]
    pub fn found(bytes: &Opaque, now: &Now) -> Option<Self> {
        let claims = claims(bytes.bytes())?;
        let life = Duration::from_secs(u64::try_from(claims.exp.checked_sub(claims.iat)?).ok()?);
        let age = now.since_wall(Timestamp::from_second(claims.iat).ok()?, life);
        let mut since = now.stamp();
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        since.wall = since.wall.checked_sub(age).unwrap_or(since.wall);
        // A token older than this boot: only the rest of its life counts.
        let known = millis.min(since.boot.millis);
        since.boot.millis = since.boot.millis.saturating_sub(known);
        let life = life.saturating_sub(Duration::from_millis(millis.saturating_sub(known)));
        Some(Self { bytes: bytes.clone(), since, life })
    }

    /// What to do about it now. `jitter` is the pod's own, from [`jitter`].
    #[must_use]
    pub fn need(&self, now: &Now, jitter: Duration) -> Need {
        let age = now.since(&self.since, self.life);
        if age >= self.life {
            return Need::Replacement;
        }
        let renewed = self.life.saturating_mul(RENEWED_AT_PERCENT) / 100;
        let due = renewed.min(OLDEST).saturating_sub(jitter.min(renewed / 2));
        match due.checked_sub(age).filter(|left| !left.is_zero()) {
            Some(left) => Need::Nothing(left),
            None => Need::Renewal,
        }
    }
}

/// How much earlier than others a pod renews, up to 10 s: always the same for one pod.
#[must_use]
pub fn jitter(uid: &str) -> Duration {
    let hash =
        uid.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    JITTER.mul_f64(f64::from(hash) / f64::from(u32::MAX))
}

#[derive(Deserialize)]
struct Claims {
    iat: i64,
    exp: i64,
}

fn claims(token: &[u8]) -> Option<Claims> {
    let middle = token.split(|byte| *byte == b'.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle).ok()?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::BootTime;

    pub(crate) fn at(second: u64) -> Now {
        let wall = Timestamp::from_second(1_000_000 + i64::try_from(second).unwrap()).unwrap();
        Now { boot: BootTime { boot_id: "b".into(), millis: second * 1_000 }, wall }
    }

    /// A JWT with these times and nothing else of worth.
    pub(crate) fn jwt(iat: i64, exp: i64) -> Opaque {
        let claims = URL_SAFE_NO_PAD.encode(format!("{{\"iat\":{iat},\"exp\":{exp},\"sub\":\"x\"}}"));
        format!("e30.{claims}.sig").into_bytes().into()
    }

    fn need_after(life: i64, age: u64) -> Need {
        Token::received("t".into(), Some(life), &at(1_000)).need(&at(1_000 + age), Duration::ZERO)
    }

    #[test]
    fn a33_renewed_at_80_percent_of_its_life_or_after_a_day() {
        let left = |seconds| Need::Nothing(Duration::from_secs(seconds));
        assert_eq!(need_after(3_600, 0), left(2_880));
        assert_eq!(need_after(3_600, 2_879), left(1));
        assert_eq!(need_after(3_600, 2_880), Need::Renewal);
        assert_eq!(need_after(3_600, 3_599), Need::Renewal);
        assert_eq!(need_after(3_600, 3_600), Need::Replacement);
        assert_eq!(need_after(3_600 * 1_000, 0), left(86_400));
        assert_eq!(need_after(3_600 * 1_000, 86_400), Need::Renewal);
        assert_eq!(need_after(0, 0), Need::Nothing(USUAL_LIFE * 8 / 10));
        let early = Token::received("t".into(), Some(600), &at(0)).need(&at(475), JITTER);
        assert_eq!(early, Need::Renewal);
    }

    #[test]
    fn a_token_that_was_left_goes_on_with_its_life() {
        let now = at(5_000);
        let token = Token::found(&jwt(1_000_000 + 4_000, 1_000_000 + 4_000 + 3_600), &now).unwrap();
        assert_eq!(token.need(&now, Duration::ZERO), Need::Nothing(Duration::from_secs(1_880)));
        // Issued before this boot.
        let token = Token::found(&jwt(1_000_000 - 1_000, 1_000_000 + 9_000), &at(100)).unwrap();
        assert_eq!(token.need(&at(100), Duration::ZERO), Need::Nothing(Duration::from_secs(7_100)));
        assert_eq!(token.need(&at(9_000), Duration::ZERO), Need::Replacement);
        // From a clock ahead of ours: as if it had just come.
        let token = Token::found(&jwt(2_000_000, 2_003_600), &now).unwrap();
        assert_eq!(token.need(&now, Duration::ZERO), Need::Nothing(Duration::from_secs(2_880)));
        for not_a_jwt in ["", "a.b.c", "a", "..", "e30.e30.x"] {
            assert_eq!(Token::found(&not_a_jwt.into(), &now), None, "{not_a_jwt}");
        }
        assert_eq!(Token::found(&jwt(5, 4), &now), None);
        assert_eq!(Token::found(&jwt(i64::MIN, i64::MAX), &now), None);
    }

    #[test]
    fn a32_a_token_is_never_shown() {
        let token = Token::received("c4nary".into(), Some(600), &at(0));
        assert!(!format!("{token:?}").contains("c4nary"));
    }

    proptest! {
        #[test]
        fn a_token_is_renewed_while_it_is_valid(life in 600_i64..100_000_000, jitter in 0_u64..=10) {
            let token = Token::received("t".into(), Some(life), &at(0));
            let jitter = Duration::from_secs(jitter);
            let Need::Nothing(left) = token.need(&at(0), jitter) else { panic!("due at once") };
            prop_assert!(left <= OLDEST && left <= token.life * 8 / 10);
            let due = at(left.as_secs() + 1);
            prop_assert_eq!(token.need(&due, jitter), Need::Renewal);
        }

        #[test]
        fn a_jitter_is_at_most_10_seconds(uid in ".{0,40}") {
            prop_assert!(jitter(&uid) <= JITTER);
        }
    }
}
