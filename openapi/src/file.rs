use serde::Serialize;
use utoipa::ToSchema;

use crate::{ExpiryAnchor, FilePurpose};

/// `POST /v1/files`: a form with a file.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a form is read part by part; this describes it")]
pub struct FileUpload {
    /// The file's bytes, with its name.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// What it is for: `batch`, `assistants` or `user_data`.
    #[schema(example = "batch", value_type = FilePurpose)]
    purpose: String,
    /// `created_at`, if the file is to be deleted some day.
    #[schema(rename = "expires_after[anchor]", example = "created_at")]
    #[schema(value_type = Option<ExpiryAnchor>)]
    expires_after_anchor: Option<String>,
    /// When: seconds from its upload, from 3,600 (an hour) to 2,592,000 (30 days).
    #[schema(rename = "expires_after[seconds]", minimum = 3600, maximum = 2592000)]
    expires_after_seconds: Option<i64>,
}

/// A file on this node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FileObject {
    /// Names it in other requests.
    pub id: String,
    /// `file`.
    pub object: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Seconds since 1970.
    pub created_at: i64,
    /// When it is deleted; never, if null.
    pub expires_at: Option<i64>,
    /// What its owner calls it.
    pub filename: String,
    /// `batch`, `batch_output`, `assistants` or `user_data`.
    pub purpose: String,
    /// Always `processed`: a file is there in whole or not at all.
    pub status: &'static str,
    /// Always null.
    pub status_details: Option<String>,
}

/// A page of files.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FileList {
    /// `list`.
    pub object: &'static str,
    /// The files.
    pub data: Vec<FileObject>,
    /// The first one's id.
    pub first_id: Option<String>,
    /// The last one's id; give it as `after` to go on.
    pub last_id: Option<String>,
    /// Whether there is more.
    pub has_more: bool,
}

/// Something that was deleted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// What it was called.
    pub id: String,
    /// What it was.
    pub object: &'static str,
    /// Always true.
    pub deleted: bool,
}
