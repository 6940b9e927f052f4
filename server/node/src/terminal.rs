//! What the command line says to a person: answers on standard output, the rest on standard error.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kwaainet_models::{ModelFile, Progress, Source, SourceError};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Writes a line to standard output. A reader that went away is no error.
pub fn line(text: impl AsRef<str>) {
    piece(&format!("{}\n", text.as_ref()));
}

/// Writes text to standard output at once.
pub fn piece(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    drop(written);
}

/// Writes a line to standard error.
pub fn note(text: impl AsRef<str>) {
    let written = writeln!(std::io::stderr(), "{}", text.as_ref());
    drop(written);
}

/// Shows a text as a QR code if standard output is a terminal, and as nothing elsewhere. One that is too long for
/// a code is not shown.
pub fn show_code(text: &str) {
    if std::io::stdout().is_terminal()
        && let Some(code) = code(text)
    {
        piece(&code);
    }
}

/// A QR code (ISO/IEC 18004) in half blocks, black on white whatever the terminal's own colours are.
fn code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let picture = code.render::<Dense1x2>().build();
    let line = |line: &str| format!("\x1b[30;107m{line}\x1b[0m\n");
    Some(picture.lines().map(line).collect())
}

/// Shows a pull: a bar on a terminal, plain lines elsewhere.
pub struct PullProgress {
    bar: Mutex<ProgressBar>,
    terminal: bool,
}

impl Default for PullProgress {
    fn default() -> Self {
        Self {
            bar: Mutex::new(ProgressBar::hidden()),
            terminal: std::io::stderr().is_terminal(),
        }
    }
}

impl PullProgress {
    fn with(&self, then: impl FnOnce(&mut ProgressBar)) {
        then(&mut self.bar.lock().expect("no holder panics"));
    }

    fn say(&self, text: String) {
        self.with(|bar| {
            if self.terminal {
                bar.suspend(|| note(&text));
            } else {
                note(&text);
            }
        });
    }
}

impl Progress for PullProgress {
    fn waiting(&self, model: &str) {
        self.say(format!(
            "another process is pulling {model}; waiting for it"
        ));
    }

    fn started(&self, file: &ModelFile) {
        let mib = file.bytes() as f64 / f64::from(1 << 20);
        if !self.terminal {
            note(format!("pulling {} ({mib:.1} MiB)", file.name()));
            return;
        }
        let style = ProgressStyle::with_template(
            "{msg} {spinner} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec}",
        )
        .expect("the template is well formed");
        self.with(|bar| {
            *bar = ProgressBar::with_draw_target(Some(file.bytes()), ProgressDrawTarget::stderr())
                .with_style(style)
                .with_message(file.name().to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
        });
    }

    fn trying(&self, _file: &ModelFile, source: &Source) {
        self.say(format!("  from {source}"));
        self.with(|bar| bar.set_position(0));
    }

    fn advanced(&self, bytes: u64) {
        self.with(|bar| bar.inc(bytes));
    }

    fn source_failed(&self, _file: &ModelFile, source: &Source, error: &SourceError) {
        self.say(format!("  {source}: {error}"));
    }

    fn done(&self, file: &ModelFile) {
        self.with(|bar| bar.finish_and_clear());
        self.say(format!("{} is here, verified", file.name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_fits_on_a_terminal_as_a_code() {
        let code = code(&format!("KWAAI1{}", "A7".repeat(200))).expect("it fits");
        let lines: Vec<_> = code.lines().collect();
        assert!(lines.len() < 40, "{} lines", lines.len());
        for line in lines {
            let inner = line
                .strip_prefix("\x1b[30;107m")
                .and_then(|l| l.strip_suffix("\x1b[0m"));
            let width = inner.expect("it has its colours").chars().count();
            assert!(width <= 80, "{width} columns");
        }
    }

    #[test]
    fn what_is_too_long_for_a_code_is_none() {
        assert_eq!(code(&"A".repeat(5_000)), None);
    }
}
