//! Reads a `multipart/form-data` body (RFC 7578) part by part as it comes. What is held in memory is one
//! piece of the body and one head of a part, both bounded.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;

use super::ApiError;
use super::body::{PIECE_MAX, too_slow};

/// RFC 2046, section 5.1.1.
const BOUNDARY_MAX: usize = 70;
const HEAD_MAX: usize = 8 << 10;
const PARTS_MAX: usize = 32;

/// A form on its way in.
pub(crate) struct Form {
    body: Body,
    /// What was read and not yet given out.
    buffer: Vec<u8>,
    /// What ends a part.
    delimiter: Vec<u8>,
    in_part: bool,
    parts: usize,
}

/// The head of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// The field's name.
    pub(crate) name: String,
    /// The name of the file that the field holds.
    pub(crate) filename: Option<String>,
}

impl Form {
    /// The form that a request carries.
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        let boundary = boundary(headers).ok_or_else(|| {
            let message = "the Content-Type must be 'multipart/form-data' with a boundary";
            refuse(Some("unsupported_content_type"), message)
        })?;
        Ok(Self {
            body,
            // So that the first boundary looks like all others.
            buffer: b"\r\n".to_vec(),
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            in_part: true,
            parts: 0,
        })
    }

    /// The next part's head, once the part before it was read to its end; none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Head>, ApiError> {
        // What is left of the part before, or stands before the first one, is passed over.
        while self.piece().await?.is_some() {}
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(malformed("it has too many parts"));
        }
        loop {
            if self.buffer.starts_with(b"--") {
                return Ok(None);
            }
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                self.in_part = true;
                return parse_head(&head[..end]).map(Some);
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(malformed("the head of a part is too long"));
            }
            self.fill().await?;
        }
    }

    /// More of the part's content; none at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        while self.in_part {
            if let Some(end) = find(&self.buffer, &self.delimiter) {
                if end > 0 {
                    return Ok(Some(self.buffer.drain(..end).collect()));
                }
                self.buffer.drain(..self.delimiter.len());
                self.in_part = false;
                break;
            }
            // The last bytes may be the beginning of the delimiter.
            let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
            if safe > 0 {
                return Ok(Some(self.buffer.drain(..safe).collect()));
            }
            self.fill().await?;
        }
        Ok(None)
    }

    /// The part's content, if it is a text of at most so many bytes.
    pub(crate) async fn text(&mut self, bytes_max: usize) -> Result<Option<String>, ApiError> {
        let mut text = Vec::new();
        let mut fits = true;
        while let Some(piece) = self.piece().await? {
            fits = fits && text.len() + piece.len() <= bytes_max;
            if fits {
                text.extend_from_slice(&piece);
            }
        }
        Ok(String::from_utf8(text).ok().filter(|_| fits))
    }

    /// What was not read.
    pub(crate) fn into_body(self) -> Body {
        self.body
    }

    async fn fill(&mut self) -> Result<(), ApiError> {
        let frame = tokio::time::timeout(PIECE_MAX, self.body.frame()).await;
        match frame.map_err(|_| too_slow())? {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
                Ok(())
            }
            None | Some(Err(_)) => Err(malformed("it ends early")),
        }
    }
}

fn boundary(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (kind, parameters) = given.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    (1..=BOUNDARY_MAX)
        .contains(&boundary.len())
        .then_some(boundary)
}

fn parse_head(head: &[u8]) -> Result<Head, ApiError> {
    let head = std::str::from_utf8(head).map_err(|_| malformed("a head of a part is not UTF-8"))?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.trim().eq_ignore_ascii_case("content-disposition");
        is_it.then(|| value.trim())
    });
    let named = disposition.and_then(|value| {
        let (kind, parameters) = value.split_once(';')?;
        let name = kind.trim().eq_ignore_ascii_case("form-data");
        let name = name.then(|| parameter(parameters, "name"))??;
        let filename = parameter(parameters, "filename");
        Some(Head { name, filename })
    });
    named.ok_or_else(|| malformed("a part does not say which field it is"))
}

