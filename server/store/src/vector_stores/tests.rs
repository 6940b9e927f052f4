use super::*;
use crate::FileRecord;

async fn filled() -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&dir.path().join("node.db")).await;
    let store = store.expect("it opens");
    let record = VectorStoreRecord {
        id: "vs".to_owned(),
        principal: "p".into(),
        name: "notes".to_owned(),
        description: None,
        metadata: None,
        model: "m".to_owned(),
        expires_after_days: Some(1),
        created_at_ms: 1,
        last_active_at_ms: 1,
        counts: VectorFileCounts::default(),
        bytes: 0,
    };
    let inserted = store.insert_vector_store(&record, 1).await;
    assert!(inserted.expect("it answers"));
    let more = VectorStoreRecord {
        id: "vs2".to_owned(),
        ..record
    };
    let inserted = store.insert_vector_store(&more, 1).await;
    assert!(!inserted.expect("it answers"), "so many and no more");
    for id in ["a", "b"] {
        let file = FileRecord {
            id: id.to_owned(),
            principal: "p".into(),
            purpose: "assistants".to_owned(),
            filename: format!("{id}.txt"),
            bytes: 1,
            created_at_ms: 1,
            expires_at_ms: None,
        };
        let inserted = store.insert_file(&file, 9, 9).await;
        assert!(inserted.expect("it answers"));
    }
    (store, dir)
}

fn file(id: &str) -> VectorFileRecord {
    VectorFileRecord {
        store: "vs".to_owned(),
        file: id.to_owned(),
        file_batch: Some("fb".to_owned()),
        key: None,
        status: VectorFileStatus::InProgress,
        error: None,
        attributes: Some("{}".to_owned()),
        chunking: Some((100, 50)),
        bytes: 0,
        created_at_ms: 2,
    }
}

fn chunk(text: &str, vector: [f32; 2]) -> Chunk {
    Chunk {
        text: text.to_owned(),
        vector: vector.to_vec(),
    }
}

async fn put(store: &Store, principal: &str, ids: &[&str], max: u64) -> bool {
    let files: Vec<_> = ids.iter().map(|id| file(id)).collect();
    let put = store.put_vector_files(&principal.into(), &files, max).await;
    put.expect("it answers")
}

async fn found(store: &Store) -> VectorStoreRecord {
    let found = store.vector_store(&"p".into(), "vs").await;
    found.expect("it answers").expect("it is there")
}

async fn next(store: &Store) -> Option<VectorWork> {
    let next = store.next_vector_files(1).await.expect("it answers");
    next.into_iter().next()
}

#[tokio::test]
async fn files_go_in_together_or_not_at_all() {
    let (store, _dir) = filled().await;
    assert!(!put(&store, "q", &["a"], 9).await, "it is not his file");
    assert!(!put(&store, "p", &["a", "x"], 9).await, "there is no x");
    assert!(!put(&store, "p", &["a", "b"], 1).await, "two are too many");
    assert_eq!(next(&store).await.map(|work| work.part), None);
    store
        .insert_vector_file_batch("fb", "vs", 3)
        .await
        .expect("ok");
    assert!(put(&store, "p", &["a", "b"], 2).await);
    let work = next(&store).await.expect("there is work");
    assert_eq!((work.file.file.as_str(), work.model.as_str()), ("a", "m"));
    store
        .cancel_vector_file_batch("vs", "fb")
        .await
        .expect("ok");
    assert!(next(&store).await.is_none());
    let batch = store.vector_file_batch("vs", "fb").await.expect("ok");
    assert_eq!(batch.expect("it is there").counts.cancelled, 2);
}

#[tokio::test]
async fn a_file_is_there_in_whole_and_the_nearest_comes_first() {
    let (store, _dir) = filled().await;
    assert!(put(&store, "p", &["a", "b"], 9).await);
    let first = next(&store).await.expect("there is work").part;
    let chunks = [chunk("east", [1.0, 0.0]), chunk("north", [0.0, 1.0])];
    assert!(store.finish_vector_file(first, &chunks).await.expect("ok"));
    let again = store.finish_vector_file(first, &chunks).await.expect("ok");
    assert!(!again, "once");
    let second = next(&store).await.expect("there is work").part;
    let wrong = "unsupported_file";
    store
        .fail_vector_file(second, wrong, "no")
        .await
        .expect("ok");

    let record = found(&store).await;
    assert_eq!((record.counts.completed, record.counts.failed), (1, 1));
    assert_eq!(record.bytes, 9 + 16);
    assert_eq!(store.count_chunks("vs").await.expect("ok"), 2);
    let parts = store.search_parts("vs").await.expect("it answers");
    let parts: Vec<_> = parts.iter().map(|part| part.part).collect();
    assert_eq!(parts, [first]);
    let search = async |query: [f32; 2], limit, min| {
        let hits = store
            .nearest_chunks(&parts, &[query.to_vec()], limit, min)
            .await;
        let texts = hits.expect("it answers").into_iter().map(|hit| hit.text);
        texts.collect::<Vec<_>>()
    };
    assert_eq!(search([0.6, 0.8], 9, -1.0).await, ["north", "east"]);
    assert_eq!(search([0.6, 0.8], 1, -1.0).await, ["north"]);
    assert_eq!(search([0.6, 0.8], 9, 0.7).await, ["north"]);
    let other = store.nearest_chunks(&parts, &[vec![1.0; 3]], 9, -1.0).await;
    assert!(
        other.expect("it answers").is_empty(),
        "another model's vector"
    );

    // A file that is put in again is read again, and what was read before is not to be finished.
    assert!(put(&store, "p", &["a"], 9).await);
    assert_eq!(store.count_chunks("vs").await.expect("ok"), 0);
    assert!(!store.finish_vector_file(first, &chunks).await.expect("ok"));
    let third = next(&store).await.expect("there is work").part;
    assert_ne!(third, first);
    // A file that is deleted is in no store any more.
    assert!(store.delete_file(&"p".into(), "a").await.expect("ok"));
    assert!(!store.finish_vector_file(third, &chunks).await.expect("ok"));
}

#[tokio::test]
async fn a_store_that_nobody_uses_is_emptied() {
    let (store, _dir) = filled().await;
    assert!(put(&store, "p", &["a"], 9).await);
    store
        .empty_expired_vector_stores(86_400_000)
        .await
        .expect("ok");
    assert_eq!(found(&store).await.counts.in_progress, 1);
    store.touch_vector_store("vs", 5).await.expect("ok");
    store
        .empty_expired_vector_stores(86_400_001)
        .await
        .expect("ok");
    assert_eq!(found(&store).await.counts.in_progress, 1, "it was used");
    store
        .empty_expired_vector_stores(86_400_005)
        .await
        .expect("ok");
    assert_eq!(found(&store).await.counts, VectorFileCounts::default());
    assert!(found(&store).await.is_expired(86_400_005));
}
