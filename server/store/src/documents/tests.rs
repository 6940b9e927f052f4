mod at_rest;
mod replicas;

use std::collections::BTreeMap;

use kwaainet_core::PrincipalId;
use kwaainet_storage::{
    DataKey, Digest, Draft, Limits, Mode, Refused, Rev, Security, SharingKey, wrap_key,
};
use serde_json::{Value, json};

use super::*;
use crate::documents::group::WriteError;

const LIMITS: Limits = Limits {
    document_bytes: 1 << 20,
    attachment_bytes: 1 << 20,
    attachments: 10,
};
const QUOTA: u64 = 1 << 30;
const NONE: [String; 0] = [];
/// Bytes that a sealed revision has besides what it says.
const OVERHEAD: i64 = Draft::OVERHEAD as i64 + Body::SEALED_OVERHEAD as i64;

struct Open {
    store: DocumentStore,
    writer: tokio::task::JoinHandle<()>,
    dir: tempfile::TempDir,
}

impl Open {
    async fn new() -> Self {
        Self::on(tempfile::tempdir().expect("a temporary folder")).await
    }

    #[expect(clippy::disallowed_methods, reason = "the handle is awaited")]
    async fn on(dir: tempfile::TempDir) -> Self {
        let opened = DocumentStore::open(&dir.path().join("storage.db")).await;
        let (store, group) = opened.expect("it opens");
        let writer = tokio::spawn(group.run(|error| panic!("{error}")));
        Self { store, writer, dir }
    }

    async fn close(self) -> tempfile::TempDir {
        drop(self.store);
        self.writer.await.expect("it ends");
        self.dir
    }

    /// A new database, opened. A private one is sealed.
    async fn database(&self, owner: &str, name: &str, mode: Mode) -> DatabaseRecord {
        let key = DataKey::generate();
        let wrap = (mode == Mode::Private).then(|| wrap(&key, owner));
        let mut made = self.made(owner, name, mode, wrap).await;
        made.open(key);
        made
    }

    async fn made(
        &self,
        owner: &str,
        name: &str,
        mode: Mode,
        wrap: Option<Wrap>,
    ) -> DatabaseRecord {
        let new = NewDatabase {
            owner: owner.into(),
            name: name.parse().expect("it is a name"),
            mode,
            created_at_ms: 1,
            wrap,
        };
        assert!(self.store.create_database(&new).await.expect("it answers"));
        self.find(owner, name).await.expect("it is there")
    }

    async fn find(&self, principal: &str, name: &str) -> Option<DatabaseRecord> {
        let name = name.parse().expect("it is a name");
        let principal = PrincipalId::new(principal);
        let found = self.store.database(&principal, &name).await;
        found.expect("it answers")
    }

    async fn write(&self, db: &DatabaseRecord, documents: Value) -> Written {
        let drafts = drafts(documents);
        let written = self.store.write(db, drafts, false, QUOTA).await;
        written.expect("it is written")
    }

    /// The files in which a word is found.
    fn files_with(&self, word: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).expect("it is there");
        let paths = entries.map(|entry| entry.expect("it can be read").path());
        let found = paths.filter(|path| {
            let bytes = std::fs::read(path).expect("it can be read");
            bytes
                .windows(word.len())
                .any(|window| window == word.as_bytes())
        });
        found.map(|path| path.display().to_string()).collect()
    }

    /// Writes one document and gives its revision.
    async fn put(&self, db: &DatabaseRecord, document: Value) -> Rev {
        let written = self.write(db, json!([document])).await.remove(0);
        written.expect("it is taken").expect("it is new").rev
    }
}

/// The key as it is encrypted for somebody.
fn wrap(key: &DataKey, recipient: &str) -> Wrap {
    let public = SharingKey::of(&[7; 32]).public();
    Wrap {
        recipient: recipient.to_owned(),
        wrapped: wrap_key(key, &public, recipient).expect("it is a key"),
    }
}

fn drafts(documents: Value) -> Vec<Draft> {
    let documents = documents.as_array().expect("an array").clone();
    let parse = |document| Draft::parse(document, &LIMITS).expect("it is sound");
    documents.into_iter().map(parse).collect()
}

