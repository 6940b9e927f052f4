//! What a node needs of its machine: its folders, its database, its key, its ports, its models. Nothing is made that
//! is not there yet.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kwaainet_core::{Clock, SystemClock};
use kwaainet_identity::{KeyFileError, Passphrase};
use kwaainet_iroh::Finding;
use kwaainet_store::Store;

use super::multicast;
use crate::config::{Config, Environment};
use crate::identity;
use crate::library::{NodeLibrary, Wanted};
use crate::wiring;

/// With less room on a disk, a model or the database may not fit,
const ROOM_NOTE: u64 = 2 << 30;
/// and with less than this nothing does.
const ROOM_BAD: u64 = 128 << 20;
/// A larger database is not read as a whole.
const READ_MAX: u64 = 256 << 20;
/// A file that is newer than now by more shows that the clock went back.
const CLOCK_SLACK: Duration = Duration::from_secs(120);

/// The machine, for a node of this configuration.
pub(crate) struct Machine<'a> {
    pub(crate) config: &'a Config,
    pub(crate) environment: &'a Environment,
    /// Whether a node runs with this data directory.
    pub(crate) running: bool,
}

impl Machine<'_> {
    /// Everything that can be seen without the network.
    pub(crate) async fn findings(&self) -> Vec<Finding> {
        let config = self.config;
        let mut findings = vec![folder("data", &config.data_dir)];
        // Before the database is opened, which may change its file.
        findings.extend(self.clock());
        if config.database().exists() {
            findings.extend(self.database().await);
        }
        findings.push(self.key());
        if !self.running {
            findings.push(self.port());
        }
        findings.extend(self.models());
        findings.push(room("data", &config.data_dir));
        findings.push(room("models", &config.cache_dir));
        if config.federation.enabled && config.federation.lan {
            findings.push(multicast_works());
        }
        findings
    }

    async fn database(&self) -> Vec<Finding> {
        const ABOUT: &str = "database";
        let path = self.config.database();
        let store = match Store::open(&path).await {
            Ok(store) => store,
            Err(error) => return vec![Finding::bad(ABOUT, format!("{error}."))],
        };
        let mut findings = vec![match store.check_writable().await {
            Ok(()) => Finding::good(ABOUT, format!("{} can be written.", path.display())),
            Err(error) => Finding::bad(
                ABOUT,
                format!("{} cannot be written: {error}.", path.display()),
            )
            .advise("See that the disk has room and that the file is yours."),
        }];
        let length = path.metadata().map_or(0, |facts| facts.len());
        if length <= READ_MAX {
            let complaint = match store.complaint().await {
                Ok(complaint) => complaint,
                Err(error) => Some(error.to_string()),
            };
            findings.extend(complaint.map(|complaint| {
                Finding::bad(
                    ABOUT,
                    format!("{} is damaged: {complaint}.", path.display()),
                )
                .advise("Stop the node, keep a copy of the file, and restore one from before.")
            }));
        }
        if !self.config.listen.ip().is_loopback() {
            findings.extend(open_door(&store, self.config).await);
        }
        store.close().await;
        findings
    }

    fn key(&self) -> Finding {
        const ABOUT: &str = "key";
        let file = identity::key_file(self.config);
        let path = file.path().display();
        let is_needed = self.config.federation.enabled;
        let facts = match file.facts() {
            Ok(Some(facts)) => facts,
            Ok(None) => {
                let says = format!("There is no key yet; a node with the federation makes {path}.");
                return Finding::good(ABOUT, says);
            }
            Err(error) => return Finding::bad(ABOUT, format!("{error}.")),
        };
        let passphrase = self.passphrase();
        let opened = passphrase.and_then(|passphrase| {
            let opened = file.load(passphrase.as_ref());
            opened.map_err(anyhow::Error::from)
        });
        let sealed = if facts.sealed { ", sealed" } else { "" };
        match opened {
            Ok(key) => Finding::good(
                ABOUT,
                format!(
                    "{path} is for its owner only{sealed}; this node is {}.",
                    key.id()
                ),
            ),
            Err(error) => {
                let is_sealed = matches!(
                    error.downcast_ref::<KeyFileError>(),
                    Some(KeyFileError::Sealed { .. })
                );
                let variable = identity::PASSPHRASE_VARIABLE;
                match is_sealed {
                    true if !is_needed || self.running => Finding::note(ABOUT, format!("{error}."))
                        .advise(format!("Set {variable} to have it looked at.")),
                    true => Finding::bad(ABOUT, format!("{error}."))
                        .advise(format!("Set {variable}, or federation.passphrase_file.")),
                    false => Finding::bad(ABOUT, format!("{error}.")),
                }
            }
        }
    }

    /// The passphrase of the node's key, if there is one to be had.
    pub(super) fn passphrase(&self) -> anyhow::Result<Option<Passphrase>> {
        let file = &self.config.federation.passphrase_file;
        let file = (!file.as_os_str().is_empty()).then_some(file.as_path());
        Ok(identity::passphrase(self.environment, file)?)
    }

    /// Tickets and receipts say when, and starts are told apart by it.
    fn clock(&self) -> Option<Finding> {
        let changed = self.config.database().metadata().ok()?.modified().ok()?;
        let ahead = changed.duration_since(now()).unwrap_or_default();
        Some(if ahead <= CLOCK_SLACK {
            Finding::good(
                "clock",
                "The clock did not go back since the node last ran.",
            )
        } else {
            let hours = ahead.as_secs_f64() / 3_600.0;
            let says = format!("The clock is {hours:.1} h behind the node's own database.");
            Finding::note("clock", says).advise("Set the time of this machine.")
        })
    }

    /// Whether the HTTP door could listen.
    fn port(&self) -> Finding {
        let listen = self.config.listen;
        match TcpListener::bind(listen) {
            Ok(_) => Finding::good("door", format!("{listen} is free for the API.")),
            Err(error) => {
                let finding = Finding::bad("door", format!("Cannot listen on {listen}: {error}."));
                finding.advise(match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "Another program listens there: choose another with --listen."
                    }
                    _ => "Choose an address of this machine, and a port over 1023, with --listen.",
                })
            }
        }
    }

    fn models(&self) -> Vec<Finding> {
        const ABOUT: &str = "model";
        let library = wiring::catalogue(self.config).and_then(|catalogue| {
            let mut library = NodeLibrary::new(self.config, catalogue);
            let wanted = library.want(&self.config.models)?;
            Ok((library, wanted))
        });
        let (library, wanted) = match library {
            Ok(found) => found,
            Err(error) => return vec![Finding::bad(ABOUT, format!("{error}."))],
        };
        let finding = |wanted: &Wanted| {
            let entry = match wanted {
                Wanted::File(id) => {
                    return Finding::good(ABOUT, format!("The file of {id} is here."));
                }
                Wanted::Entry(id) => library.catalogue.get(id.as_str()),
            };
            let id = wanted.id();
            match entry.and_then(|entry| library.cache.find(entry)) {
                Some(_) => Finding::good(ABOUT, format!("{id} is here.")),
                None => Finding::note(
                    ABOUT,
                    format!("{id} is not here yet; the node fetches it when it starts."),
                )
                .advise(format!("'kwaainet pull {id}' fetches it now.")),
            }
        };
        wanted.iter().map(finding).collect()
    }
}

