//! The text of a file, by what its name says that it is.

use tokio::io::AsyncReadExt;

use super::{Trouble, server};
use crate::door::App;

/// Bytes of a file that is read.
const BYTES_MAX: u64 = 8 << 20;

/// Names of files that are text as they are.
const PLAIN: [&str; 32] = [
    "c", "cpp", "cs", "css", "csv", "go", "h", "ini", "java", "js", "json", "jsonl", "log",
    "markdown", "md", "php", "py", "rb", "rs", "rst", "sh", "sql", "tex", "text", "toml", "ts",
    "tsv", "txt", "xml", "yaml", "yml", "ipynb",
];
const HTML: [&str; 3] = ["htm", "html", "xhtml"];

/// Reads a file whole.
pub(crate) async fn of_file(app: &App, id: &str, filename: &str) -> Result<String, Trouble> {
    let extension = filename
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension);
    let extension = extension.to_ascii_lowercase();
    let is_html = HTML.contains(&extension.as_str());
    if !is_html && !PLAIN.contains(&extension.as_str()) {
        let message = "this node reads text, Markdown, JSON, CSV, HTML and source code only, by the name's \
                       ending";
        return Err(Trouble::File("unsupported_file", message.to_owned()));
    }
    let file = app.vault.open(id).await;
    let file = file.map_err(|_| server("the file is not there any more"))?;
    let mut bytes = Vec::new();
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes).await;
    read.map_err(|_| server("the file cannot be read"))?;
    if bytes.len() as u64 > BYTES_MAX {
        let message = format!("the file is larger than {BYTES_MAX} bytes");
        return Err(Trouble::File("invalid_file", message));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        let message = "the file is not UTF-8 text".to_owned();
        Trouble::File("invalid_file", message)
    })?;
    let text = if is_html { strip(&text) } else { text };
    if text.trim().is_empty() {
        let message = "the file has no text".to_owned();
        return Err(Trouble::File("invalid_file", message));
    }
    Ok(text)
}

/// Elements whose content is not for people.
const HIDDEN: [&str; 3] = ["script", "style", "template"];
/// Elements inside a line.
const INLINE: [&str; 14] = [
    "a", "abbr", "b", "code", "em", "font", "i", "mark", "s", "small", "span", "strong", "sub", "u",
];

/// A page's text: without tags, comments and what is hidden; entities read; elements that are not inside a
/// line end it.
fn strip(page: &str) -> String {
    let mut text = String::with_capacity(page.len() / 2);
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        text.push_str(&entities(&rest[..at]));
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let is_tag = rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
        let end = rest.find('>').filter(|_| is_tag);
        let Some(end) = end else {
            text.push('<');
            rest = &rest[1..];
            continue;
        };
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/');
        let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next();
        let name = name.unwrap_or("").to_ascii_lowercase();
        if !tag.starts_with('/') && HIDDEN.contains(&name.as_str()) {
            rest = after_closing(rest, &name);
        }
        if !INLINE.contains(&name.as_str()) {
            text.push('\n');
        }
    }
    text.push_str(&entities(rest));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// What follows the end of an element.
fn after_closing<'a>(rest: &'a str, name: &str) -> &'a str {
    let mut from = 0;
    while let Some(at) = rest[from..].find("</") {
        let at = from + at + 2;
        let found = rest.as_bytes()[at..].get(..name.len());
        if found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes())) {
            return rest[at..].find('>').map_or("", |end| &rest[at + end + 1..]);
        }
        from = at;
    }
    ""
}

/// Reads the entities that are common in texts; others stay as they are.
fn entities(text: &str) -> String {
    let mut read = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        read.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        let entity = end.and_then(|end| Some((end, entity(&rest[1..end])?)));
        match entity {
            Some((end, char)) => {
                read.push(char);
                rest = &rest[end + 1..];
            }
            None => {
                read.push('&');
                rest = &rest[1..];
            }
        }
    }
    read.push_str(rest);
    read
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return char::from_u32(code.ok()?);
    }
    let known = [
        ("amp", '&'),
        ("apos", '\''),
        ("gt", '>'),
        ("hellip", '…'),
        ("lt", '<'),
        ("mdash", '—'),
        ("nbsp", ' '),
        ("ndash", '–'),
        ("quot", '"'),
    ];
    let found = known.iter().find(|(known, _)| *known == name);
    found.map(|(_, char)| *char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_what_its_reader_sees() {
        let page = "<!DOCTYPE html><html><head><title>A &amp; B</title><STYLE>p{}</style >\
                    <script>if (a < b) alert('</p>')</script></head><body><!-- no > --><p>One <b>big</b> \
                    word&#33;<br/>1 < 2 &unknown; &#x263A;</p><p>Two</body>";
        assert_eq!(strip(page), "A & B\nOne big word!\n1 < 2 &unknown; ☺\nTwo");
        for broken in [
            "",
            "<",
            "<p",
            "a<!-- never",
            "<script>never",
            "&",
            "&#xFFFFFFFF;",
            "</é>é",
        ] {
            strip(broken);
        }
        assert_eq!(strip("a &lt;b&gt; c"), "a <b> c");
    }
}
