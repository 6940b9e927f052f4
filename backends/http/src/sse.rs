//! Server-sent events, as far as OpenAI uses them: the `data` of each event.
//!
//! An incremental parser of the stream format in the WHATWG HTML standard, section 9.2.6. Lines
//! may end in LF, CRLF or CR, and chunks of bytes may be cut anywhere. Fields other than `data`
//! are ignored. Lines and events are bounded.

/// The longest line, and the longest data of one event, in bytes.
const DATA_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = "\u{FEFF}".as_bytes();

/// Takes bytes as they come and gives the data of events as they are complete.
#[derive(Default)]
pub(crate) struct SseParser {
    buffer: Vec<u8>,
    /// How much of the buffer is done with.
    used: usize,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
    /// The last line ended in CR, so a LF that follows belongs to it.
    after_cr: bool,
    /// A line was read, so that no byte order mark may come.
    begun: bool,
    data: Option<Vec<u8>>,
}

/// A line or an event is longer than any that makes sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {DATA_MAX} bytes")]
pub(crate) struct TooLong;

impl SseParser {
    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.used);
        self.searched -= self.used;
        self.used = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next event that is complete.
    pub(crate) fn next_data(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        while let Some((start, end)) = self.next_line()? {
            if start == end {
                if let Some(data) = self.data.take() {
                    return Ok(Some(data));
                }
            } else {
                self.field(start, end)?;
            }
        }
        Ok(None)
    }

    /// At the end of the stream: the data of an event whose empty line never came. The standard
    /// drops it, but servers exist that end with `data: [DONE]` and nothing after.
    pub(crate) fn finish(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        self.feed(b"\n\n");
        self.next_data()
    }

    /// The bounds of the next whole line, without its end.
    fn next_line(&mut self) -> Result<Option<(usize, usize)>, TooLong> {
        if self.after_cr && self.buffer.get(self.used) == Some(&b'\n') {
            self.used += 1;
            self.searched = self.searched.max(self.used);
            self.after_cr = false;
        }
        let unsearched = &self.buffer[self.searched..];
        let found = unsearched.iter().position(|b| matches!(b, b'\n' | b'\r'));
        let Some(offset) = found else {
            self.searched = self.buffer.len();
            let open = self.buffer.len() - self.used;
            return if open > DATA_MAX {
                Err(TooLong)
            } else {
                Ok(None)
            };
        };
        let (start, end) = (self.used, self.searched + offset);
        self.after_cr = self.buffer[end] == b'\r';
        self.used = end + 1;
        self.searched = self.used;
        Ok(Some((start, end)))
    }

    fn field(&mut self, start: usize, end: usize) -> Result<(), TooLong> {
        let mut line = &self.buffer[start..end];
        if !self.begun {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            self.begun = true;
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            _ => return Ok(()),
        };
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
        let length = self.data.as_ref().map_or(0, Vec::len);
        if length > DATA_MAX {
            Err(TooLong)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of all events when the bytes come in pieces of this size.
    fn parse(bytes: &[u8], size: usize) -> Vec<String> {
        let mut parser = SseParser::default();
        let mut events = Vec::new();
        for chunk in bytes.chunks(size) {
            parser.feed(chunk);
            while let Some(data) = parser.next_data().expect("it is short") {
                events.push(data);
            }
        }
        events.extend(parser.finish().expect("it is short"));
        let text = |data| String::from_utf8(data).expect("it is UTF-8");
        events.into_iter().map(text).collect()
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let stream = "\u{FEFF}data: eins\n\n: a comment\nevent: x\r\nid: 7\r\ndata:zwei\r\n\r\n\
                      data: drei\rdata: größe €\r\rdatax: no\ndata\n\n\n\ndata:  [DONE]";
        let expected = ["eins", "zwei", "drei\ngröße €", "", " [DONE]"];
        for size in 1..=stream.len() {
            assert_eq!(parse(stream.as_bytes(), size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_event_is_given_as_soon_as_its_empty_line_is_there() {
        let mut parser = SseParser::default();
        parser.feed(b"data: a\r\n\r");
        assert_eq!(parser.next_data(), Ok(Some(b"a".to_vec())));
        parser.feed(b"\ndata: b\n\n");
        assert_eq!(parser.next_data(), Ok(Some(b"b".to_vec())));
        assert_eq!(parser.next_data(), Ok(None));
    }

    #[test]
    fn endless_lines_and_events_are_cut_off() {
        let mut parser = SseParser::default();
        let piece = vec![b'x'; DATA_MAX / 4];
        let fed = (0..8).find_map(|_| {
            parser.feed(&piece);
            parser.next_data().err()
        });
        assert_eq!(fed, Some(TooLong));

        let mut parser = SseParser::default();
        let line = [b"data: ".as_slice(), &piece, b"\n"].concat();
        let fed = (0..8).find_map(|_| {
            parser.feed(&line);
            parser.next_data().err()
        });
        assert_eq!(fed, Some(TooLong));
    }
}
