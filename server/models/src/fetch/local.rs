//! A file that lies on this machine already. It is copied, so that the cache stays whole when the
//! original goes or changes.

use std::io;
use std::path::Path;

use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::SourceError;
use crate::intake::{Intake, IntakeError};

const CHUNK_BYTES: usize = 256 * 1024;

pub(super) async fn fetch(path: &Path, intake: &mut Intake<'_>) -> Result<(), IntakeError> {
    let unreadable = |error: io::Error| SourceError::Unreadable(error.to_string());
    // Looked at before it is opened: opening a pipe would wait for someone to write to it.
    let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SourceError::Unreadable("it is not a file".to_owned()).into());
    }
    intake.announce(metadata.len())?;
    let mut file = File::open(path).await.map_err(unreadable)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).await.map_err(unreadable)?;
        if read == 0 {
            return Ok(());
        }
        intake.write(&chunk[..read]).await?;
    }
}
