//! Cuts a list answer into the wire bytes of its records, without decoding them.
//!
//! Pure. The four list answers of CRI (`ListPodSandbox`, `ListContainers` and their streamed forms) are messages
//! whose records are field 1; fields that they may gain are skipped, as a decoder of the whole message would.

use prost::encoding::decode_varint;

use crate::wire::InvalidRecord;

/// Key of field 1 with a length before it.
const RECORD: u64 = (1 << 3) | 2;

const MALFORMED: InvalidRecord = InvalidRecord::Undecodable("list");

/// The records of one answer, in its order; ends after the first error.
pub(super) struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    pub(super) fn new(answer: &'a [u8]) -> Self {
        Self { rest: answer }
    }

    fn advance(&mut self) -> Result<Option<&'a [u8]>, InvalidRecord> {
        while !self.rest.is_empty() {
            let key = self.varint()?;
            if key == RECORD {
                return self.bytes().map(Some);
            }
            self.skip(key)?;
        }
        Ok(None)
    }

    fn varint(&mut self) -> Result<u64, InvalidRecord> {
        decode_varint(&mut self.rest).map_err(|_| MALFORMED)
    }

    fn bytes(&mut self) -> Result<&'a [u8], InvalidRecord> {
        let length = usize::try_from(self.varint()?).map_err(|_| MALFORMED)?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], InvalidRecord> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(MALFORMED)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Skips a field of another number. Groups, which proto3 does not have, are refused, as is field number 0.
    fn skip(&mut self, key: u64) -> Result<(), InvalidRecord> {
        if key >> 3 == 0 || key > u64::from(u32::MAX) {
            return Err(MALFORMED);
        }
        match key & 7 {
            0 => self.varint().map(drop),
            1 => self.take(8).map(drop),
            2 => self.bytes().map(drop),
            5 => self.take(4).map(drop),
            _ => Err(MALFORMED),
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8], InvalidRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.advance();
        if found.is_err() {
            self.rest = &[];
        }
        found.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;
    use proptest::prelude::*;
    use prost::Message;

    fn cut(answer: &[u8]) -> Result<Vec<&[u8]>, InvalidRecord> {
        Frames::new(answer).collect()
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let records = ["a", "b", "c"].map(|id| v1::Container { id: id.into(), ..Default::default() });
        let answer = v1::ListContainersResponse { containers: records.to_vec() }.encode_to_vec();
        let expected: Vec<Vec<u8>> = records.iter().map(Message::encode_to_vec).collect();
        assert_eq!(cut(&answer).unwrap(), expected);
        assert_eq!(cut(&[]).unwrap().len(), 0);
    }

    #[test]
    fn fields_of_the_future_are_skipped() {
        // Field 2 as varint, fixed64, bytes and fixed32, around one record of two bytes.
        let answer =
            [0x10, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x0a, 2, 7, 7, 0x12, 1, 9, 0x15, 1, 2, 3, 4];
        assert_eq!(cut(&answer).unwrap(), [[7, 7]]);
    }

    #[test]
    fn a_torn_or_impossible_answer_is_an_error_and_ends() {
        let torn: [&[u8]; 7] = [
            &[0x0a],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0x80],
            &[0x02, 0],
            &[0x15, 1],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff],
        ];
        for answer in torn {
            assert_eq!(cut(answer), Err(MALFORMED), "{answer:?}");
            assert_eq!(Frames::new(answer).count(), 1, "{answer:?}");
        }
    }

    proptest! {
        #[test]
        fn a70_hostile_bytes_agree_with_the_whole_decoder(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(whole) = v1::ListContainersResponse::decode(answer.as_slice()) {
                let records = cut(&answer);
                // prost accepts groups, which no proto3 message has.
                if let Ok(records) = records {
                    let decoded: Vec<_> = records.iter().map(|r| v1::Container::decode(*r).unwrap()).collect();
                    prop_assert_eq!(decoded, whole.containers);
                }
            }
        }

        #[test]
        fn a70_a_torn_answer_never_gives_records_that_the_whole_has_not(ids in proptest::collection::vec("[a-z]{0,9}", 0..9), cut_at in any::<prop::sample::Index>()) {
            let containers = ids.into_iter().map(|id| v1::Container { id, ..Default::default() }).collect();
            let answer = v1::ListContainersResponse { containers }.encode_to_vec();
            let whole = cut(&answer).unwrap();
            let part = answer.get(..cut_at.index(answer.len() + 1)).unwrap();
            let got: Vec<_> = Frames::new(part).map_while(Result::ok).collect();
            prop_assert!(whole.starts_with(&got));
        }
    }
}
