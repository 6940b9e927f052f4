use data_encoding::HEXLOWER;

use super::text::render;
use super::*;
use crate::seal::tests::CHEAP;

fn in_folder() -> (tempfile::TempDir, KeyFile) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = KeyFile::new(dir.path().join("node.key"));
    (dir, file)
}

fn with_bytes(bytes: &[u8]) -> (tempfile::TempDir, KeyFile) {
    let (dir, file) = in_folder();
    fs::write(file.path(), bytes).expect("written");
    set_mode(file.path(), 0o600);
    (dir, file)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) {}

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery")
}

#[test]
fn a_key_is_made_once_and_found_again() {
    let (dir, file) = in_folder();
    assert_eq!(file.facts().expect("there is nothing to read"), None);
    let made = file.load_or_create(None).expect("it is made");
    let found = file.load_or_create(None).expect("it is there");
    assert_eq!(made.seed(), found.seed());
    let facts = KeyFileFacts {
        node: made.id(),
        sealed: false,
    };
    assert_eq!(file.facts().expect("it is there"), Some(facts));
    assert_eq!(names(&dir), ["node.key", "node.key.lock"]);
}

fn names(dir: &tempfile::TempDir) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(dir.path()).expect("it can be listed");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("it can be read").file_name();
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn an_exported_key_leaves_nothing_beside_it() {
    let (dir, file) = in_folder();
    let made = file.create(&NodeKey::generate(), None);
    made.expect("it is written");
    assert!(file.create(&NodeKey::generate(), None).is_err());
    assert_eq!(names(&dir), ["node.key"]);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, file) = in_folder();
    file.load_or_create(None).expect("it is made");
    let facts = fs::metadata(file.path()).expect("it is there");
    assert_eq!(facts.permissions().mode() & 0o7777, 0o600);
    for mode in [0o640, 0o604, 0o660, 0o601] {
        set_mode(file.path(), mode);
        let error = file.load(None).expect_err("others may read it");
        assert!(matches!(error, KeyFileError::Mode { .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    set_mode(file.path(), 0o400);
    file.load(None).expect("its owner may read it");
}

#[test]
fn nothing_is_overwritten() {
    let (_dir, file) = in_folder();
    let first = file.load_or_create(None).expect("it is made");
    let error = file.create(&NodeKey::generate(), None);
    let error = error.expect_err("it is there");
    assert!(matches!(error, KeyFileError::Exists { .. }), "{error}");
    assert_eq!(file.load(None).expect("it is there").id(), first.id());
}

#[test]
fn many_that_begin_at_once_agree_on_one_key() {
    let (_dir, file) = in_folder();
    let load = || file.load_or_create(None).expect("one is made").id();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
        let ids = threads.into_iter().map(|thread| thread.join());
        ids.map(|id| id.expect("no panic")).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_sealed_key_needs_its_passphrase() {
    let (_dir, file) = in_folder();
    let passphrase = passphrase();
    let key = file.load_or_create(Some(&passphrase)).expect("it is made");
    let facts = KeyFileFacts {
        node: key.id(),
        sealed: true,
    };
    assert_eq!(file.facts().expect("it is there"), Some(facts));
    let found = file.load(Some(&passphrase)).expect("it opens");
    assert_eq!(found.seed(), key.seed());
    let error = file.load(None).expect_err("it is sealed");
    assert!(matches!(error, KeyFileError::Sealed { .. }), "{error}");
    let error = file.load(Some(&Passphrase::new("another")));
    let error = error.expect_err("it is another passphrase");
    assert!(matches!(error, KeyFileError::WrongPassphrase { .. }));
    let text = fs::read_to_string(file.path()).expect("it is text");
    assert!(!text.contains(&HEXLOWER.encode(&*key.seed())));
}

#[test]
fn nothing_is_sealed_with_a_short_passphrase() {
    let (_dir, file) = in_folder();
    let error = file.load_or_create(Some(&Passphrase::new("1234567")));
    let error = error.expect_err("it is short");
    assert!(matches!(error, KeyFileError::Weak), "{error}");
    assert_eq!(file.facts().expect("there is nothing to read"), None);
}

#[test]
fn a_cut_or_changed_file_is_refused() {
    let key = NodeKey::generate();
    let passphrase = passphrase();
    for sealed in [None, Some(&passphrase)] {
        let text = render(&key, sealed, CHEAP);
        for at in 0..text.len() {
            let (_dir, file) = with_bytes(&text.as_bytes()[..at]);
            let error = file.load(sealed).expect_err("it is cut");
            assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
            let mut changed = text.as_bytes().to_vec();
            changed[at] ^= 1;
            let (_dir, file) = with_bytes(&changed);
            assert!(file.load(sealed).is_err(), "byte {at}");
        }
        let longer = format!("{}\n", *text);
        let (_dir, file) = with_bytes(longer.as_bytes());
        assert!(file.load(sealed).is_err());
    }
}

#[test]
fn foreign_bytes_are_told_as_such() {
    for (bytes, reason) in [
        (&b""[..], "does not begin"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", "does not begin"),
        (&[0xFF; 64], "no text"),
        (&[b'a'; 5_000], "too long"),
        (b"kwaainet-node-key 1\nnode x\n", "four lines"),
    ] {
        let (_dir, file) = with_bytes(bytes);
        let error = file.load(None).expect_err("it is no key");
        assert!(matches!(error, KeyFileError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let (_dir, file) = with_bytes(b"kwaainet-node-key 2\nnode x\n");
    let error = file.load(None).expect_err("it is newer");
    assert!(matches!(error, KeyFileError::Newer { .. }), "{error}");
}

#[test]
fn a_foreign_file_may_be_readable_by_all() {
    let (_dir, file) = in_folder();
    let passphrase = passphrase();
    let key = NodeKey::generate();
    let text = render(&key, Some(&passphrase), CHEAP);
    file.write(&text).expect("written");
    set_mode(file.path(), 0o644);
    let loaded = file.load_foreign(Some(&passphrase)).expect("it opens");
    assert_eq!(loaded.id(), key.id());
}
