//! Server-sent events (WHATWG HTML, section 9.2.6): bytes in, the data of whole events out.
//!
//! Only what OpenAI's streams need: `data` is kept, other fields and comments are passed over.

/// The longest event, in bytes. A longer one is an error, so that no server can fill our memory.
const EVENT_MAX: usize = 4 << 20;

/// Holds what has come of the line and the event that are not complete yet.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    /// The last byte was CR, so a LF now belongs to the same line end.
    after_cr: bool,
}

/// What a stream cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SseError {
    #[error("event too long")]
    TooLong,
    #[error("event not UTF-8")]
    NotUtf8,
}

impl SseParser {
    /// Takes the next bytes, cut anywhere, and hands over the events that they complete.
    ///
    /// # Errors
    /// For an event that is too long or no text, after which the parser is of no more use.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, SseError> {
        let mut events = Vec::new();
        for &byte in bytes {
            let second_of_crlf = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                _ if second_of_crlf => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ if self.line.len() == EVENT_MAX => return Err(SseError::TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    /// An empty line ends the event; any other adds to it.
    fn end_line(&mut self) -> Result<Option<String>, SseError> {
        if self.line.is_empty() {
            let text = self.data.take().map(String::from_utf8).transpose();
            return text.map_err(|_| SseError::NotUtf8);
        }
        if let Some(value) = data_of(&self.line) {
            if let Some(data) = &mut self.data {
                data.push(b'\n');
            }
            let data = self.data.get_or_insert_default();
            data.extend_from_slice(value);
            if data.len() > EVENT_MAX {
                return Err(SseError::TooLong);
            }
        }
        self.line.clear();
        Ok(None)
    }
}

/// The value of a `data` line; none for other lines.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_line_ends_comments_and_wide_characters_make_no_difference() {
        let stream = ": hello\ndata: one\n\nevent: x\r\ndata:two\r\n\r\ndata: a\rdata: b\r\r\
                      data: grüße 東京 🦀\n\n\n\nid: 1\n\ndatabase: no\n\ndata: [DONE]\n\n";
        let expected = ["one", "two", "a\nb", "grüße 東京 🦀", "[DONE]"];
        for size in 1..=stream.len() {
            let mut parser = SseParser::default();
            let pieces = stream.as_bytes().chunks(size);
            let events: Vec<_> = pieces
                .flat_map(|piece| parser.feed(piece).expect("it is well formed"))
                .collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_comes_with_its_last_byte_and_not_before() {
        let mut parser = SseParser::default();
        assert_eq!(parser.feed(b"data: x\n"), Ok(vec![]));
        assert_eq!(parser.feed(b"\n"), Ok(vec!["x".to_owned()]));
        assert_eq!(parser.feed(b"data: y\r\n\r"), Ok(vec!["y".to_owned()]));
        assert_eq!(parser.feed(b"\ndata: z"), Ok(vec![]));
    }

    #[test]
    fn endless_and_unreadable_events_are_errors() {
        let long = vec![b'x'; EVENT_MAX + 1];
        assert_eq!(SseParser::default().feed(&long), Err(SseError::TooLong));

        let line = [b"data: ".as_slice(), &long[..EVENT_MAX / 2], b"\n"].concat();
        let mut parser = SseParser::default();
        assert!(parser.feed(&line).is_ok());
        assert_eq!(parser.feed(&line), Err(SseError::TooLong));

        let bad = SseParser::default().feed(b"data: \xFF\n\n");
        assert_eq!(bad, Err(SseError::NotUtf8));
    }
}
