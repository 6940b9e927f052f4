//! What of a sealed database is in its files: nothing that it says.

use super::*;

const WORDS: [&str; 4] = [
    "canary-document",
    "canary-attachment",
    "canary-of-a-name",
    "canary-local",
];

/// Writes a document, what hangs on it and a local one, and gives the document's revision.
async fn fill(open: &Open, db: &DatabaseRecord) -> Rev {
    let [document, attachment, name, local] = WORDS;
    let attachment = json!({"data": data_encoding_base64(attachment.repeat(20_000).as_bytes())});
    let said = json!({"_id": "a", "text": document, "_attachments": {name: attachment}});
    let rev = open.put(db, said).await;
    let local = json!({ "text": local }).to_string();
    let edited = open
        .store
        .edit_local(db, "l", None, Some(&local), QUOTA)
        .await;
    assert_eq!(edited.expect("it answers"), LocalEdit::Now(1));
    rev
}

/// Sees that what [`fill`] wrote is there.
async fn check(open: &Open, db: &DatabaseRecord, rev: &Rev) {
    let [document, attachment, name, local] = WORDS;
    let row = open.store.document(db, "a").await.expect("it answers");
    let row = row.expect("there");
    let number = row.tree.find(rev).and_then(|node| node.body);
    let number = number.expect("it says something");
    let mut bodies = open
        .store
        .bodies(db, &row, &[number])
        .await
        .expect("it answers");
    let body = bodies.remove(&number).expect("it is here");
    assert_eq!(body.json, json!({ "text": document }).to_string());
    let whole = attachment.repeat(20_000);
    let digest = &body.attachments[name].digest;
    let content = open.store.attachment(db, digest).await.expect("it answers");
    let content = content.expect("it is kept");
    assert_eq!(content.length, whole.len() as u64);
    let mut read = Vec::new();
    while (read.len() as u64) < content.length {
        let range = read.len() as u64..content.length;
        let piece = open.store.attachment_piece(&content, range).await;
        let piece = piece.expect("it answers");
        assert!(!piece.is_empty());
        read.extend(piece);
    }
    assert!(read == whole.as_bytes());
    let read = open.store.local(db, "l").await.expect("it answers");
    assert_eq!(read, Some((1, json!({ "text": local }).to_string())));
}

#[tokio::test]
async fn what_a_sealed_database_says_is_in_no_file() {
    let open = Open::new().await;
    let db = open.database("ada", "notes", Mode::Private).await;
    assert!(db.is_encrypted());
    let rev = fill(&open, &db).await;
    let edit = json!({"_id": "a", "_rev": rev, "n": 1, "_attachments": {WORDS[2]: {"stub": true}}});
    let second = open.put(&db, edit).await;
    for word in WORDS {
        assert_eq!(open.files_with(word), NONE, "while it is open");
    }
    // The digest of a content would tell whoever has that content that it is here.
    let digest = Digest::of(WORDS[1].repeat(20_000).as_bytes());
    assert_eq!(open.files_with(digest.as_str()), NONE);
    check(&open, &db, &rev).await;
    let key = db.data_key().expect("it is open").clone();
    let open = Open::on(open.close().await).await;
    for word in WORDS {
        assert_eq!(open.files_with(word), NONE, "after its end");
    }

    let mut db = open.find("ada", "notes").await.expect("there");
    let locked = open.store.document(&db, "a").await;
    assert!(matches!(locked, Err(StoreError::Locked)));
    let drafts_of_it = drafts(json!([{"_id": "b"}]));
    let locked = open.store.write(&db, drafts_of_it, false, QUOTA).await;
    assert!(matches!(locked, Err(WriteError::Locked)));
    let locked = open
        .store
        .edit_local(&db, "x", None, Some("{}"), QUOTA)
        .await;
    assert!(matches!(locked, Err(StoreError::Locked)));
    // Which documents there are is no secret of its key.
    let rows = open.store.changes(&db, 0, i64::MAX, 10, false).await;
    assert_eq!(rows.expect("it answers").len(), 1);
    db.open(DataKey::generate());
    assert!(open.store.document(&db, "a").await.is_err(), "another key");
    db.open(key);
    check(&open, &db, &rev).await;
    open.store.compact(db.key).await.expect("it compacts");
    let row = open.store.document(&db, "a").await.expect("it answers");
    let row = row.expect("there");
    assert_eq!(row.tree.winner().expect("one").rev, second);
    let attachments = row.body.expect("it says something").attachments;
    let content = open
        .store
        .attachment(&db, &attachments[WORDS[2]].digest)
        .await;
    assert!(content.expect("it answers").is_some(), "it is still in use");
}

