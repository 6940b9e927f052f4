//! How fast this machine is, as `kwaainet bench` measured it last with the default model: what its class follows from.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

const FILE: &str = "class.json";

#[derive(Serialize, Deserialize)]
struct Measured {
    tokens_per_s: f64,
}

/// Keeps what was measured, in the data directory, which must be there.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn keep(data_dir: &Path, tokens_per_s: f64) -> io::Result<()> {
    let measured = serde_json::to_string(&Measured { tokens_per_s })?;
    let draft = data_dir.join(format!("{FILE}.new"));
    std::fs::write(&draft, measured)?;
    std::fs::rename(draft, data_dir.join(FILE))
}

/// Tokens a second that were measured; none if nobody has measured, or the file is no such one.
pub(crate) fn measured(data_dir: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(data_dir.join(FILE)).ok()?;
    let Measured { tokens_per_s } = serde_json::from_str(&text).ok()?;
    let is_sound = tokens_per_s.is_finite() && tokens_per_s >= 1.0;
    // Rounded down, and within what 64 bits hold.
    is_sound.then_some(tokens_per_s as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_last_counts_and_nonsense_does_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(measured(dir.path()), None);
        for (kept, read) in [(257.9, Some(257)), (0.2, None), (1.0, Some(1))] {
            keep(dir.path(), kept).expect("it is written");
            assert_eq!(measured(dir.path()), read);
        }
        std::fs::write(dir.path().join(FILE), "{").expect("it is written");
        assert_eq!(measured(dir.path()), None);
    }
}
