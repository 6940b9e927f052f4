//! What becomes of a document when somebody edits it here, or brings an edit that was made elsewhere.

use crate::{Attachments, Draft, Rev, RevTree};

/// Revisions of one document that edits from elsewhere may make known: a tree is read whole for each edit.
const NODES_MAX: usize = 32_768;

/// Why an edit is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It follows on what is not current.
    #[error("Document update conflict.")]
    Conflict,
    /// It keeps an attachment that is not there.
    #[error("Invalid attachment stub for {0}")]
    MissingStub(String),
    /// The database takes envelopes only, and this is none.
    #[error("This database holds encrypted documents only")]
    NotEncrypted,
    /// A revision that was made elsewhere has to say which it is.
    #[error("Document rev is missing")]
    NoRev,
    /// Its owner would have more than he may.
    #[error("There is no room for it")]
    Full,
}

/// An edit that is taken, before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The new revision.
    pub rev: Rev,
    /// It and its ancestors, newest first, as far as the tree has to be told.
    pub history: Vec<Rev>,
    /// What hangs on it.
    pub attachments: Attachments,
}

/// What became of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Took {
    /// Which document.
    pub id: String,
    /// Its new revision.
    pub rev: Rev,
}

/// An edit by somebody who has to know what is current. `before` gives what hangs on a revision of the tree. A new
/// document begins above the generation `floor`, where one of its id was erased.
///
/// # Errors
/// [`Refused`] says why it is not taken.
pub fn interactive(
    tree: &RevTree,
    draft: &Draft,
    floor: u64,
    before: impl FnOnce(&Rev) -> Attachments,
) -> Result<Edit, Refused> {
    let winner = tree.winner();
    let parent = match (&draft.rev, winner) {
        (None, None) => None,
        // Whoever makes a document anew need not know that there was one.
        (None, Some(winner)) if winner.deleted => Some(&winner.rev),
        (None, Some(_)) => return Err(Refused::Conflict),
        (Some(rev), _) if tree.is_leaf(rev) => Some(rev),
        (Some(_), _) => return Err(Refused::Conflict),
    };
    let generation = parent.map_or(floor, Rev::generation) + 1;
    let before = parent.map(before).unwrap_or_default();
    let attachments = settle(draft, generation, &before)?;
    let rev = Rev::of_edit(parent, draft.deleted, &draft.content, &attachments);
    let rev = rev.above(parent.map_or(floor, |_| 0));
    if tree.find(&rev).is_some() {
        return Err(Refused::Conflict);
    }
    let history = [Some(rev.clone()), parent.cloned()];
    Ok(Edit {
        rev,
        history: history.into_iter().flatten().collect(),
        attachments,
    })
}

/// An edit that was made elsewhere. None when it is known already, or is of a document that was erased: one that began
/// at or below the generation `floor`. `before` gives what hangs on the nearest ancestor that is here.
///
/// # Errors
/// [`Refused`] says why it is not taken.
pub fn replicated(
    tree: &RevTree,
    draft: &Draft,
    floor: u64,
    before: impl FnOnce(&Rev) -> Attachments,
) -> Result<Option<Edit>, Refused> {
    let history = match (&draft.history, &draft.rev) {
        (Some(history), _) => history.clone(),
        (None, Some(rev)) => vec![rev.clone()],
        (None, None) => return Err(Refused::NoRev),
    };
    let rev = history.first().cloned().ok_or(Refused::NoRev)?;
    let follows = || history.iter().any(|rev| tree.find(rev).is_some());
    if history.iter().any(|rev| rev.generation() <= floor) && !follows() {
        return Ok(None);
    }
    if let Some(known) = tree.find(&rev)
        && (known.body.is_some() || !tree.is_leaf(&rev))
    {
        return Ok(None);
    }
    if tree.nodes().len() + history.len() > NODES_MAX {
        return Err(Refused::Full);
    }
    let ancestor = history
        .iter()
        .find(|rev| tree.find(rev).is_some_and(|node| node.body.is_some()));
    let before = ancestor.map(before).unwrap_or_default();
    let attachments = settle(draft, rev.generation(), &before)?;
    Ok(Some(Edit {
        rev,
        history,
        attachments,
    }))
}

