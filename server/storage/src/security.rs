//! Who may do what with a database.

use serde::{Deserialize, Serialize};

use crate::Mode;

const NAMES_MAX: usize = 1_000;

/// What somebody may do, each including what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Not even know that it is there.
    Nothing,
    /// Read.
    Read,
    /// Edit documents.
    Write,
    /// Everything: let others in, purge, delete.
    Admin,
}

/// Names and roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Roles {
    /// Principals, by their ids.
    pub names: Vec<String>,
    /// Kept for clients that set them; a node gives nobody a role.
    pub roles: Vec<String>,
}

/// A database's `_security`. Unlike CouchDB's, an empty one lets nobody in but the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Who may do everything.
    pub admins: Roles,
    /// Who may read and edit documents.
    pub members: Roles,
}

impl Security {
    /// Whether its lists are within bounds.
    pub fn is_bounded(&self) -> bool {
        let lists = [&self.admins, &self.members].map(|one| [&one.names, &one.roles]);
        let is_short = |list: &Vec<String>| {
            list.len() <= NAMES_MAX && list.iter().all(|name| name.len() <= 256)
        };
        lists.into_iter().flatten().all(is_short)
    }

    /// What a principal may do with a database of this owner and mode.
    pub fn access(&self, principal: &str, owner: &str, mode: Mode) -> Access {
        let has = |roles: &Roles| roles.names.iter().any(|name| name == principal);
        if principal == owner || has(&self.admins) {
            Access::Admin
        } else if has(&self.members) {
            Access::Write
        } else if mode == Mode::Public {
            Access::Read
        } else {
            Access::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_comes_in_who_was_not_let_in() {
        let security: Security = serde_json::from_str(
            r#"{"admins": {"names": ["key:a"]}, "members": {"names": ["key:m"], "roles": ["r"]}}"#,
        )
        .expect("it is JSON");
        let may = |who, mode| security.access(who, "owner", mode);
        assert_eq!(may("owner", Mode::Private), Access::Admin);
        assert_eq!(may("key:a", Mode::E2ee), Access::Admin);
        assert_eq!(may("key:m", Mode::Public), Access::Write);
        assert_eq!(may("key:x", Mode::Private), Access::Nothing);
        assert_eq!(may("key:x", Mode::E2ee), Access::Nothing);
        assert_eq!(may("key:x", Mode::Public), Access::Read);
        assert_eq!(may("r", Mode::Private), Access::Nothing);
    }
}
