//! What a request for a log asks for, read and judged as the kubelet does. Pure.
//!
//! The rules of text to value are those of `k8s.io/apimachinery` (`pkg/runtime/conversion.go`), the ranges those of
//! `pkg/apis/core/v1/validation`, the answers those of `pkg/kubelet/server` at v1.36.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use crate::server::log_stream::Options;

/// A request for a log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogQuery {
    /// The instance before.
    pub previous: bool,
    /// Go on until the container ends.
    pub follow: bool,
    /// What of it.
    pub options: Options,
}

/// Why a request is refused.
pub type Refusal = (StatusCode, String);

/// Reads the pairs of a query. `now` is what `sinceSeconds` counts back from.
pub fn read(pairs: &[(String, String)], now: Timestamp) -> Result<LogQuery, Refusal> {
    let text = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let number =
        |name: &str| text(name).map(|text| text.parse::<i64>().map_err(|_| undecodable())).transpose();
    // An older name; `all` there is no tail at all.
    let tail = match text("tail").filter(|tail| !tail.is_empty()) {
        Some("all") => None,
        Some(tail) => Some(tail.parse::<i64>().map_err(|_| undecodable())?),
        None => number("tailLines")?,
    };
    let (limit, seconds) = (number("limitBytes")?, number("sinceSeconds")?);
    let time = text("sinceTime").filter(|text| !text.is_empty());
    let time = time.map(|text| text.parse::<Timestamp>().map_err(|_| undecodable())).transpose()?;
    let in_range = tail.is_none_or(|tail| tail >= 0)
        && limit.is_none_or(|limit| limit >= 1)
        && seconds.is_none_or(|seconds| seconds >= 1)
        && (seconds.is_none() || time.is_none());
    stream(text("stream"), in_range, tail.is_some())?;
    let since = match seconds {
        Some(seconds) => Some(now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN)),
        None => time,
    };
    Ok(LogQuery {
        previous: text("previous").is_some_and(switch),
        follow: text("follow").is_some_and(switch),
        options: Options {
            tail: tail.and_then(|tail| u64::try_from(tail).ok()),
            timestamps: text("timestamps").is_some_and(switch),
            since,
            limit: limit.and_then(|limit| u64::try_from(limit).ok()),
        },
    })
}

/// One stream alone is behind a gate that is off in 1.36 (`PodLogsQuerySplitStreams`, alpha).
fn stream(wanted: Option<&str>, in_range: bool, has_tail: bool) -> Result<(), Refusal> {
    let invalid = (StatusCode::UNPROCESSABLE_ENTITY, r#"{"message": "Invalid request."}"#.to_owned());
    match wanted {
        _ if !in_range => Err(invalid),
        None | Some("All") => Ok(()),
        Some("Stdout" | "Stderr") if has_tail => Err(invalid),
        Some(stream @ ("Stdout" | "Stderr")) => Err((
            StatusCode::BAD_REQUEST,
            format!(
                "unable to return the given log stream: {stream:?}. Please enable PodLogsQuerySplitStreams feature \
                 gate in kubelet"
            ),
        )),
        Some(_) => Err(invalid),
    }
}

/// Everything but `false` and `0` is true, also nothing at all.
fn switch(text: &str) -> bool {
    !text.eq_ignore_ascii_case("false") && text != "0"
}

fn undecodable() -> Refusal {
    (StatusCode::BAD_REQUEST, r#"{"message": "Unable to decode query."}"#.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(text: &str) -> Result<LogQuery, u16> {
        let pairs = text.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (key.to_owned(), value.to_owned())
        });
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        read(&pairs.collect::<Vec<_>>(), now).map_err(|(code, _)| code.as_u16())
    }

    #[test]
    fn parameters_are_read() {
        let read =
            query("follow=true&previous&timestamps=1&tailLines=5&sinceSeconds=60&limitBytes=10").unwrap();
        assert!(read.follow && read.previous && read.options.timestamps);
        assert_eq!((read.options.tail, read.options.limit), (Some(5), Some(10)));
        assert_eq!(read.options.since, "2026-11-21T09:59:00Z".parse().ok());
        let read =
            query("follow=false&previous=0&timestamps=FALSE&sinceTime=2026-01-01T00:00:00%2B01:00").err();
        assert_eq!(read, Some(400), "the query is decoded before");
        let read = query("sinceTime=2026-01-01T00:00:00+01:00&follow=0&stream=All").unwrap();
        assert_eq!(read.options.since, "2025-12-31T23:00:00Z".parse().ok());
        assert!(!read.follow && !read.previous && read.options.tail.is_none());
        assert_eq!(query("tail=all&tailLines=3").unwrap().options.tail, None);
        assert_eq!(query("tail=7").unwrap().options.tail, Some(7));
        assert_eq!(query("sinceSeconds=9223372036854775807").unwrap().options.since, Some(Timestamp::MIN));
    }

    #[test]
    fn what_cannot_be_decoded_is_400_and_what_is_out_of_range_422() {
        for text in [
            "tailLines=x",
            "tailLines=",
            "limitBytes=1k",
            "sinceTime=yesterday",
            "sinceSeconds=1.5",
            "tail=x",
        ] {
            assert_eq!(query(text).err(), Some(400), "{text}");
        }
        let out_of_range = [
            "tailLines=-1",
            "limitBytes=0",
            "limitBytes=-1",
            "sinceSeconds=0",
            "sinceSeconds=-5",
            "stream=both",
            "sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z",
            "stream=Stdout&tailLines=1",
        ];
        for text in out_of_range {
            assert_eq!(query(text).err(), Some(422), "{text}");
        }
        assert_eq!(query("stream=Stderr").err(), Some(400));
    }

    proptest! {
        #[test]
        fn no_query_panics(pairs in prop::collection::vec(("[a-zA-Z]{0,12}|tailLines|sinceTime", "\\PC{0,20}"), 0..6)) {
            let _ = read(&pairs, Timestamp::UNIX_EPOCH);
        }
    }
}
