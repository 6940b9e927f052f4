//! How far a replication came, as both sides keep it in a local document (CouchDB's replication protocol,
//! version 3: replication id, session history, common ancestry).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The protocol's version of such a document.
const VERSION: u64 = 4;
/// Sessions that are remembered.
const SESSIONS_MAX: usize = 50;

/// Names the replication of a source to a target, the same each time it is run: under it both keep their checkpoints.
pub fn replication_id(source: &str, target: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in ["kwaainet replication 1", source, target] {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Whose it is: the last session.
    pub session_id: String,
    /// Up to where the source was read.
    pub source_last_seq: Value,
    /// The protocol's version.
    #[serde(default)]
    pub replication_id_version: u64,
    /// The last sessions, the newest first.
    #[serde(default)]
    pub history: Vec<Session>,
}

/// One run of a replication.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// Names it.
    pub session_id: String,
    /// When it began, as in RFC 3339.
    pub start_time: String,
    /// When this was written.
    pub end_time: String,
    /// Where it began.
    pub start_last_seq: Value,
    /// Where it is.
    pub end_last_seq: Value,
    /// The same: what is there up to here is on the target's disk.
    pub recorded_seq: Value,
    /// Revisions that the target was asked for.
    pub missing_checked: u64,
    /// Those that it had not.
    pub missing_found: u64,
    /// Those that the source gave.
    pub docs_read: u64,
    /// Those that the target took.
    pub docs_written: u64,
    /// Those that it did not take.
    pub doc_write_failures: u64,
}

impl Checkpoint {
    /// What is written after a part of a session, over what was written before.
    pub fn after(before: Option<&Self>, session: &Session) -> Self {
        let earlier = before.map(|before| before.history.iter());
        let earlier = earlier.into_iter().flatten();
        let earlier = earlier.filter(|earlier| earlier.session_id != session.session_id);
        let history = std::iter::once(session).chain(earlier).take(SESSIONS_MAX);
        Self {
            session_id: session.session_id.clone(),
            source_last_seq: session.recorded_seq.clone(),
            replication_id_version: VERSION,
            history: history.cloned().collect(),
        }
    }

    /// Up to where both sides agree that the target has everything; none if from the beginning. Of one session the
    /// lesser number counts, since either side may have been set back to an earlier copy of itself.
    pub fn common(source: Option<&Self>, target: Option<&Self>) -> Option<Value> {
        let (source, target) = (source?, target?);
        let sessions = |one: &Self| -> Vec<(String, Value)> {
            let last = (one.session_id.clone(), one.source_last_seq.clone());
            let earlier = one.history.iter();
            let earlier = earlier.map(|one| (one.session_id.clone(), one.recorded_seq.clone()));
            std::iter::once(last).chain(earlier).collect()
        };
        let there = sessions(target);
        sessions(source).into_iter().find_map(|(id, here)| {
            let (_, there) = there.iter().find(|(other, _)| *other == id)?;
            Some(lesser(here, there.clone()))
        })
    }
}

/// Sequence numbers are opaque but for the number that they begin with.
fn lesser(a: Value, b: Value) -> Value {
    let number = |seq: &Value| match seq {
        Value::String(text) => text.split('-').next().and_then(|n| n.parse::<u64>().ok()),
        other => other.as_u64(),
    };
    match (number(&a), number(&b)) {
        (Some(first), Some(second)) if first < second => a,
        _ => b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::is_checkpoint;
    use serde_json::json;

    fn session(id: &str, seq: &str) -> Session {
        Session {
            session_id: id.to_owned(),
            recorded_seq: json!(seq),
            ..Session::default()
        }
    }

    #[test]
    fn a_checkpoint_is_one_that_a_sealed_database_takes_and_does_not_grow() {
        let mut checkpoint = None;
        for n in 0..200 {
            let name = format!("s{}", n / 2);
            let next = Checkpoint::after(checkpoint.as_ref(), &session(&name, &format!("{n}-x")));
            checkpoint = Some(next);
        }
        let checkpoint = checkpoint.expect("it was made");
        assert_eq!(checkpoint.history.len(), SESSIONS_MAX);
        assert_eq!(checkpoint.history[0].session_id, "s99");
        assert_eq!(checkpoint.history[1].session_id, "s98");
        let written = serde_json::to_value(&checkpoint).expect("it is JSON");
        assert!(is_checkpoint(written.as_object().expect("an object")));
    }

    #[test]
    fn both_sides_go_on_where_both_were() {
        let one = Checkpoint::after(None, &session("a", "5-x"));
        assert_eq!(Checkpoint::common(Some(&one), None), None);
        assert_eq!(
            Checkpoint::common(Some(&one), Some(&one)),
            Some(json!("5-x"))
        );
        let ahead = Checkpoint::after(Some(&one), &session("a", "10-x"));
        for (source, target) in [(&one, &ahead), (&ahead, &one)] {
            let common = Checkpoint::common(Some(source), Some(target));
            assert_eq!(common, Some(json!("5-x")), "the lesser, as a number");
        }
        let source = Checkpoint::after(Some(&one), &session("b", "7-x"));
        let target = Checkpoint::after(Some(&one), &session("c", "9-x"));
        let common = Checkpoint::common(Some(&source), Some(&target));
        assert_eq!(
            common,
            Some(json!("5-x")),
            "the last session that both know"
        );
        let other = Checkpoint::after(None, &session("d", "9-x"));
        assert_eq!(Checkpoint::common(Some(&source), Some(&other)), None);
    }

    #[test]
    fn a_replication_has_one_name() {
        let id = replication_id("a", "b");
        assert_eq!(id, replication_id("a", "b"));
        assert_eq!(id.len(), 32);
        assert_ne!(id, replication_id("b", "a"));
        assert_ne!(replication_id("ab", "c"), replication_id("a", "bc"));
    }
}
