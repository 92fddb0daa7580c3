//! The CRI log format, `TIME STREAM TAGS CONTENT` per line, turned into what the container wrote. Pure.
//!
//! A decoder keeps at most the head of a line, so that a line of any length passes through in bounded memory.
//! A line that is not in the format passes as it is: hiding it would help nobody.
//!
//! A line that the container wrote may be several records here, all but the last marked as partial. They come out as
//! one line. Of a line that began before the time asked for, the records since then come out.

use jiff::Timestamp;

/// Longest head: a nanosecond time stamp with offset, a stream and tags take below 60 bytes.
const MAX_HEAD: usize = 128;

/// Takes a log file in pieces of any size.
#[derive(Debug)]
pub struct Decoder {
    timestamps: bool,
    since: Option<Timestamp>,
    state: State,
    /// What comes next begins a line of output.
    at_start: bool,
}

#[derive(Debug)]
enum State {
    /// In the first three fields.
    Head(Vec<u8>),
    /// In the content. A line is whole if its tag is `F`, else the next one continues it. What is older than asked
    /// for is not kept.
    Content { whole: bool, keep: bool },
}

/// What a head says.
#[derive(Debug, PartialEq, Eq)]
struct Head<'a> {
    time: &'a [u8],
    whole: bool,
}

impl Decoder {
    /// `timestamps` puts the time before every line.
    #[must_use]
    pub fn new(timestamps: bool) -> Self {
        Self { timestamps, since: None, state: State::Head(Vec::new()), at_start: true }
    }

    /// Leaves out records that are older than this.
    #[must_use]
    pub fn since(self, since: Option<Timestamp>) -> Self {
        Self { since, ..self }
    }

    /// Reads one piece of the file and appends what it says to `out`.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        while !piece.is_empty() {
            piece = match &mut self.state {
                State::Head(head) => {
                    let (part, rest) = piece.split_at(head_part(head, piece));
                    head.extend_from_slice(part);
                    if is_complete(head) {
                        let head = std::mem::take(head);
                        self.state = self.after_head(&head, out);
                    }
                    rest
                }
                State::Content { whole, keep } => {
                    let (whole, keep) = (*whole, *keep);
                    let end = piece.iter().position(|byte| *byte == b'\n');
                    let (content, rest) = piece.split_at(end.unwrap_or(piece.len()));
                    if keep {
                        out.extend_from_slice(content);
                    }
                    if end.is_some() {
                        self.end_line(whole && keep, out);
                    }
                    rest.strip_prefix(b"\n").unwrap_or(rest)
                }
            };
        }
    }

    /// A head is complete, cut short by the end of its line, or not a head at all.
    fn after_head(&mut self, head: &[u8], out: &mut Vec<u8>) -> State {
        let ends_line = head.last() == Some(&b'\n');
        let Some(Head { time, whole }) = parse(head) else {
            let raw = head.strip_suffix(b"\n").unwrap_or(head);
            out.extend_from_slice(raw);
            self.at_start = false;
            if ends_line {
                self.end_line(true, out);
                return State::Head(Vec::new());
            }
            return State::Content { whole: true, keep: true };
        };
        let keep = self.since.is_none_or(|since| is_since(time, since));
        if keep {
            if self.at_start && self.timestamps {
                fixed_width(time, out);
                out.push(b' ');
            }
            self.at_start = false;
        }
        if ends_line {
            self.end_line(whole && keep, out);
            return State::Head(Vec::new());
        }
        State::Content { whole, keep }
    }

    fn end_line(&mut self, whole: bool, out: &mut Vec<u8>) {
        if whole {
            out.push(b'\n');
            self.at_start = true;
        }
        self.state = State::Head(Vec::new());
    }
}

/// What cannot be read as a time is shown.
fn is_since(time: &[u8], since: Timestamp) -> bool {
    let time = std::str::from_utf8(time).ok().and_then(|text| text.parse::<Timestamp>().ok());
    time.is_none_or(|time| time >= since)
}

/// Appends a time with nine digits after the point, as `kubectl logs --timestamps` shows it: whatever the runtime
/// left out of them are zeros.
fn fixed_width(time: &[u8], out: &mut Vec<u8>) {
    const DIGITS: usize = 9;
    let is_zone = |byte: &u8| matches!(byte, b'Z' | b'+' | b'-');
    let clock = time.iter().position(|byte| *byte == b'T').unwrap_or_default();
    let after_clock = time.get(clock..).unwrap_or_default();
    let zone = after_clock.iter().position(is_zone).map_or(time.len(), |at| clock.saturating_add(at));
    let (clock, zone) = time.split_at(zone);
    out.extend_from_slice(clock);
    let fraction = match clock.iter().rposition(|byte| *byte == b'.') {
        Some(point) => clock.len().saturating_sub(point).saturating_sub(1),
        None => {
            out.push(b'.');
            0
        }
    };
    out.extend(std::iter::repeat_n(b'0', DIGITS.saturating_sub(fraction)));
    out.extend_from_slice(zone);
}

