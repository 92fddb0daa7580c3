//! Where the last lines of a file begin, found from its end in blocks.

use std::io;

/// Bytes read at once.
const BLOCK: usize = 64 << 10;

/// The offset at which the last `lines` lines begin; 0 if there are not that many. A line that is not ended
/// yet counts. `read_at` fills a buffer from an offset, as `FileExt::read_exact_at` does.
pub fn last_lines(
    length: u64,
    lines: u64,
    mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<u64> {
    if lines == 0 {
        return Ok(length);
    }
    let mut buffer = vec![0; BLOCK];
    let mut found: u64 = 0;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let size = usize::try_from(end.saturating_sub(start)).unwrap_or(BLOCK);
        let Some(block) = buffer.get_mut(..size) else { break };
        read_at(block, start)?;
        let newlines = block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        for (index, _) in newlines {
            let begins = start.saturating_add(index as u64).saturating_add(1);
            // The newline at the very end ends the last line, it does not begin another.
            if begins == length {
                continue;
            }
            found = found.saturating_add(1);
            if found == lines {
                return Ok(begins);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tail(text: &[u8], lines: u64) -> &[u8] {
        let read_at = |buffer: &mut [u8], offset: u64| {
            let offset = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&text[offset..offset + buffer.len()]);
            Ok(())
        };
        let start = last_lines(text.len() as u64, lines, read_at).unwrap();
        &text[usize::try_from(start).unwrap()..]
    }

    #[test]
    fn last_lines_are_found() {
        assert_eq!(tail(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(tail(b"a\nb\nc", 2), b"b\nc");
        assert_eq!(tail(b"a\nb\n", 9), b"a\nb\n");
        assert_eq!(tail(b"a\n\n", 1), b"\n");
        assert_eq!(tail(b"a\nb\n", 0), b"");
        assert_eq!(tail(b"", 3), b"");
    }

    #[test]
    fn lines_longer_than_a_block_are_found() {
        let long = [vec![b'x'; BLOCK * 2], b"\n".to_vec(), vec![b'y'; BLOCK], b"\n".to_vec()].concat();
        assert_eq!(tail(&long, 1).len(), BLOCK + 1);
        assert_eq!(tail(&long, 2).len(), long.len());
    }

    proptest! {
        #[test]
        fn as_many_lines_as_asked_for(text in "[a\n]{0,60}", lines in 0_u64..8) {
            let all: Vec<&str> = text.split_inclusive('\n').collect();
            let skip = all.len().saturating_sub(usize::try_from(lines).unwrap());
            let wanted = all[skip..].concat();
            prop_assert_eq!(tail(text.as_bytes(), lines), wanted.as_bytes());
        }
    }
}