/// The value of a parameter, out of its quotes.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t', ';']);
        let (value, left) = value(after.trim_start());
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = left;
    }
}

/// A token or a quoted text, and what follows it. A backslash hides a quote and itself and nothing else,
/// since some clients send the names of Windows.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, hidden)) => value.push(hidden),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    (value, "")
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut from = 0;
    // By its first byte, which is rare, rather than by comparing everywhere.
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == wanted[0]) {
        let at = from + at;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn malformed(reason: &str) -> ApiError {
    let message = format!("the request body is not valid multipart/form-data: {reason}");
    refuse(None, &message)
}

fn refuse(code: Option<&'static str>, message: &str) -> ApiError {
    ApiError::bad_request(code, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use futures_util::stream;
    use std::convert::Infallible;

    const BODY: &str = "preamble\r\n--x y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n\
        --x y\r\ncontent-type: text/plain\r\ncontent-disposition: form-data; filename=\"q\\\"\\d;=.txt\"; \
        name=b\r\n\r\ntwo\r\n--x\r\n--x y\r\ncontent-disposition: form-data; name=\"c\"\r\n\r\n\r\n--x y--\r\n";

    fn headers(kind: &str) -> HeaderMap {
        let value = HeaderValue::from_str(kind).expect("it fits");
        HeaderMap::from_iter([(header::CONTENT_TYPE, value)])
    }

    fn form(body: &[u8], piece: usize) -> Form {
        let pieces: Vec<_> = body
            .chunks(piece)
            .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
            .collect();
        let body = Body::from_stream(stream::iter(pieces));
        let headers = headers("multipart/form-data; charset=utf-8; boundary=\"x y\"");
        Form::new(&headers, body).expect("it is a form")
    }

    async fn whole(mut form: Form) -> Result<Vec<(Head, String)>, ApiError> {
        let mut parts = Vec::new();
        while let Some(head) = form.next().await? {
            parts.push((head, form.text(100).await?.expect("a short text")));
        }
        Ok(parts)
    }

    #[tokio::test]
    async fn parts_are_the_same_however_the_body_comes() {
        for piece in [1, 2, 7, 1_000] {
            let parts = whole(form(BODY.as_bytes(), piece))
                .await
                .expect("it is sound");
            let named = |name: &str, filename: Option<&str>, text: &str| {
                let head = Head {
                    name: name.to_owned(),
                    filename: filename.map(str::to_owned),
                };
                (head, text.to_owned())
            };
            let expected = [
                named("a", None, "one"),
                named("b", Some("q\"\\d;=.txt"), "two\r\n--x"),
                named("c", None, ""),
            ];
            assert_eq!(parts, expected, "{piece}");
        }
    }

    #[tokio::test]
    async fn a_part_that_is_not_read_is_passed_over() {
        let mut form = form(BODY.as_bytes(), 3);
        let mut names = Vec::new();
        while let Some(head) = form.next().await.expect("it is sound") {
            names.push(head.name);
        }
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn broken_forms_are_refused() {
        for cut in [0, 10, 30, 70, BODY.len() - 6] {
            let result = whole(form(&BODY.as_bytes()[..cut], 9)).await;
            assert!(result.is_err(), "{cut}");
        }
        let endless = format!("--x y\r\nx: {}", "y".repeat(HEAD_MAX));
        assert!(whole(form(endless.as_bytes(), 1_000)).await.is_err());
        let many =
            "--x y\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n".repeat(PARTS_MAX + 1);
        assert!(whole(form(many.as_bytes(), 1_000)).await.is_err());
        let nameless = "--x y\r\ncontent-disposition: form-data\r\n\r\n\r\n--x y--";
        assert!(whole(form(nameless.as_bytes(), 1_000)).await.is_err());
        for kind in [
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=",
        ] {
            assert!(Form::new(&headers(kind), Body::empty()).is_err(), "{kind}");
        }
    }
}