fn settle(draft: &Draft, generation: u64, before: &Attachments) -> Result<Attachments, Refused> {
    let attachments = draft.attachments.iter();
    let settled = attachments.map(|(name, attachment)| {
        let settled = attachment.settle(name, generation, before)?;
        Ok((name.clone(), settled))
    });
    settled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use serde_json::{Value, json};

    fn draft(document: Value) -> Draft {
        let limits = Limits {
            document_bytes: 1_000,
            attachment_bytes: 100,
            attachments: 4,
        };
        Draft::parse(document, &limits).expect("it is sound")
    }

    fn edit(tree: &mut RevTree, document: Value) -> Result<Rev, Refused> {
        let draft = draft(document);
        let edit = interactive(tree, &draft, 0, |_| Attachments::new())?;
        assert!(tree.add(&edit.history, draft.deleted, 1));
        Ok(edit.rev)
    }

    #[test]
    fn an_edit_has_to_follow_on_a_leaf() {
        let mut tree = RevTree::default();
        let unknown = edit(&mut tree, json!({"_rev": "1-a"}));
        assert_eq!(unknown, Err(Refused::Conflict));
        let first = edit(&mut tree, json!({"n": 1})).expect("it is new");
        assert_eq!(edit(&mut tree, json!({"n": 2})), Err(Refused::Conflict));
        let second = edit(&mut tree, json!({"_rev": first, "n": 2})).expect("it follows");
        assert_eq!(second.generation(), 2);
        let old = edit(&mut tree, json!({"_rev": first, "n": 3}));
        assert_eq!(old, Err(Refused::Conflict));
        let gone = edit(&mut tree, json!({"_rev": second, "_deleted": true}));
        assert_eq!(gone.expect("it follows").generation(), 3);
        let anew = edit(&mut tree, json!({"n": 1})).expect("it is there no more");
        assert_eq!(anew.generation(), 4);
    }

    #[test]
    fn what_was_made_elsewhere_is_taken_once() {
        let mut tree = RevTree::default();
        let come = |tree: &RevTree, document| {
            let none = |_: &Rev| Attachments::new();
            replicated(tree, &draft(document), 0, none)
        };
        let both = json!({"_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a"]}});
        let edit = come(&tree, both.clone())
            .expect("it is sound")
            .expect("new");
        tree.add(&edit.history, false, 1);
        assert_eq!(come(&tree, both), Ok(None));
        assert_eq!(come(&tree, json!({"_rev": "1-a"})), Ok(None), "it is old");
        assert!(
            come(&tree, json!({"_rev": "2-c"}))
                .expect("sound")
                .is_some()
        );
        assert_eq!(come(&tree, json!({"n": 1})), Err(Refused::NoRev));
    }

    #[test]
    fn a_document_has_so_many_revisions_of_others_and_no_more() {
        let mut tree = RevTree::default();
        let come = |tree: &RevTree, branch: usize| {
            let ids: Vec<_> = (0..1_000).map(|step| format!("{branch}x{step}")).collect();
            let document = json!({"_revisions": {"start": 1_000, "ids": ids}});
            replicated(tree, &draft(document), 0, |_| Attachments::new())
        };
        for branch in 0..NODES_MAX / 1_000 {
            let edit = come(&tree, branch).expect("there is room").expect("new");
            tree.add(&edit.history, false, 1);
        }
        assert_eq!(come(&tree, 99), Err(Refused::Full));
        let leaf = tree.leaves()[0].rev.clone();
        let deletion = Draft::deletion("a".into(), Some(leaf));
        let edit = interactive(&tree, &deletion, 0, |_| Attachments::new());
        assert!(edit.is_ok(), "what is there can be deleted");
    }

    #[test]
    fn what_was_erased_does_not_come_back_and_begins_above_itself() {
        let none = |_: &Rev| Attachments::new();
        let tree = RevTree::default();
        let old = json!({"_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a"]}});
        assert_eq!(replicated(&tree, &draft(old), 1_024, none), Ok(None));
        let anew = interactive(&tree, &draft(json!({"n": 1})), 1_024, none);
        let anew = anew.expect("it is new");
        assert_eq!(anew.rev.generation(), 1_025);
        let revisions = json!({"start": 1_025, "ids": [anew.rev.hash()]});
        let copied = draft(json!({"_rev": anew.rev, "_revisions": revisions, "n": 1}));
        let taken = replicated(&tree, &copied, 1_024, none).expect("it is sound");
        let taken = taken.expect("it is new");
        let mut tree = tree;
        tree.add(&taken.history, false, 1);
        // A client that tells one step only is understood once that step is here.
        let next = draft(
            json!({"_rev": "1026-c", "_revisions": {"start": 1_026, "ids": ["c", anew.rev.hash()]}}),
        );
        assert!(matches!(replicated(&tree, &next, 1_024, none), Ok(Some(_))));
    }
}
