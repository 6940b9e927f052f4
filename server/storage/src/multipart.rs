//! Reads a `multipart/related` or `multipart/mixed` message (RFC 2046, section 5.1) that is in memory.

/// Headers of one part.
const HEADERS_MAX: usize = 16;

/// The parts of a message, in their order.
#[derive(Clone, Debug)]
pub struct Multipart<'a> {
    rest: &'a [u8],
    delimiter: Vec<u8>,
    ended: bool,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its content.
    pub body: &'a [u8],
}

impl<'a> Multipart<'a> {
    /// The message with this boundary.
    pub fn new(message: &'a [u8], boundary: &str) -> Self {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first boundary may stand at the very beginning.
        let first = &delimiter[2..];
        let rest = match message.strip_prefix(first) {
            Some(rest) => Some(rest),
            None => find(message, &delimiter).map(|at| &message[at + delimiter.len()..]),
        };
        Self {
            rest: rest.unwrap_or(b""),
            ended: rest.is_none(),
            delimiter,
        }
    }
}

impl<'a> Iterator for Multipart<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if self.ended || self.rest.starts_with(b"--") {
            return None;
        }
        let rest = self.rest.strip_prefix(b"\r\n");
        let (Some(rest), Some(end)) = (rest, find(self.rest, &self.delimiter)) else {
            self.ended = true;
            return None;
        };
        // A part without headers begins with the empty line itself, whose end the delimiter may share.
        let part = &self.rest[..end];
        let next = &self.rest[end + self.delimiter.len()..];
        self.rest = next;
        if part == b"\r\n" {
            // The line before the body is also the one before the delimiter.
            return Some(Part {
                headers: Vec::new(),
                body: b"",
            });
        }
        let rest = &rest[..end - 2];
        if let Some(body) = rest.strip_prefix(b"\r\n") {
            return Some(Part {
                headers: Vec::new(),
                body,
            });
        }
        let (head, body) = match find(rest, b"\r\n\r\n") {
            Some(at) => (&rest[..at], &rest[at + 4..]),
            None => (rest, &b""[..]),
        };
        let head = String::from_utf8_lossy(head);
        let lines = head.split("\r\n").take(HEADERS_MAX);
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        };
        Some(Part {
            headers: lines.filter_map(header).collect(),
            body,
        })
    }
}

/// The boundary that a content type names, if it is a multipart one.
pub fn boundary_of(content_type: &str) -> Option<&str> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence
        .trim()
        .to_ascii_lowercase()
        .starts_with("multipart/")
    {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("boundary");
        is_it.then(|| value.trim().trim_matches('"'))
    });
    boundary.filter(|boundary| (1..=70).contains(&boundary.len()))
}

/// Where the needle first stands.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_in_their_order() {
        let message = b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n\r\na\r\n-\0\r\n--b\r\n\r\n\r\n--b--";
        let parts: Vec<_> = Multipart::new(message, "b").collect();
        assert_eq!(parts.len(), 3);
        let json = ("content-type".to_owned(), "application/json".to_owned());
        assert_eq!(parts[0].headers, [json]);
        let bodies: Vec<_> = parts.iter().map(|part| part.body).collect();
        assert_eq!(bodies, [&b"{}"[..], b"a\r\n-\0", b""]);
        assert_eq!(
            Multipart::new(b"\r\n--b\r\nX: y\r\n\r\nz\r\n--b--", "b").count(),
            1
        );
        assert_eq!(Multipart::new(b"nothing", "b").count(), 0);
        assert_eq!(Multipart::new(b"--b\r\nno end", "b").count(), 0);
    }

    #[test]
    fn the_boundary_stands_in_the_content_type() {
        assert_eq!(
            boundary_of("multipart/related; boundary=\"a b\""),
            Some("a b")
        );
        assert_eq!(boundary_of("Multipart/Mixed;x=y; Boundary=c"), Some("c"));
        assert_eq!(boundary_of("application/json; boundary=c"), None);
        assert_eq!(boundary_of("multipart/related"), None);
    }
}
