//! Removes a file so that its bytes cannot be had back from where they lay, as far as the disk writes in place.

use std::io;
use std::path::Path;

use tokio::fs::{self, OpenOptions};
use tokio::io::AsyncWriteExt;

const PIECE: usize = 256 << 10;

/// Overwrites a file and removes it. One that is not there is no error.
///
/// # Errors
/// When the disk fails; the file may be overwritten in part then.
pub(crate) async fn shred(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path).await;
    let mut file = match file {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut left = file.metadata().await?.len();
    let zeros = vec![0; PIECE];
    while left > 0 {
        let piece = left.min(PIECE as u64);
        file.write_all(&zeros[..piece as usize]).await?;
        left -= piece;
    }
    file.sync_all().await?;
    drop(file);
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_shredded_is_gone_also_for_who_had_opened_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("file");
        let words = "Kanarienvogel".repeat(PIECE / 10);
        std::fs::write(&path, &words).expect("it is written");
        let mut open = std::fs::File::open(&path).expect("it is there");
        shred(&path).await.expect("it is shredded");
        assert!(!path.exists());
        let mut left = Vec::new();
        io::Read::read_to_end(&mut open, &mut left).expect("it is read");
        assert_eq!(left.len(), words.len());
        assert!(left.iter().all(|byte| *byte == 0));
        shred(&path).await.expect("there is nothing to do");
    }
}
