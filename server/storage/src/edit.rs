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

/// An edit by somebody who has to know what is current. `before` gives what hangs on a revision of the tree.
///
/// # Errors
/// [`Refused`] says why it is not taken.
pub fn interactive(
    tree: &RevTree,
    draft: &Draft,
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
    let generation = parent.map_or(0, Rev::generation) + 1;
    let before = parent.map(before).unwrap_or_default();
    let attachments = settle(draft, generation, &before)?;
    let rev = Rev::of_edit(parent, draft.deleted, &draft.content, &attachments);
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

/// An edit that was made elsewhere. None when it is known already. `before` gives what hangs on the nearest
/// ancestor that is here.
///
/// # Errors
/// [`Refused`] says why it is not taken.
pub fn replicated(
    tree: &RevTree,
    draft: &Draft,
    before: impl FnOnce(&Rev) -> Attachments,
) -> Result<Option<Edit>, Refused> {
    let history = match (&draft.history, &draft.rev) {
        (Some(history), _) => history.clone(),
        (None, Some(rev)) => vec![rev.clone()],
        (None, None) => return Err(Refused::NoRev),
    };
    let rev = history.first().cloned().ok_or(Refused::NoRev)?;
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
        let edit = interactive(tree, &draft, |_| Attachments::new())?;
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
            replicated(tree, &draft(document), none)
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
            replicated(tree, &draft(document), |_| Attachments::new())
        };
        for branch in 0..NODES_MAX / 1_000 {
            let edit = come(&tree, branch).expect("there is room").expect("new");
            tree.add(&edit.history, false, 1);
        }
        assert_eq!(come(&tree, 99), Err(Refused::Full));
        let leaf = tree.leaves()[0].rev.clone();
        let deletion = Draft::deletion("a".into(), Some(leaf));
        let edit = interactive(&tree, &deletion, |_| Attachments::new());
        assert!(edit.is_ok(), "what is there can be deleted");
    }
}
