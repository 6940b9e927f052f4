//! One file on its way in: from the form to the disk, then into the database.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use kwaainet_core::{AdmissionError, PrincipalId};
use kwaainet_store::FileRecord;

use super::{FILES_MAX, disk, full};
use crate::door::form::Form;
use crate::door::{ApiError, App, body, params};
use crate::vault::{Draft, Kept};

/// How long an upload may take in all.
const UPLOAD_MAX: Duration = Duration::from_secs(3_600);
/// How long it may wait to begin, and when to come again if that is too long.
const WAIT_MAX: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// What the rest of the form may add to the file.
const FORM_BYTES_MAX: u64 = 1 << 20;
const FIELD_BYTES_MAX: usize = 512;
const FILENAME_BYTES_MAX: usize = 255;
/// OpenAI's limits: an hour and 30 days.
const EXPIRY_SECONDS: (i64, i64) = (3_600, 2_592_000);

/// Takes a file in.
pub(super) async fn receive(
    app: &App,
    principal: &PrincipalId,
    headers: &HeaderMap,
    body: Body,
) -> Result<FileRecord, ApiError> {
    let form = Form::new(headers, body)?;
    let max = app.vault.limits().file_bytes;
    let declared = body::declared(headers).unwrap_or(0) as u64;
    if declared > max.saturating_add(FORM_BYTES_MAX) {
        return Err(body::too_large(headers, form.into_body(), too_large(max)).await);
    }
    let place = tokio::time::timeout(WAIT_MAX, app.vault.upload());
    let _place = place.await.map_err(|_| {
        let retry_after = RETRY_AFTER;
        ApiError::from(AdmissionError::Overloaded { retry_after })
    })?;
    let reading = read(app, headers, form);
    let asked = tokio::time::timeout(UPLOAD_MAX, reading).await;
    let (kept, asked) = asked.map_err(|_| body::too_slow())??;
    store(app, principal, kept, asked).await
}

/// What the form says of its file.
struct Asked {
    filename: String,
    purpose: &'static str,
    expires_s: Option<i64>,
}

/// The form's fields as they came.
#[derive(Default)]
struct Fields {
    purpose: Option<String>,
    anchor: Option<String>,
    seconds: Option<String>,
}

async fn read(app: &App, headers: &HeaderMap, mut form: Form) -> Result<(Kept, Asked), ApiError> {
    let max = app.vault.limits().file_bytes;
    let mut fields = Fields::default();
    let mut file: Option<(Draft, String)> = None;
    while let Some(head) = form.next().await? {
        let field = match head.name.as_str() {
            "file" if file.is_some() => {
                let message = "Invalid 'file': there is more than one.";
                return Err(ApiError::invalid("file", "invalid_value", message));
            }
            "file" => {
                let draft = app.vault.draft().await.map_err(|error| disk(&error))?;
                let Some(draft) = fill(draft, &mut form, max).await? else {
                    return Err(body::too_large(headers, form.into_body(), too_large(max)).await);
                };
                file = Some((draft, filename(head.filename)?));
                continue;
            }
            "purpose" => &mut fields.purpose,
            "expires_after[anchor]" => &mut fields.anchor,
            "expires_after[seconds]" => &mut fields.seconds,
            // The reader passes over what nobody knows.
            _ => continue,
        };
        let text = form.text(FIELD_BYTES_MAX).await?;
        *field = Some(text.ok_or_else(|| {
            let message = format!("Invalid '{}': it is no short text.", head.name);
            ApiError::invalid(head.name.as_str(), "invalid_value", message)
        })?);
    }
    let (draft, filename) = params::required(file, "file")?;
    let asked = Asked {
        filename,
        purpose: purpose(fields.purpose)?,
        expires_s: expiry(fields.anchor, fields.seconds)?,
    };
    let kept = draft.keep().await.map_err(|error| disk(&error))?;
    Ok((kept, asked))
}

/// Writes the part's content; none if it is too large.
async fn fill(mut draft: Draft, form: &mut Form, max: u64) -> Result<Option<Draft>, ApiError> {
    while let Some(piece) = form.piece().await? {
        if draft.bytes() + piece.len() as u64 > max {
            return Ok(None);
        }
        draft.write(&piece).await.map_err(|error| disk(&error))?;
    }
    Ok(Some(draft))
}

async fn store(
    app: &App,
    principal: &PrincipalId,
    kept: Kept,
    asked: Asked,
) -> Result<FileRecord, ApiError> {
    let now = app.clock.unix_ms();
    let file = FileRecord {
        id: kept.id.clone(),
        principal: principal.clone(),
        purpose: asked.purpose.to_owned(),
        filename: asked.filename,
        bytes: kept.bytes,
        created_at_ms: now,
        expires_at_ms: asked.expires_s.map(|seconds| now + seconds * 1_000),
    };
    let max = app.vault.limits().principal_bytes;
    if !app.store.insert_file(&file, FILES_MAX, max).await? {
        return Err(full("file", max));
    }
    kept.settled();
    Ok(file)
}

fn too_large(max: u64) -> String {
    format!("the file is larger than {max} bytes")
}

/// The last part of the name, which some clients send with folders.
fn filename(name: Option<String>) -> Result<String, ApiError> {
    let name = name.unwrap_or_default();
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if name.is_empty() || name.len() > FILENAME_BYTES_MAX || name.contains(char::is_control) {
        let message = format!(
            "Invalid 'file': it needs a file name of 1 to {FILENAME_BYTES_MAX} bytes without control \
             characters."
        );
        return Err(ApiError::invalid("file", "invalid_value", message));
    }
    Ok(name.to_owned())
}

fn purpose(given: Option<String>) -> Result<&'static str, ApiError> {
    let given = params::required(given, "purpose")?;
    let known = ["batch", "assistants", "user_data"];
    if let Some(purpose) = known.into_iter().find(|known| *known == given) {
        return Ok(purpose);
    }
    let (code, what) = match given.as_str() {
        "evals" | "fine-tune" | "vision" => (
            "unsupported_value",
            format!("this node has no use for '{given}'"),
        ),
        _ => ("invalid_value", "there is no such purpose".to_owned()),
    };
    let message =
        format!("Invalid 'purpose': {what}; it must be 'batch', 'assistants' or 'user_data'.");
    Err(ApiError::invalid("purpose", code, message))
}

fn expiry(anchor: Option<String>, seconds: Option<String>) -> Result<Option<i64>, ApiError> {
    if anchor.is_none() && seconds.is_none() {
        return Ok(None);
    }
    let seconds = params::required(seconds, "expires_after[seconds]")?;
    let seconds = seconds.parse().map_err(|_| {
        let param = "expires_after[seconds]";
        let message = format!("Invalid type for '{param}': expected an integer.");
        ApiError::invalid(param, "invalid_type", message)
    })?;
    check_expiry(
        anchor,
        Some(seconds),
        ["expires_after[anchor]", "expires_after[seconds]"],
    )
}

/// Seconds from an upload on.
pub(crate) fn check_expiry(
    anchor: Option<String>,
    seconds: Option<i64>,
    [anchor_param, seconds_param]: [&'static str; 2],
) -> Result<Option<i64>, ApiError> {
    if params::required(anchor, anchor_param)? != "created_at" {
        let message = format!("Invalid '{anchor_param}': it must be 'created_at'.");
        return Err(ApiError::invalid(anchor_param, "invalid_value", message));
    }
    let seconds = params::required(seconds, seconds_param)?;
    params::integer(Some(seconds), seconds_param, EXPIRY_SECONDS)
}