#[tokio::test]
async fn names_lead_to_ones_own_databases_first() {
    let open = Open::new().await;
    let ada = open.database("ada", "notes", Mode::Private).await;
    assert!(open.find("bob", "notes").await.is_none());
    let security = json!({"members": {"names": ["bob"]}});
    let security: Security = serde_json::from_value(security).expect("it is sound");
    assert!(
        open.store
            .secure(ada.key, &security, None)
            .await
            .expect("it answers")
    );
    assert_eq!(
        open.find("bob", "notes").await.expect("shared").key,
        ada.key
    );
    let bob = open.database("bob", "notes", Mode::Private).await;
    assert_eq!(
        open.find("bob", "notes").await.expect("his own").key,
        bob.key
    );
    let listed = open
        .store
        .databases(&"bob".into())
        .await
        .expect("it answers");
    assert_eq!(listed.len(), 2);
    let again = NewDatabase {
        owner: "bob".into(),
        name: "notes".parse().expect("a name"),
        mode: Mode::Public,
        created_at_ms: 2,
        wrap: None,
    };
    assert!(
        !open
            .store
            .create_database(&again)
            .await
            .expect("it answers")
    );
    open.database("bob", "open", Mode::Public).await;
    assert!(open.find("carl", "open").await.is_some());
}

