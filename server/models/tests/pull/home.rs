//! A temporary machine: a cache, a catalogue with one model, and a listener.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use kwaainet_models::{
    Cache, Catalogue, Entry, Limits, ModelFile, ModelFiles, Progress, PullError, Source,
    SourceError, Sources, pull,
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Everything that a pull touches, gone at the end.
pub(crate) struct Home {
    dir: TempDir,
    pub(crate) sources: Sources,
    pub(crate) heard: Heard,
}

impl Home {
    pub(crate) fn new() -> Self {
        // Waits are short where a test lets them run out, and generous where it must not.
        let sources = Sources {
            hub_endpoint: "http://127.0.0.1:9".to_owned(),
            limits: Limits {
                connect: Duration::from_secs(10),
                idle: Duration::from_secs(10),
                pip: Duration::from_secs(60),
                lock_wait: Duration::from_secs(60),
            },
            python: "/nonexistent/python3".into(),
            ..Sources::default()
        };
        Self {
            dir: tempfile::tempdir().expect("there is a temporary folder"),
            sources,
            heard: Heard::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("the temporary folder can be written");
        path
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::new(self.path("cache"))
    }

    pub(crate) async fn pull(&self, entry: &Entry) -> Result<ModelFiles, PullError> {
        pull(entry, &self.cache(), &self.sources, &self.heard).await
    }

    /// A model of these files: name, right content, and sources in TOML.
    pub(crate) fn model(&self, files: &[(&str, &[u8], &[String])]) -> Entry {
        let mut text = "[[model]]
            name = \"m\"
            architecture = \"llama\"
            kind = \"generate\"
            context = 64
            licence = \"MIT\"
            description = \"a test\"\n"
            .to_owned();
        for (name, content, sources) in files {
            let sum: String = Sha256::digest(content)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            text += &format!(
                "[[model.file]]\nname = \"{name}\"\nsha256 = \"{sum}\"\nbytes = {}\n",
                content.len()
            );
            for source in *sources {
                text += &format!("[[model.file.source]]\n{source}\n");
            }
        }
        let path = self.write("catalogue.toml", text.as_bytes());
        let catalogue = Catalogue::load(Some(&path)).expect("the test's catalogue is good");
        catalogue.get("m").expect("it was just written").clone()
    }

    /// The names in the model's folder, without the lock.
    pub(crate) fn in_cache(&self) -> Vec<String> {
        let found = fs::read_dir(self.path("cache/models/m"));
        let mut names: Vec<_> = found
            .into_iter()
            .flatten()
            .map(|item| item.expect("the folder can be read").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name != ".lock")
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn path_source(path: &Path) -> String {
    format!("path = '{}'", path.display())
}

/// The reasons out of a [`PullError::NoSource`].
pub(crate) fn reasons(result: Result<ModelFiles, PullError>) -> Vec<SourceError> {
    match result {
        Err(PullError::NoSource { failures, .. }) => {
            failures.into_iter().map(|(_, error)| error).collect()
        }
        other => panic!("every source should have failed: {other:?}"),
    }
}

/// What a pull said, in order; runs of `advanced` are added up.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<String>>, Mutex<u64>);

impl Heard {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no holder panics").clone()
    }

    fn say(&self, line: String) {
        let bytes = std::mem::take(&mut *self.1.lock().expect("no holder panics"));
        let mut lines = self.0.lock().expect("no holder panics");
        if bytes > 0 {
            lines.push(format!("advanced {bytes}"));
        }
        lines.push(line);
    }
}

impl Progress for Heard {
    fn waiting(&self, model: &str) {
        self.say(format!("waiting {model}"));
    }

    fn started(&self, file: &ModelFile) {
        self.say(format!("started {}", file.name()));
    }

    fn trying(&self, _: &ModelFile, source: &Source) {
        let source = source.to_string();
        let kind = source.split(' ').next().unwrap_or_default();
        self.say(format!("trying {kind}"));
    }

    fn advanced(&self, bytes: u64) {
        *self.1.lock().expect("no holder panics") += bytes;
    }

    fn source_failed(&self, _: &ModelFile, _: &Source, error: &SourceError) {
        self.say(format!("failed {error}"));
    }

    fn done(&self, file: &ModelFile) {
        self.say(format!("done {}", file.name()));
    }
}
