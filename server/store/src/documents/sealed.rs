//! How what is said lies in the file: as text, or sealed as a blob. A value tells itself which of the two it is, so that
//! a database of before can be sealed bit by bit.

use kwaainet_storage::{Attachments, Place, Seal};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, TypeInfo, ValueRef};

use super::reading::Body;
use super::rows::Query;
use super::{DatabaseRecord, attachments};
use crate::StoreError;

/// A value of the column `json`.
pub(super) enum Said {
    Open(String),
    Sealed(Vec<u8>),
}

impl Said {
    /// Bytes in the file.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Open(text) => text.len(),
            Self::Sealed(bytes) => bytes.len(),
        }
    }

    pub(super) fn bind(&self, query: Query) -> Query {
        match self {
            Self::Open(text) => query.bind(text.clone()),
            Self::Sealed(bytes) => query.bind(bytes.clone()),
        }
    }
}

/// What is kept of a revision: the columns `json` and `attachments`.
pub(super) struct Kept {
    pub(super) said: Said,
    /// What hangs on it; of a sealed revision only the names of the contents, for whoever has to know which are in use.
    pub(super) attachments: Option<String>,
}

impl Kept {
    /// Of a revision that says this; sealed if there is something to seal it with.
    pub(super) fn new(
        seal: Option<&Seal>,
        place: Place<'_>,
        json: &str,
        attachments: &Attachments,
    ) -> Self {
        let listed = || serde_json::to_string(attachments).expect("texts and numbers are JSON");
        let listed = (!attachments.is_empty()).then(listed);
        let Some(seal) = seal else {
            return Self {
                said: Said::Open(json.to_owned()),
                attachments: listed,
            };
        };
        let list = listed.as_deref().unwrap_or("");
        let mut whole = Vec::with_capacity(LENGTH_BYTES + list.len() + json.len());
        whole.extend((list.len() as u32).to_be_bytes());
        whole.extend(list.as_bytes());
        whole.extend(json.as_bytes());
        let name = |digest| format!("{{\"digest\":\"{}\"}}", seal.name(digest));
        let names = attachments
            .values()
            .map(|attachment| name(&attachment.digest));
        let names = names.collect::<Vec<_>>().join(",");
        Self {
            said: Said::Sealed(seal.seal(place, &whole)),
            attachments: listed.is_some().then(|| format!("[{names}]")),
        }
    }
}

/// What a sealed revision begins with: how long the list of its attachments is.
const LENGTH_BYTES: usize = 4;

impl Body {
    /// Bytes that a sealed revision has in the file besides what it says and the list of what hangs on it.
    pub const SEALED_OVERHEAD: usize = Seal::OVERHEAD + LENGTH_BYTES;
}

/// What the row of a revision says; none if it has nothing.
pub(super) fn revision(
    row: &SqliteRow,
    db: &DatabaseRecord,
    place: Place<'_>,
) -> Result<Option<Body>, StoreError> {
    if row.try_get_raw("json")?.is_null() {
        return Ok(None);
    }
    revision_by(row, db.seal()?, place).map(Some)
}

/// The same, for a row that has something.
pub(super) fn revision_by(
    row: &SqliteRow,
    seal: Option<&Seal>,
    place: Place<'_>,
) -> Result<Body, StoreError> {
    if !is_sealed(row)? {
        return Ok(Body {
            json: row.try_get("json")?,
            attachments: attachments::read(row.try_get("attachments")?)?,
        });
    }
    let whole = opened(row, seal, place)?;
    let split = || {
        let (length, rest) = whole.split_first_chunk::<LENGTH_BYTES>()?;
        let (list, json) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let list = std::str::from_utf8(list).ok()?;
        let json = String::from_utf8(json.to_vec()).ok()?;
        Some((Some(list).filter(|list| !list.is_empty()), json))
    };
    let (list, json) = split().ok_or(StoreError::Malformed("sealed revision"))?;
    Ok(Body {
        json,
        attachments: attachments::read(list)?,
    })
}

/// What a local document says, as it is kept.
pub(super) fn kept_local(seal: Option<&Seal>, place: Place<'_>, json: &str) -> Said {
    match seal {
        Some(seal) => Said::Sealed(seal.seal(place, json.as_bytes())),
        None => Said::Open(json.to_owned()),
    }
}

/// What the row of a local document says.
pub(super) fn local(
    row: &SqliteRow,
    seal: Option<&Seal>,
    place: Place<'_>,
) -> Result<String, StoreError> {
    if !is_sealed(row)? {
        return Ok(row.try_get("json")?);
    }
    let text = String::from_utf8(opened(row, seal, place)?);
    text.map_err(|_| StoreError::Malformed("sealed local document"))
}

fn is_sealed(row: &SqliteRow) -> Result<bool, StoreError> {
    Ok(row.try_get_raw("json")?.type_info().name() == "BLOB")
}

fn opened(row: &SqliteRow, seal: Option<&Seal>, place: Place<'_>) -> Result<Vec<u8>, StoreError> {
    let seal = seal.ok_or(StoreError::Locked)?;
    let opened = seal.open(place, row.try_get("json")?);
    opened.map_err(|_| StoreError::Malformed("sealed text"))
}