#[tokio::test]
async fn a_database_of_before_is_sealed_bit_by_bit() {
    let open = Open::new().await;
    let db = open.made("ada", "notes", Mode::Private, None).await;
    assert!(!db.is_encrypted());
    let rev = fill(&open, &db).await;
    assert_ne!(open.files_with(WORDS[0]), NONE, "the search finds");
    let key = DataKey::generate();
    let wraps = [wrap(&key, "ada")];
    let begun = open.store.begin_sealing(db.key, &wraps).await;
    assert!(begun.expect("it answers"));
    let again = open.store.begin_sealing(db.key, &wraps).await;
    assert!(!again.expect("it answers"));
    // Whoever opened it before may not write in the clear any more.
    let plain = drafts(json!([{"_id": "b"}]));
    let late = open.store.write(&db, plain, false, QUOTA).await;
    assert!(matches!(late, Err(WriteError::Locked)));

    let mut db = open.find("ada", "notes").await.expect("there");
    assert!(!db.is_encrypted(), "not all of it");
    db.open(key.clone());
    check(&open, &db, &rev).await;
    // The same content comes again, and what is unused is swept, while only a part is sealed.
    let content = json!({"data": data_encoding_base64(WORDS[1].repeat(20_000).as_bytes())});
    let other = json!({"_id": "b", "text": "new", "_attachments": {"x": content}});
    open.put(&db, other).await;
    open.store.compact(db.key).await.expect("it compacts");
    check(&open, &db, &rev).await;

    open.store.finish_sealing(&db).await.expect("it seals");
    assert!(open.store.scrub().await.expect("it answers"));
    for word in WORDS {
        assert_eq!(open.files_with(word), NONE);
    }
    let mut db = open.find("ada", "notes").await.expect("there");
    assert!(db.is_encrypted());
    db.open(key);
    check(&open, &db, &rev).await;
    open.store.compact(db.key).await.expect("it compacts");
    check(&open, &db, &rev).await;
    let counted = open.find("ada", "notes").await.expect("there").bytes;
    let kept: i64 = sqlx::query_scalar(
        "SELECT (SELECT SUM(OCTET_LENGTH(json) + ?) FROM bodies) + (SELECT SUM(length) FROM attachments)
             + (SELECT SUM(OCTET_LENGTH(json)) FROM locals)",
    )
    .bind(Draft::OVERHEAD as i64)
    .fetch_one(&open.store.readers)
    .await
    .expect("it answers");
    assert_eq!(counted, kept, "each byte once");
}

#[tokio::test]
async fn a_database_is_opened_by_those_for_whom_its_key_was_encrypted() {
    let open = Open::new().await;
    let db = open.database("ada", "notes", Mode::Private).await;
    let key = db.data_key().expect("it is open").clone();
    let wrapped = async |recipient: &str| {
        let wrapped = open.store.wrapped(db.key, recipient).await;
        wrapped.expect("it answers")
    };
    assert_eq!(wrapped("bob").await, None);
    open.store
        .share(db.key, &[wrap(&key, "bob"), wrap(&key, "carl")])
        .await
        .expect("it answers");
    let own = SharingKey::of(&[7; 32]);
    let opened = own.unwrap_key(&wrapped("bob").await.expect("his"), "bob");
    assert!(opened.is_ok());
    let sharing = Sharing {
        recipients: vec!["ada".into(), "carl".into(), "dora".into()],
        wraps: vec![wrap(&key, "dora")],
    };
    let security = Security::default();
    let secured = open.store.secure(db.key, &security, Some(&sharing)).await;
    assert!(secured.expect("it answers"));
    assert_eq!(wrapped("bob").await, None, "he is out");
    for recipient in ["ada", "carl", "dora"] {
        assert!(wrapped(recipient).await.is_some(), "{recipient}");
    }
    let nobody = Sharing::default();
    let secured = open.store.secure(db.key, &security, Some(&nobody)).await;
    assert!(secured.expect("it answers"));
    assert!(wrapped("ada").await.is_some(), "never without anybody");
    let all = open
        .store
        .wraps_of("dora", 0, 10)
        .await
        .expect("it answers");
    assert_eq!(all.len(), 1);
    assert!(
        open.store
            .delete_database(db.key)
            .await
            .expect("it answers")
    );
    assert_eq!(wrapped("ada").await, None);
}
