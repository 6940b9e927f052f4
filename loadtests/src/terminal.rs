//! What is said to a person: reports on standard output, the rest on standard error.

use std::io::Write;

/// Writes text to standard output. A reader that went away is no error.
pub fn say(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(text.as_ref().as_bytes())
        .and_then(|()| out.flush());
    drop(written);
}

/// Writes a line to standard error.
pub fn note(text: impl AsRef<str>) {
    let written = writeln!(std::io::stderr(), "{}", text.as_ref());
    drop(written);
}
