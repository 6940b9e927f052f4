//! Who may do what with which database: its owner and whom it names (`_security`), whoever was given leave for a while
//! (grants), and with a public one everybody. The one place that decides it, for both faces of storage.

use kwaainet_core::Principal;
use kwaainet_storage::{Access, DatabaseName};
use kwaainet_store::{DatabaseRecord, StoreError};

use super::{ApiError, App};

/// Why somebody may not.
pub(super) enum Denied {
    /// There is no such database for him.
    Missing,
    /// There is, and this is more than he may.
    Forbidden,
    /// He may, and what he shows does not open what is sealed in it.
    Sealed(ApiError),
    /// It cannot be known.
    Store(StoreError),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Where a name leads somebody.
pub(super) struct Led {
    pub(super) database: DatabaseRecord,
    /// What he may do there.
    access: Access,
    /// The grant that leads him there, if it is one.
    pub(super) grant: Option<String>,
}

/// The database that a name leads to for this principal, who may do that much with it as a whole. What is sealed in it
/// stays so.
pub(super) async fn database(
    app: &App,
    principal: &Principal,
    name: &str,
    needed: Access,
) -> Result<DatabaseRecord, Denied> {
    find(app, principal, name, None, needed).await
}

/// The same, opened.
pub(super) async fn open(
    app: &App,
    principal: &Principal,
    name: &str,
    needed: Access,
) -> Result<DatabaseRecord, Denied> {
    let found = find(app, principal, name, None, needed).await?;
    opened(app, principal, found).await
}

/// The same for one document in it, which somebody may have leave for alone.
pub(super) async fn open_document(
    app: &App,
    principal: &Principal,
    (name, id): (&str, &str),
    needed: Access,
) -> Result<DatabaseRecord, Denied> {
    let found = find(app, principal, name, Some(id), needed).await?;
    opened(app, principal, found).await
}

async fn opened(
    app: &App,
    principal: &Principal,
    found: DatabaseRecord,
) -> Result<DatabaseRecord, Denied> {
    let (keyring, documents) = (&app.storage.keyring, &app.storage.documents);
    let opened = keyring.open(documents, principal, found).await;
    opened.map_err(Denied::Sealed)
}

async fn find(
    app: &App,
    principal: &Principal,
    name: &str,
    document: Option<&str>,
    needed: Access,
) -> Result<DatabaseRecord, Denied> {
    let name: DatabaseName = name.parse().map_err(|_| Denied::Missing)?;
    let led = lead(app, principal, &name, document).await?;
    let led = led.filter(|led| led.grant.is_some() || led.access > Access::Nothing);
    match led {
        None => Err(Denied::Missing),
        Some(led) if led.access >= needed => Ok(led.database),
        Some(_) => Err(Denied::Forbidden),
    }
}

/// Where a name leads somebody who wants this document, or the database as a whole.
///
/// # Errors
/// When the database fails.
pub(super) async fn lead(
    app: &App,
    principal: &Principal,
    name: &DatabaseName,
    document: Option<&str>,
) -> Result<Option<Led>, StoreError> {
    let (who, documents) = (principal.id(), &app.storage.documents);
    let by_itself = |found: &DatabaseRecord| {
        let owner = found.owner.as_str();
        found.security.access(who.as_str(), owner, found.mode)
    };
    let own = documents.database(who, name).await?.map(|database| Led {
        access: by_itself(&database),
        database,
        grant: None,
    });
    if own.as_ref().is_some_and(|own| own.access >= Access::Write) {
        return Ok(own);
    }
    let now_ms = app.clock.unix_ms();
    let Some((database, grants)) = documents.granted(who, name, now_ms).await? else {
        return Ok(own);
    };
    let given = grants.iter().map(|grant| grant.access(document, now_ms));
    Ok(Some(Led {
        access: given.fold(by_itself(&database), Access::max),
        database,
        grant: grants.into_iter().next().map(|grant| grant.id),
    }))
}