fn spaces(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b' ').count()
}

/// How much of a piece belongs to the head that has begun: up to its third space, the end of the line, or the
/// longest that a head may be.
fn head_part(head: &[u8], piece: &[u8]) -> usize {
    let room = MAX_HEAD.saturating_sub(head.len()).min(piece.len());
    let mut fields = spaces(head);
    let ends = |byte: &u8| {
        fields = fields.saturating_add(usize::from(*byte == b' '));
        *byte == b'\n' || fields == 3
    };
    piece.iter().take(room).position(ends).map_or(room, |last| last.saturating_add(1))
}

fn is_complete(head: &[u8]) -> bool {
    head.last() == Some(&b'\n') || head.len() >= MAX_HEAD || spaces(head) >= 3
}

/// The three fields of a head, if it is one. A line without content may end right after its tags.
fn parse(head: &[u8]) -> Option<Head<'_>> {
    let head = head.strip_suffix(b"\n").unwrap_or(head);
    let mut fields = head.split(|byte| *byte == b' ');
    let (time, stream, tags) = (fields.next()?, fields.next()?, fields.next()?);
    let is_time = time.first().is_some_and(u8::is_ascii_digit) && time.contains(&b'T');
    let whole = match tags.split(|byte| *byte == b':').next() {
        Some(b"F") => true,
        Some(b"P") => false,
        _ => return None,
    };
    (is_time && matches!(stream, b"stdout" | b"stderr")).then_some(Head { time, whole })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(timestamps: bool, pieces: &[&[u8]]) -> String {
        let mut decoder = Decoder::new(timestamps);
        let mut out = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut out);
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    const LOG: &str = "2026-11-21T10:00:00.000000001Z stdout F one\n\
        2026-11-21T10:00:01.5+02:00 stderr P par\n\
        2026-11-21T10:00:02Z stderr P ti\n\
        2026-11-21T10:00:03Z stderr F al  two\n\
        2026-11-21T10:00:04Z stdout F:x \n\
        2026-11-21T10:00:05Z stdout F\n";

    #[test]
    fn content_comes_out_as_it_was_written() {
        assert_eq!(decode(false, &[LOG.as_bytes()]), "one\npartial  two\n\n\n");
    }

    #[test]
    fn times_stand_before_whole_lines() {
        assert_eq!(
            decode(true, &[LOG.as_bytes()]),
            "2026-11-21T10:00:00.000000001Z one\n2026-11-21T10:00:01.500000000+02:00 partial  two\n\
             2026-11-21T10:00:04.000000000Z \n2026-11-21T10:00:05.000000000Z \n"
        );
    }

    #[test]
    fn what_is_older_is_left_out() {
        let since = |time: &str| {
            let mut decoder = Decoder::new(true).since(time.parse().ok());
            let mut out = Vec::new();
            decoder.push(LOG.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let last = "2026-11-21T10:00:04.000000000Z \n2026-11-21T10:00:05.000000000Z \n";
        assert_eq!(since("2026-11-21T10:00:03.5Z"), last);
        let joined = format!("2026-11-21T10:00:03.000000000Z al  two\n{last}");
        assert_eq!(since("2026-11-21T10:00:02.000000001Z"), joined, "the rest of a line begun before");
        assert_eq!(since("2026-11-22T00:00:00Z"), "");
        assert_eq!(since("2026-11-20T00:00:00Z"), decode(true, &[LOG.as_bytes()]));
    }

    #[test]
    fn what_is_not_in_the_format_passes() {
        assert_eq!(decode(true, &[b"plain text\nand a b c d\n"]), "plain text\nand a b c d\n");
        let long = "x".repeat(1_000);
        assert_eq!(decode(true, &[long.as_bytes(), b"\n"]), format!("{long}\n"));
        assert_eq!(
            decode(false, &[b"2026-11-21T10:00:00Z stdout Q odd\n"]),
            "2026-11-21T10:00:00Z stdout Q odd\n"
        );
    }

    #[test]
    fn a_line_of_any_length_is_not_kept() {
        let mut decoder = Decoder::new(false);
        let mut out = Vec::new();
        decoder.push(b"2026-11-21T10:00:00Z stdout F ", &mut out);
        decoder.push(&[b'x'; 100_000], &mut out);
        assert_eq!(out.len(), 100_000, "content is passed on before its line ends");
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cuts in prop::collection::vec(0..LOG.len(), 0..8), timestamps: bool) {
            let mut cuts = cuts;
            cuts.extend([0, LOG.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &LOG.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(timestamps, &pieces), decode(timestamps, &[LOG.as_bytes()]));
        }

        #[test]
        fn text_without_heads_comes_out_the_same(text in "([a-z ]{0,200}\n){0,5}") {
            prop_assert_eq!(decode(true, &[text.as_bytes()]), text);
        }
    }
}
