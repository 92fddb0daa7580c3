//! How one record lies in a journal file: `<16 hex digits> <payload>\n`. Pure.
//!
//! The digits are the first eight bytes of the payload's SHA-256. A payload holds no line feed (it is compact
//! JSON), so a reader finds the next record again after a damaged one. What a crash can leave is a tail without
//! its line feed; anything else that does not check out is damage and is told apart.

use sha2::{Digest, Sha256};

/// Hex digits and the space before a payload.
const PREFIX_BYTES: usize = 17;

/// What is wrong with the end of a file, or with its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The last record was not written to its end: what a crash or a full disk leaves.
    Torn,
    /// A complete line does not match its checksum: nothing that this program writes ends so.
    Bad,
}

/// The good prefix of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Prefix<'a> {
    /// Payloads in the order of the file.
    pub payloads: Vec<&'a [u8]>,
    /// Length of the prefix in bytes; the next record belongs there.
    pub good_bytes: u64,
    /// What follows the prefix, if anything.
    pub damage: Option<Damage>,
}

/// Appends one record to `out`.
pub fn encode(payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&checksum(payload));
    out.push(b' ');
    out.extend_from_slice(payload);
    out.push(b'\n');
}

/// Every record up to the first that is torn or bad. For files in which order matters.
#[must_use]
pub fn decode(bytes: &[u8]) -> Prefix<'_> {
    let mut prefix = Prefix { payloads: Vec::new(), good_bytes: 0, damage: None };
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match payload_of(line) {
            Ok(payload) => {
                prefix.payloads.push(payload);
                prefix.good_bytes = prefix.good_bytes.saturating_add(line.len() as u64);
            }
            Err(damage) => {
                prefix.damage = Some(damage);
                break;
            }
        }
    }
    prefix
}

/// Every record that checks out, wherever it lies, and the number of lines that do not.
/// For files whose records do not depend on one another.
#[must_use]
pub fn salvage(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(payload_of);
    let (good, bad): (Vec<_>, Vec<_>) = lines.partition(Result::is_ok);
    (good.into_iter().flatten().collect(), bad.len())
}

fn payload_of(line: &[u8]) -> Result<&[u8], Damage> {
    let line = line.strip_suffix(b"\n").ok_or(Damage::Torn)?;
    let (prefix, payload) = line.split_at_checked(PREFIX_BYTES).ok_or(Damage::Bad)?;
    let digits = prefix.strip_suffix(b" ").ok_or(Damage::Bad)?;
    if digits == checksum(payload) { Ok(payload) } else { Err(Damage::Bad) }
}

fn checksum(payload: &[u8]) -> [u8; 16] {
    let mut digits = [0; 16];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(Sha256::digest(payload)) {
        for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *digit = if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in payloads {
            encode(payload, &mut out);
        }
        out
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = any::<u8>().prop_filter("a payload has no line feed", |byte| *byte != b'\n');
        prop::collection::vec(prop::collection::vec(byte, 0..20), 0..5)
    }

    #[test]
    fn a_record_is_its_checksum_and_its_payload() {
        assert_eq!(file(&[b"{}".to_vec()]), b"44136fa355b3678a {}\n");
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(payloads in payloads()) {
            let bytes = file(&payloads);
            let prefix = decode(&bytes);
            prop_assert_eq!(prefix.payloads, payloads);
            prop_assert_eq!((prefix.good_bytes, prefix.damage), (bytes.len() as u64, None));
        }

        #[test]
        fn b83_torn_file_at_every_byte(payloads in payloads()) {
            let bytes = file(&payloads);
            for cut in 0..=bytes.len() {
                let prefix = decode(&bytes[..cut]);
                prop_assert!(payloads.starts_with(&prefix.payloads.iter().map(|p| p.to_vec()).collect::<Vec<_>>()));
                let whole = prefix.good_bytes == cut as u64;
                prop_assert_eq!(prefix.damage, (!whole).then_some(Damage::Torn));
            }
        }

        #[test]
        fn a77_flip_at_every_byte_gives_a_prefix(payloads in payloads(), flip in 1..=255_u8) {
            let bytes = file(&payloads);
            for position in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[position] ^= flip;
                let prefix = decode(&damaged);
                prop_assert!(prefix.damage.is_some());
                prop_assert!(prefix.good_bytes <= position as u64);
                prop_assert!(payloads.starts_with(&prefix.payloads.iter().map(|p| p.to_vec()).collect::<Vec<_>>()));
                let (rest, bad) = salvage(&damaged);
                prop_assert!(bad >= 1 && rest.len() + 2 >= payloads.len());
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let prefix = decode(&bytes);
            prop_assert!(prefix.good_bytes <= bytes.len() as u64);
        }
    }
}
