//! Leave that an owner gives somebody for a while and for a purpose, in place of making him a member.

use std::collections::BTreeSet;

use crate::Access;

/// What somebody was given leave to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Names it.
    pub id: String,
    /// Who: the id of a principal.
    pub grantee: String,
    /// [`Access::Read`] or [`Access::Write`].
    pub access: Access,
    /// What for, in the owner's words.
    pub purpose: String,
    /// With these documents only; none for all.
    pub documents: Option<BTreeSet<String>>,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// From when on it is nothing: milliseconds since 1970.
    pub expires_at_ms: i64,
}

impl Grant {
    /// What it lets its holder do now, with one document or with the database as a whole. Who may see some documents
    /// sees no list of them.
    pub fn access(&self, document: Option<&str>, now_ms: i64) -> Access {
        let reaches = match (&self.documents, document) {
            (None, _) => true,
            (Some(ids), Some(document)) => ids.contains(document),
            (Some(_), None) => false,
        };
        if reaches && now_ms < self.expires_at_ms {
            self.access
        } else {
            Access::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leave_ends_and_reaches_no_further_than_it_says() {
        let mut grant = Grant {
            id: "g".into(),
            grantee: "key:x".into(),
            access: Access::Write,
            purpose: "tax".into(),
            documents: None,
            created_at_ms: 0,
            expires_at_ms: 10,
        };
        assert_eq!(grant.access(None, 9), Access::Write);
        assert_eq!(grant.access(Some("a"), 9), Access::Write);
        assert_eq!(grant.access(None, 10), Access::Nothing);
        grant.documents = Some(["a".to_owned()].into());
        assert_eq!(grant.access(None, 9), Access::Nothing);
        assert_eq!(grant.access(Some("a"), 9), Access::Write);
        assert_eq!(grant.access(Some("b"), 9), Access::Nothing);
    }
}
