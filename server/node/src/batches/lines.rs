//! The lines of a batch's input, one at a time, each bounded.

use std::io;

use kwaainet_core::random_id;
use kwaainet_openapi::{BatchError, BatchLine, BatchOutput};
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, BufReader};

const CUSTOM_ID_BYTES_MAX: usize = 512;

/// Reads a file line by line.
pub(super) struct Lines {
    file: BufReader<File>,
    bytes_max: usize,
    number: u32,
}

/// A line as it stands in the file.
pub(super) struct RawLine {
    /// Counted from 1.
    pub(super) number: u32,
    /// Without its end; none if it is too long.
    pub(super) bytes: Option<Vec<u8>>,
}

/// A sound line.
pub(super) struct Request {
    pub(super) number: u32,
    pub(super) custom_id: String,
    pub(super) body: Value,
}

impl Lines {
    /// The lines of a file, of which none may have more than so many bytes.
    pub(super) fn new(file: File, bytes_max: usize) -> Self {
        Self {
            file: BufReader::with_capacity(64 << 10, file),
            bytes_max,
            number: 0,
        }
    }

    /// The next line that is not blank.
    pub(super) async fn next(&mut self) -> io::Result<Option<RawLine>> {
        loop {
            let Some(bytes) = self.line().await? else {
                return Ok(None);
            };
            self.number = self.number.saturating_add(1);
            let blank = |bytes: &Vec<u8>| bytes.iter().all(u8::is_ascii_whitespace);
            if !bytes.as_ref().is_some_and(blank) {
                let number = self.number;
                return Ok(Some(RawLine { number, bytes }));
            }
        }
    }

    /// A line, or nothing in place of one that is too long; none at the end.
    async fn line(&mut self) -> io::Result<Option<Option<Vec<u8>>>> {
        let mut line = Vec::new();
        let (mut fits, mut any) = (true, false);
        loop {
            let read = self.file.fill_buf().await?;
            if read.is_empty() {
                return Ok(any.then(|| fits.then_some(line)));
            }
            any = true;
            let end = read.iter().position(|byte| *byte == b'\n');
            let piece = &read[..end.unwrap_or(read.len())];
            fits = fits && line.len() + piece.len() <= self.bytes_max;
            if fits {
                line.extend_from_slice(piece);
            } else {
                line = Vec::new();
            }
            let used = end.map_or(read.len(), |end| end + 1);
            self.file.consume(used);
            if end.is_some() {
                return Ok(Some(fits.then_some(line)));
            }
        }
    }
}

impl RawLine {
    /// What the line asks for, if it is sound and goes to this endpoint.
    pub(super) fn read(&self, endpoint: &str) -> Result<Request, BatchError> {
        let Some(bytes) = &self.bytes else {
            let message = "This line is longer than a request may be.";
            return Err(self.error("line_too_long", None, message));
        };
        let line: BatchLine = serde_json::from_slice(bytes).map_err(|_| {
            let message = "This line is not parseable as valid JSON, or is no object.";
            self.error("invalid_json_line", None, message)
        })?;
        let custom_id = self.text(line.custom_id, "custom_id")?;
        if custom_id.is_empty() || custom_id.len() > CUSTOM_ID_BYTES_MAX {
            let message = format!("'custom_id' must have 1 to {CUSTOM_ID_BYTES_MAX} bytes.");
            return Err(self.error("invalid_custom_id", Some("custom_id"), &message));
        }
        if self.text(line.method, "method")? != "POST" {
            let message = "'method' must be 'POST'.";
            return Err(self.error("invalid_method", Some("method"), message));
        }
        if self.text(line.url, "url")? != endpoint {
            let message = format!("'url' must be the batch's endpoint, '{endpoint}'.");
            return Err(self.error("invalid_url", Some("url"), &message));
        }
        match line.body {
            Some(body @ Value::Object(_)) => Ok(Request {
                number: self.number,
                custom_id,
                body,
            }),
            Some(_) => Err(self.error("invalid_type", Some("body"), "'body' must be an object.")),
            None => Err(self.missing("body")),
        }
    }

    fn text(&self, value: Option<Value>, param: &str) -> Result<String, BatchError> {
        match value {
            Some(Value::String(text)) => Ok(text),
            Some(_) => {
                let message = format!("'{param}' must be a string.");
                Err(self.error("invalid_type", Some(param), &message))
            }
            None => Err(self.missing(param)),
        }
    }

    fn missing(&self, param: &str) -> BatchError {
        let message = format!("Missing required parameter: '{param}'.");
        self.error("missing_required_parameter", Some(param), &message)
    }

    /// An error in this line.
    pub(super) fn error(&self, code: &str, param: Option<&str>, message: &str) -> BatchError {
        BatchError {
            code: code.to_owned(),
            line: Some(self.number),
            message: message.to_owned(),
            param: param.map(str::to_owned),
        }
    }
}

/// A line of output that answers the line of this name.
pub(super) fn output(custom_id: String) -> BatchOutput {
    BatchOutput {
        id: format!("batch_req_{}", random_id()),
        custom_id,
        response: None,
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8], bytes_max: usize) -> Vec<(u32, Option<String>)> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("in");
        std::fs::write(&path, text).expect("it is written");
        let file = File::open(&path).await.expect("it opens");
        let mut lines = Lines::new(file, bytes_max);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.expect("it reads") {
            let text = line
                .bytes
                .map(|bytes| String::from_utf8(bytes).expect("text"));
            found.push((line.number, text));
        }
        found
    }

    #[tokio::test]
    async fn lines_are_counted_and_bounded() {
        let line = |number, text: &str| (number, Some(text.to_owned()));
        assert_eq!(lines(b"", 9).await, []);
        assert_eq!(lines(b"\n\r\n \n", 9).await, []);
        let found = lines(b"a\n\nb\r\nc", 9).await;
        assert_eq!(found, [line(1, "a"), line(3, "b\r"), line(4, "c")]);
        let long = [b"x".repeat(200_000), b"\nshort\n".to_vec()].concat();
        assert_eq!(lines(&long, 100).await, [(1, None), line(2, "short")]);
    }

    #[test]
    fn a_line_that_is_not_sound_says_why() {
        let read = |text: &str| {
            let line = RawLine {
                number: 7,
                bytes: Some(text.as_bytes().to_vec()),
            };
            let error = line.read("/v1/embeddings").map(|request| request.custom_id);
            error.map_err(|error| {
                assert_eq!(error.line, Some(7));
                (error.code, error.param.unwrap_or_default())
            })
        };
        let sound = r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{}}"#;
        assert_eq!(read(sound), Ok("a".to_owned()));
        for (from, to, code, param) in [
            ("{\"c", "x", "invalid_json_line", ""),
            ("custom_id", "id", "missing_required_parameter", "custom_id"),
            ("\"a\"", "1", "invalid_type", "custom_id"),
            ("\"a\"", "\"\"", "invalid_custom_id", "custom_id"),
            ("POST", "GET", "invalid_method", "method"),
            ("embeddings", "completions", "invalid_url", "url"),
            ("{}", "[]", "invalid_type", "body"),
            (",\"body\":{}", "", "missing_required_parameter", "body"),
        ] {
            let refused = Err((code.to_owned(), param.to_owned()));
            assert_eq!(read(&sound.replace(from, to)), refused, "{from} {to}");
        }
    }
}