fn now() -> SystemTime {
    let now = u64::try_from(SystemClock::default().unix_ms()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_millis(now)
}

/// Whether it belongs to its owner and can be written.
fn folder(what: &str, path: &Path) -> Finding {
    const ABOUT: &str = "folder";
    let shown = path.display();
    let facts = match path.metadata() {
        Ok(facts) if facts.is_dir() => facts,
        Ok(_) => return Finding::bad(ABOUT, format!("The {what} directory {shown} is a file.")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let says = format!("The {what} directory {shown} is not there yet; the node makes it.");
            return Finding::good(ABOUT, says);
        }
        Err(error) => {
            let says = format!("The {what} directory {shown} cannot be read: {error}.");
            return Finding::bad(ABOUT, says);
        }
    };
    let writable = rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
    if let Err(error) = writable {
        let says = format!("The {what} directory {shown} cannot be written: {error}.");
        return Finding::bad(ABOUT, says).advise("It has to belong to whoever runs the node.");
    }
    let mode = std::os::unix::fs::PermissionsExt::mode(&facts.permissions()) & 0o777;
    if mode & 0o022 != 0 {
        let says =
            format!("The {what} directory {shown} can be written by others (mode {mode:04o}).");
        return Finding::bad(ABOUT, says).advise(format!("Run 'chmod 700 {shown}'."));
    }
    Finding::good(
        ABOUT,
        format!("The {what} directory {shown} can be written."),
    )
}

/// Whether its disk has room; of a folder that is not there, the next above it that is.
fn room(what: &str, path: &Path) -> Finding {
    const ABOUT: &str = "disk";
    let Some(there) = path.ancestors().find(|path| path.is_dir()) else {
        return Finding::note(ABOUT, format!("Of {} no part is there.", path.display()));
    };
    let facts = match rustix::fs::statvfs(there) {
        Ok(facts) => facts,
        Err(error) => {
            let says = format!(
                "The disk of {} does not say how much room it has: {error}.",
                path.display()
            );
            return Finding::note(ABOUT, says);
        }
    };
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    let says = format!(
        "{:.1} GiB are free for the {what} in {}.",
        free as f64 / f64::from(1 << 30),
        path.display()
    );
    match free {
        0..ROOM_BAD => Finding::bad(ABOUT, says).advise("Make room, or choose another folder."),
        ROOM_BAD..ROOM_NOTE => Finding::note(ABOUT, says).advise("Larger models do not fit."),
        _ => Finding::good(ABOUT, says),
    }
}

async fn open_door(store: &Store, config: &Config) -> Option<Finding> {
    let now = SystemClock::default().unix_ms();
    let keys = store.keys().await.ok()?;
    let listen = config.listen;
    (!keys.iter().any(|key| key.is_active(now))).then(|| {
        let says =
            format!("{listen} can be reached from other machines, and there is no valid API key.");
        Finding::bad("door", says)
            .advise("Make one with 'kwaainet keys create', or listen on 127.0.0.1.")
    })
}

fn multicast_works() -> Finding {
    match multicast::check() {
        Ok(()) => Finding::good("multicast", "This machine has multicast."),
        Err(error) => {
            let says = format!(
                "Multicast does not work here ({error}): members are not found on the local network."
            );
            Finding::note("multicast", says)
                .advise("Connect a network with multicast, or go by tickets and set federation.lan = false.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_identity::{KeyFile, NodeKey};
    use kwaainet_iroh::Grade;
    use std::fs::{File, Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    fn config(dir: &Path) -> Config {
        let mut config = Config {
            data_dir: dir.join("data"),
            cache_dir: dir.join("cache"),
            listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        config.federation.enabled = true;
        config
    }

    async fn look(config: &Config) -> Vec<Finding> {
        let environment = Environment::default();
        let machine = Machine {
            config,
            environment: &environment,
            running: false,
        };
        machine.findings().await
    }

    fn bad(findings: &[Finding]) -> Vec<&'static str> {
        let bad = findings.iter().filter(|it| it.grade == Grade::Bad);
        bad.map(|it| it.about).collect()
    }

    #[tokio::test]
    async fn a_new_machine_has_nothing_broken_and_nothing_is_made() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let found = look(&config(dir.path())).await;
        assert_eq!(bad(&found), Vec::<&str>::new(), "{found:#?}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 0);
        let fetched = found.iter().find(|it| it.about == "model");
        assert_eq!(fetched.expect("one").grade, Grade::Note, "not pulled yet");
    }

    #[tokio::test]
    async fn what_is_broken_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(dir.path());
        std::fs::create_dir(&config.data_dir).expect("made");
        set_permissions(&config.data_dir, Permissions::from_mode(0o700)).expect("set");
        let store = Store::open(&config.database()).await.expect("it opens");
        store.close().await;
        let key = KeyFile::new(config.data_dir.join("node.key"));
        key.create(&NodeKey::generate(), None).expect("written");
        assert_eq!(bad(&look(&config).await), Vec::<&str>::new());

        // One after the other, and each stays.
        set_permissions(&config.data_dir, Permissions::from_mode(0o777)).expect("set");
        assert_eq!(bad(&look(&config).await), ["folder"]);
        set_permissions(key.path(), Permissions::from_mode(0o644)).expect("set");
        let found = look(&config).await;
        assert_eq!(bad(&found), ["folder", "key"]);
        let says = found.iter().find(|it| it.about == "key").expect("one");
        assert!(says.says.contains("chmod 600"), "{}", says.says);

        let later = now() + Duration::from_secs(7_200);
        let database = File::options().append(true).open(config.database());
        database.expect("opened").set_modified(later).expect("set");
        let found = look(&config).await;
        let clock = found.iter().find(|it| it.about == "clock");
        assert_eq!(clock.expect("one").grade, Grade::Note);

        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        config.listen = taken.local_addr().expect("its address");
        config.models = vec!["no-such-model".into()];
        let found = look(&config).await;
        for about in ["door", "model"] {
            assert!(bad(&found).contains(&about), "{found:#?}");
        }
        std::fs::write(config.database(), "no database at all").expect("written");
        assert!(bad(&look(&config).await).contains(&"database"));
    }

    #[tokio::test]
    async fn a_door_to_the_world_without_a_key_is_broken() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("node.db")).await;
        let store = store.expect("it opens");
        let found = open_door(&store, &config(dir.path())).await;
        assert_eq!(found.map(|it| it.grade), Some(Grade::Bad));
        store.close().await;
    }
}
