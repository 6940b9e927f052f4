//! Which keys a node had, one after the other: each change signed by the key that went and by the one that came. So
//! whatever an earlier key has signed can still be taken for the same node's.
//!
//! A file has one line for each change: the two envelopes in hexadecimal digits with a space between.

use data_encoding::HEXLOWER;
use kwaainet_core::NodeId;
use sha2::{Digest, Sha256};

use crate::envelope::{Domain, Envelope, EnvelopeError, Fields};
use crate::key::NodeKey;

/// Changes that a history has at most.
const CHANGES_MAX: usize = 1_024;

/// One key in another's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Which went.
    pub old: NodeId,
    /// Which came.
    pub new: NodeId,
    /// When: milliseconds since 1970.
    pub at_ms: u64,
    /// What the old one signed.
    pub statement: Envelope,
    /// What the new one signed.
    pub acceptance: Envelope,
}

/// All changes, the first one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyHistory(Vec<KeyChange>);

/// Why a text is no history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHistory {
    /// A line is not what it should be.
    #[error("line {0} of the key history is malformed")]
    Line(usize),
    /// A signature is not good.
    #[error("line {line} of the key history: {error}")]
    Envelope {
        /// Which line.
        line: usize,
        /// Why.
        error: EnvelopeError,
    },
    /// The lines do not follow each other.
    #[error("line {0} of the key history does not follow the one before")]
    Broken(usize),
    /// There are too many.
    #[error("the key history is too long")]
    TooLong,
}

impl KeyHistory {
    /// Reads a file and checks every signature, and that each key came for the one before.
    ///
    /// # Errors
    /// Whatever is wrong first.
    pub fn read(text: &str) -> Result<Self, BadHistory> {
        let mut changes: Vec<KeyChange> = Vec::new();
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            if line > CHANGES_MAX {
                return Err(BadHistory::TooLong);
            }
            let change = change(text, line)?;
            let follows = changes.last().is_none_or(|last| last.new == change.old);
            if !follows {
                return Err(BadHistory::Broken(line));
            }
            changes.push(change);
        }
        Ok(Self(changes))
    }

    /// With one more change.
    ///
    /// # Panics
    /// When the old key is not the one that the last change brought.
    #[must_use]
    pub fn changed(mut self, old: &NodeKey, new: &NodeKey, at_ms: u64) -> Self {
        let follows = self.0.last().is_none_or(|last| last.new == old.id());
        assert!(follows, "the key is the one that came last");
        let number = self.0.len() as u64 + 1;
        let fields = Fields::new().u64(number).array(new.id().0).u64(at_ms);
        let statement = Envelope::sign(old, Domain::KeyChange, fields);
        let hash: [u8; 32] = Sha256::digest(statement.as_bytes()).into();
        let acceptance = Envelope::sign(new, Domain::KeyAcceptance, Fields::new().array(hash));
        self.0.push(KeyChange {
            old: old.id(),
            new: new.id(),
            at_ms,
            statement,
            acceptance,
        });
        self
    }

    /// The changes.
    pub fn changes(&self) -> &[KeyChange] {
        &self.0
    }

    /// As a file.
    pub fn text(&self) -> String {
        let line = |change: &KeyChange| {
            let hex = |envelope: &Envelope| HEXLOWER.encode(envelope.as_bytes());
            format!("{} {}\n", hex(&change.statement), hex(&change.acceptance))
        };
        self.0.iter().map(line).collect()
    }

    /// The keys that the node of this key had before; none if the history is another's.
    pub fn before(&self, node: NodeId) -> Vec<NodeId> {
        match self.0.iter().rposition(|change| change.new == node) {
            Some(last) => self.0[..=last].iter().map(|change| change.old).collect(),
            None => Vec::new(),
        }
    }
}

fn change(text: &str, line: usize) -> Result<KeyChange, BadHistory> {
    let malformed = || BadHistory::Line(line);
    let failed = |error| BadHistory::Envelope { line, error };
    let (statement, acceptance) = text.split_once(' ').ok_or_else(malformed)?;
    let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).map_err(|_| malformed());
    let statement = Envelope::open(&bytes(statement)?, Domain::KeyChange).map_err(failed)?;
    let acceptance = Envelope::open(&bytes(acceptance)?, Domain::KeyAcceptance).map_err(failed)?;
    let mut fields = statement.fields();
    let number = fields.u64().map_err(failed)?;
    let new = NodeId(fields.array().map_err(failed)?);
    let at_ms = fields.u64().map_err(failed)?;
    fields.end().map_err(failed)?;
    let mut accepted = acceptance.fields();
    let hash: [u8; 32] = accepted.array().map_err(failed)?;
    accepted.end().map_err(failed)?;
    let expected: [u8; 32] = Sha256::digest(statement.as_bytes()).into();
    if number != line as u64 || acceptance.signer() != new || hash != expected {
        return Err(BadHistory::Broken(line));
    }
    Ok(KeyChange {
        old: statement.signer(),
        new,
        at_ms,
        statement,
        acceptance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [NodeKey; 4] {
        [1, 2, 3, 4].map(|seed| NodeKey::from_seed(&[seed; 32]))
    }

    #[test]
    fn a_history_is_read_as_it_was_written_and_leads_back() {
        let [a, b, c, other] = keys();
        let history = KeyHistory::default().changed(&a, &b, 5).changed(&b, &c, 6);
        assert_eq!(KeyHistory::read(&history.text()), Ok(history.clone()));
        assert_eq!(history.before(c.id()), [a.id(), b.id()]);
        assert_eq!(history.before(b.id()), [a.id()]);
        assert!(history.before(a.id()).is_empty());
        assert!(history.before(other.id()).is_empty());
        assert_eq!(KeyHistory::read(""), Ok(KeyHistory::default()));
    }

    #[test]
    fn nobody_adds_changes_or_leaves_out_a_line() {
        let [a, b, c, other] = keys();
        let good = KeyHistory::default().changed(&a, &b, 5).changed(&b, &c, 6);
        let text = good.text();
        let lines: Vec<_> = text.lines().collect();
        let strange = KeyHistory::default().changed(&other, &c, 7).text();
        for bad in [
            lines[1].to_owned(),
            format!("{}\n{}", lines[1], lines[0]),
            format!("{}\n{}", lines[0], lines[0]),
            format!("{}\n{}", lines[0], strange.trim_end()),
            lines[0].replace(' ', ""),
            format!("{} x", lines[0]),
            String::from("x y"),
        ] {
            assert!(KeyHistory::read(&bad).is_err(), "{bad:.40}");
        }
        // Somebody who has the old key only cannot name a new one that does not agree.
        let (statement, _) = lines[0].split_once(' ').expect("two parts");
        let (_, acceptance) = strange.trim_end().split_once(' ').expect("two parts");
        assert!(KeyHistory::read(&format!("{statement} {acceptance}")).is_err());
        for at in (0..lines[0].len()).step_by(7) {
            let mut changed = lines[0].as_bytes().to_vec();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(KeyHistory::read(&changed).is_err(), "letter {at}");
        }
    }
}
