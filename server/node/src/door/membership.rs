//! Who may do what with which database: its owner and whom it names (`_security`), whoever was given leave for a while
//! (grants), and with a public one everybody. The one place that decides it, for both faces of storage.

use kwaainet_core::Principal;
use kwaainet_storage::{Access, DatabaseName};
use kwaainet_store::{DatabaseRecord, StoreError};

use super::App;

/// Why somebody may not.
pub(super) enum Denied {
    /// There is no such database for him.
    Missing,
    /// There is, and this is more than he may.
    Forbidden,
    /// It cannot be known.
    Store(StoreError),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The database that a name leads to for this principal, who may do that much with it as a whole.
pub(super) async fn database(
    app: &App,
    principal: &Principal,
    name: &str,
    needed: Access,
) -> Result<DatabaseRecord, Denied> {
    find(app, principal, name, None, needed).await
}

/// The same for one document in it.
pub(super) async fn document(
    app: &App,
    principal: &Principal,
    (name, id): (&str, &str),
    needed: Access,
) -> Result<DatabaseRecord, Denied> {
    find(app, principal, name, Some(id), needed).await
}

async fn find(
    app: &App,
    principal: &Principal,
    name: &str,
    document: Option<&str>,
    needed: Access,
) -> Result<DatabaseRecord, Denied> {
    let name: DatabaseName = name.parse().map_err(|_| Denied::Missing)?;
    let who = principal.id();
    let by_itself = |found: &DatabaseRecord| {
        let owner = found.owner.as_str();
        found.security.access(who.as_str(), owner, found.mode)
    };
    let documents = &app.storage.documents;
    let own = documents.database(who, &name).await?;
    let own = own.map(|found| (by_itself(&found), found));
    if let Some((access, found)) = own.as_ref()
        && *access >= Access::Write
    {
        return enough(*access, found.clone(), needed);
    }
    let now_ms = app.clock.unix_ms();
    let (access, found) = match documents.granted(who, &name, now_ms).await? {
        Some((found, grants)) => {
            let given = grants.iter().map(|grant| grant.access(document, now_ms));
            (given.fold(by_itself(&found), Access::max), found)
        }
        None => own
            .filter(|(access, _)| *access > Access::Nothing)
            .ok_or(Denied::Missing)?,
    };
    enough(access, found, needed)
}

fn enough(access: Access, found: DatabaseRecord, needed: Access) -> Result<DatabaseRecord, Denied> {
    if access >= needed {
        Ok(found)
    } else {
        Err(Denied::Forbidden)
    }
}