#[tokio::test]
async fn what_is_refused_uses_up_no_number_and_there_are_only_so_many() {
    let open = Open::new().await;
    let first = open.database("ada", "notes", Mode::Private).await;
    let make = async |name: &str| {
        let new = NewDatabase {
            owner: "ada".into(),
            name: name.parse().expect("it is a name"),
            mode: Mode::Private,
            created_at_ms: 1,
            wrap: None,
        };
        let made = open.store.create_database(&new).await;
        made.expect("it answers")
    };
    for _ in 0..3 {
        assert!(!make("notes").await);
    }
    let second = open.database("ada", "more", Mode::Private).await;
    assert_eq!(second.key, first.key + 1);

    let late = "UPDATE sqlite_sequence SET seq = ? WHERE name = 'databases'";
    let late = sqlx::query(late).bind((1_i64 << 23) - 3);
    late.execute(&open.store.writer).await.expect("it is set");
    let last = open.database("ada", "last", Mode::Private).await;
    assert!(!make("late").await, "its bodies would be another's");
    let written = open.write(&last, json!([{"_id": "a", "n": 1}])).await;
    assert!(written[0].is_ok());
    let gone = open.store.delete_database(last.key).await;
    assert!(gone.expect("it answers"));
    let bodies = "SELECT COUNT(*) FROM bodies";
    let left: i64 = sqlx::query_scalar(bodies)
        .fetch_one(&open.store.readers)
        .await
        .expect("it answers");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn edits_conflict_and_replicated_ones_do_not() {
    let open = Open::new().await;
    let db = &open.database("ada", "notes", Mode::Private).await;
    let written = open
        .write(db, json!([{"_id": "a", "n": 1}, {"_id": "a", "n": 2}]))
        .await;
    let first = written[0].clone().expect("taken").expect("new").rev;
    assert_eq!(
        written[1],
        Err(Refused::Conflict),
        "within one request, too"
    );
    let second = open
        .put(db, json!({"_id": "a", "_rev": first, "n": 3}))
        .await;
    assert_eq!(second.generation(), 2);
    let replicated = json!([{"_id": "a", "_rev": "2-ffff", "n": 9,
        "_revisions": {"start": 2, "ids": ["ffff", first.hash()]}}]);
    for expected in [true, false] {
        let written = open
            .store
            .write(db, drafts(replicated.clone()), true, QUOTA)
            .await;
        let written = written.expect("it is written").remove(0);
        assert_eq!(written.expect("taken").is_some(), expected);
    }
    let row = open
        .store
        .document(db, "a")
        .await
        .expect("it answers")
        .expect("there");
    assert_eq!(row.tree.leaves().len(), 2);
    assert_eq!(row.tree.winner().expect("one").rev.to_string(), "2-ffff");
    assert_eq!(row.body.expect("it says something").json, r#"{"n":9}"#);
    let record = open.find("ada", "notes").await.expect("there");
    assert_eq!((record.docs, record.deleted_docs), (1, 0));
}

#[tokio::test]
async fn no_reader_of_changes_misses_one_while_many_write() {
    let open = Open::new().await;
    let db = &open.database("ada", "notes", Mode::Private).await;
    let reading = async {
        let mut feed = open.store.feed(db.key);
        let (mut since, mut seen) = (0, Vec::new());
        while seen.len() < 200 {
            let rows = open.store.changes(db, since, i64::MAX, 7, false).await;
            let rows = rows.expect("it answers");
            if rows.is_empty() {
                feed.changed().await.expect("the database is there");
            }
            for row in rows {
                assert!(row.seq > since);
                since = row.seq;
                seen.push(row.id);
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 200, "each once");
    };
    let writing = async {
        let writes = (0..200).map(|n| open.put(db, json!({"_id": format!("d{n}")})));
        let mut writes: Vec<_> = writes.map(Box::pin).collect();
        std::future::poll_fn(|context| {
            writes.retain_mut(|write| write.as_mut().poll(context).is_pending());
            if writes.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    };
    let both = async { tokio::join!(reading, writing) };
    let ended = tokio::time::timeout(std::time::Duration::from_secs(30), both).await;
    ended.expect("it ends");
    let record = open.find("ada", "notes").await.expect("there");
    assert_eq!((record.docs, record.update_seq), (200, 200));
}

#[tokio::test]
async fn attachments_are_kept_once_and_read_in_ranges() {
    let open = Open::new().await;
    let db = &open.database("ada", "notes", Mode::Private).await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let attachment = json!({"data": data_encoding_base64(&bytes), "content_type": "a/b"});
    let rev = open
        .put(
            db,
            json!({"_id": "a", "_attachments": {"x": attachment, "y": attachment}}),
        )
        .await;
    let rev = open
        .put(
            db,
            json!({"_id": "a", "_rev": rev, "_attachments": {"x": {"stub": true}}}),
        )
        .await;
    let row = open
        .store
        .document(db, "a")
        .await
        .expect("it answers")
        .expect("there");
    let attachments = row.body.expect("it is there").attachments;
    assert_eq!(attachments.len(), 1);
    let x = &attachments["x"];
    assert_eq!(
        (x.revpos, x.length, &x.digest),
        (1, 300_000, &Digest::of(&bytes))
    );
    let found = open
        .store
        .attachment(db, &x.digest)
        .await
        .expect("it answers");
    let content = found.expect("it is kept");
    let (mut read, mut at) = (Vec::new(), 5);
    while at < content.length {
        let range = at..content.length - 5;
        let piece = open.store.attachment_piece(&content, range).await;
        let piece = piece.expect("it answers");
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        read.extend(piece);
    }
    assert!(read == bytes[5..299_995]);

    let missing = json!([{"_id": "a", "_rev": rev, "_attachments": {"z": {"stub": true}}}]);
    let refused = open.write(db, missing).await.remove(0);
    assert_eq!(refused, Err(Refused::MissingStub("z".into())));
    open.put(db, json!({"_id": "a", "_rev": rev})).await;
    let compacted = open.store.compact(db.key).await.expect("it compacts");
    assert_eq!((compacted.revisions, compacted.attachments), (2, 1));
    let found = open
        .store
        .attachment(db, &x.digest)
        .await
        .expect("it answers");
    assert!(found.is_none());
    let record = open.find("ada", "notes").await.expect("there");
    assert_eq!(record.bytes, 2 + OVERHEAD, "an empty object");
}

fn data_encoding_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |three: &[u8]| {
        let bits = three
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        let letter = |n: usize| LETTERS[(bits >> (18 - 6 * n) & 63) as usize] as char;
        let text: String = (0..=three.len()).map(letter).collect();
        format!("{text:=<4}")
    };
    bytes.chunks(3).map(encode).collect()
}

#[tokio::test]
async fn what_is_purged_is_in_no_file_any_more() {
    const CANARY: &str = "canary-7f3b1c";
    let open = Open::new().await;
    let db = &open.database("ada", "notes", Mode::Public).await;
    let kept = open.put(db, json!({"_id": "kept", "text": "stays"})).await;
    let said = json!({"_id": "gone", "text": CANARY, "_attachments": {
        "x": {"data": data_encoding_base64(CANARY.as_bytes())}}});
    let rev = open.put(db, said).await;
    let wanted = BTreeMap::from([
        ("gone".to_owned(), vec![rev.clone()]),
        ("kept".to_owned(), vec!["9-x".parse().expect("a revision")]),
    ]);
    let purged = open.store.purge(db.key, &wanted).await.expect("it purges");
    assert_eq!(
        purged.revs,
        BTreeMap::from([("gone".to_owned(), vec![rev])])
    );
    assert!(open.store.scrub().await.expect("it answers"));
    assert!(
        open.store
            .document(db, "gone")
            .await
            .expect("it answers")
            .is_none()
    );
    let record = open.find("ada", "notes").await.expect("there");
    assert_eq!((record.docs, record.purge_seq), (1, 1));

    let other = &open.database("ada", "other", Mode::Public).await;
    open.put(other, json!({"_id": "a", "text": CANARY})).await;
    assert!(
        open.store
            .delete_database(other.key)
            .await
            .expect("it answers")
    );
    assert!(open.store.scrub().await.expect("it answers"));
    let gone = open
        .store
        .write(other, drafts(json!([{"_id": "b"}])), false, QUOTA)
        .await;
    assert!(matches!(gone, Err(WriteError::NoDatabase)));

    assert_eq!(open.files_with(CANARY), NONE);
    let open = Open::on(open.close().await).await;
    let row = open.store.document(db, "kept").await.expect("it answers");
    assert_eq!(row.expect("there").tree.winner().expect("one").rev, kept);
}

#[tokio::test]
async fn an_owner_has_so_much_and_an_encrypted_database_takes_envelopes_only() {
    let open = Open::new().await;
    let db = &open.database("ada", "notes", Mode::Private).await;
    let two = drafts(json!([{"_id": "a", "n": "x".repeat(60)}, {"_id": "b", "n": "x".repeat(60)}]));
    let written = open
        .store
        .write(db, two, false, 300)
        .await
        .expect("it is written");
    assert!(written[0].is_ok());
    assert_eq!(written[1], Err(Refused::Full));
    let first = written[0].clone().expect("taken").expect("new").rev;
    let gone = drafts(json!([{"_id": "a", "_rev": first, "_deleted": true}]));
    let written = open.store.write(db, gone, false, 100).await;
    let written = written.expect("it is written");
    assert!(written[0].is_ok(), "what is deleted needs no room");
    let sealed = &open.database("ada", "sealed", Mode::E2ee).await;
    let written = open
        .write(sealed, json!([{"_id": "a", "text": "plain"}]))
        .await;
    assert_eq!(written, [Err(Refused::NotEncrypted)]);
}

#[tokio::test]
async fn a_local_document_is_edited_by_who_knows_it() {
    let open = Open::new().await;
    let db = &open.database("ada", "notes", Mode::Public).await;
    let edit = async |rev, json| {
        let edited = open.store.edit_local(db, "x", rev, json, 100).await;
        edited.expect("it answers")
    };
    let held = async || {
        let held = open.store.held(&PrincipalId::new("ada")).await;
        held.expect("it answers")
    };
    assert_eq!(edit(None, Some("{}")).await, LocalEdit::Now(1));
    assert_eq!(edit(None, Some("{}")).await, LocalEdit::Conflict);
    assert_eq!(edit(Some(1), Some(r#"{"n":1}"#)).await, LocalEdit::Now(2));
    let read = open.store.local(db, "x").await.expect("it answers");
    assert_eq!(read, Some((2, r#"{"n":1}"#.to_owned())));
    assert_eq!(held().await, 7, "it counts as all else does");
    let long = format!("{{\"n\":\"{}\"}}", "x".repeat(93));
    assert_eq!(edit(Some(2), Some(&long)).await, LocalEdit::Full);
    assert_eq!(held().await, 7);
    assert_eq!(edit(Some(2), None).await, LocalEdit::Now(0));
    assert_eq!(held().await, 0);
    assert_eq!(open.store.local(db, "x").await.expect("it answers"), None);
}

#[tokio::test]
async fn blobs_are_held_counted_and_let_go() {
    let open = Open::new().await;
    let (ada, bob) = (PrincipalId::new("ada"), PrincipalId::new("bob"));
    let blob = |hash: &str, bytes| BlobRecord {
        hash: hash.to_owned(),
        bytes,
        created_at_ms: 1,
    };
    let hold = async |owner: &PrincipalId, blob: &BlobRecord| {
        open.store
            .hold_blob(owner, blob, 100)
            .await
            .expect("it answers")
    };
    assert!(hold(&ada, &blob("a", 60)).await);
    assert!(hold(&ada, &blob("a", 60)).await, "it costs nothing again");
    assert!(!hold(&ada, &blob("b", 41)).await, "that is too much");
    assert!(hold(&bob, &blob("a", 60)).await);
    assert_eq!(open.store.held(&ada).await.expect("it answers"), 60);
    let release = async |owner: &PrincipalId| {
        open.store
            .release_blob(owner, "a")
            .await
            .expect("it answers")
    };
    assert_eq!(release(&ada).await, Some(false), "bob has it");
    assert_eq!(release(&ada).await, None);
    assert_eq!(release(&bob).await, Some(true));
    assert!(
        open.store
            .blob_files()
            .await
            .expect("it answers")
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_announced_in_several_uploads_has_room_together() {
    let open = Open::new().await;
    let ada = PrincipalId::new("ada");
    let begin = async |id: &str, bytes| {
        let upload = UploadRecord {
            id: id.to_owned(),
            bytes,
        };
        let begun = open.store.begin_upload(&ada, &upload, 100, 1).await;
        begun.expect("it answers")
    };
    assert_eq!(begin("a", 60).await, UploadBegun::Done);
    assert_eq!(begin("b", 41).await, UploadBegun::Full);
    for number in 0..40 {
        assert_eq!(begin(&format!("c{number}"), 1).await, UploadBegun::Done);
    }
    assert_eq!(begin("d", 1).await, UploadBegun::Full);
    assert!(open.store.end_upload(&ada, "a").await.expect("it answers"));
    for number in 0..60 {
        assert_eq!(begin(&format!("e{number}"), 1).await, UploadBegun::Done);
    }
    assert_eq!(begin("f", 1).await, UploadBegun::TooMany);
}

#[tokio::test]
async fn byte_seconds_are_what_lay_here_at_both_ends_and_never_drift() {
    let open = Open::new().await;
    let ada = PrincipalId::new("ada");
    let seconds = async || {
        let meter = open.store.meter_of(&ada).await.expect("it answers");
        meter.map(|meter| meter.byte_seconds)
    };
    open.store.meter(1_000).await.expect("it meters");
    assert_eq!(seconds().await, None, "he has nothing here");
    let blob = BlobRecord {
        hash: "a".into(),
        bytes: 7,
        created_at_ms: 1,
    };
    assert!(
        open.store
            .hold_blob(&ada, &blob, 100)
            .await
            .expect("it answers")
    );
    open.store.meter(2_000).await.expect("it meters");
    assert_eq!(seconds().await, Some(0));
    // A thousand readings of a third of a second: 7 x 333.333 s, less what has not made a second yet.
    for n in 1..=1_000 {
        open.store
            .meter(2_000 + n * 1_000 / 3)
            .await
            .expect("it meters");
    }
    assert_eq!(seconds().await, Some(7 * 333_333 / 1_000));
    open.store.meter(5).await.expect("it meters");
    assert_eq!(seconds().await, Some(2_333), "a clock that goes back");
    open.store
        .release_blob(&ada, "a")
        .await
        .expect("it answers");
    open.store.meter(1_000_000).await.expect("it meters");
    assert_eq!(seconds().await, Some(2_333), "it was not there at the end");
}

#[tokio::test]
async fn a_document_that_is_edited_for_ever_takes_no_more_room() {
    let open = Open::new().await;
    let db = &open.database("ada", "notes", Mode::Private).await;
    let limit = "UPDATE databases SET revs_limit = 3";
    let set = sqlx::query(limit).execute(&open.store.writer).await;
    set.expect("it is set");
    let mut rev = open.put(db, json!({"_id": "a", "n": 0})).await;
    for n in 1..10 {
        rev = open.put(db, json!({"_id": "a", "_rev": rev, "n": n})).await;
    }
    let row = open.store.document(db, "a").await.expect("it answers");
    let tree = row.expect("it is there").tree;
    assert_eq!((tree.nodes().len(), rev.generation()), (3, 10));
    let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM bodies")
        .fetch_one(&open.store.readers)
        .await
        .expect("it answers");
    assert_eq!(kept, 3);
    let record = open.find("ada", "notes").await.expect("there");
    assert_eq!(record.bytes, 3 * (7 + OVERHEAD));
}
