//! Ranges of bytes (RFC 9110, section 14): one at a time, others are answered whole.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderValue, header};

/// What of so many bytes a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All.
    All,
    /// These.
    Part(Range<u64>),
    /// Some that are not there.
    Nothing,
}

/// Reads the `Range` header. One that is malformed, or has several ranges, is passed over, as it may be.
pub(crate) fn wanted(headers: &HeaderMap, length: u64) -> Wanted {
    let text = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let range = text.and_then(|text| text.trim().strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (first.trim().is_empty(), number(first), number(last)) {
        (true, _, Some(count)) => length.saturating_sub(count)..length,
        (false, Some(first), None) if last.trim().is_empty() => first..length,
        (false, Some(first), Some(last)) if first <= last => {
            first..length.min(last.saturating_add(1))
        }
        _ => return Wanted::All,
    };
    if range.is_empty() {
        return Wanted::Nothing;
    }
    Wanted::Part(range)
}

/// The `Content-Range` of an answer.
pub(crate) fn said(range: &Range<u64>, length: u64) -> HeaderValue {
    let text = format!(
        "bytes {}-{}/{length}",
        range.start,
        range.end.saturating_sub(1)
    );
    HeaderValue::from_str(&text).expect("digits fit a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read() {
        for (range, expected) in [
            ("bytes=0-3", Wanted::Part(0..4)),
            ("bytes=8-", Wanted::Part(8..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=8-99", Wanted::Part(8..10)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=3-1", Wanted::All),
            ("bytes=0-1,4-5", Wanted::All),
            ("lines=0-1", Wanted::All),
            ("bytes=x-y", Wanted::All),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(range));
            assert_eq!(wanted(&headers, 10), expected, "{range}");
        }
        assert_eq!(wanted(&HeaderMap::new(), 10), Wanted::All);
        assert_eq!(said(&(2..5), 10), "bytes 2-4/10");
    }
}
