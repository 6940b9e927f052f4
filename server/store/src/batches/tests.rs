use super::*;

fn batch(id: &str, principal: &str) -> BatchRecord {
    BatchRecord {
        id: id.to_owned(),
        principal: principal.into(),
        key: None,
        endpoint: "/v1/embeddings".to_owned(),
        input_file: "file-in".to_owned(),
        metadata: Some("{\"a\":\"b\"}".to_owned()),
        output_expires_s: Some(3_600),
        status: BatchStatus::Validating,
        counts: BatchCounts::default(),
        usage: Usage::default(),
        errors: None,
        output_file: None,
        error_file: None,
        created_at_ms: 1,
        expires_at_ms: 100,
        in_progress_at_ms: None,
        finalizing_at_ms: None,
        cancelling_at_ms: None,
        ended_at_ms: None,
    }
}

fn answer(line: u32, good: bool) -> BatchLine {
    BatchLine {
        line,
        good,
        output: format!("{{\"line\":{line}}}"),
        usage: Usage {
            prompt_tokens: 3,
            cached_tokens: 1,
            completion_tokens: 2,
        },
    }
}

async fn begun(total: u32) -> (Store, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&dir.path().join("node.db")).await;
    let store = store.expect("it opens");
    let inserted = store.insert_batch(&batch("b", "p"), 1, 9).await;
    assert!(inserted.expect("it answers"));
    store.batch_begins("b", total, 5).await.expect("it answers");
    (store, dir)
}

async fn found(store: &Store) -> BatchRecord {
    let batch = store.batch(&"p".into(), "b").await;
    batch.expect("it answers").expect("it is there")
}

#[tokio::test]
async fn a_line_counts_once_however_often_it_is_answered() {
    let (store, dir) = begun(3).await;
    let lines = [answer(2, true), answer(1, false)];
    store.record_lines("b", &lines).await.expect("it answers");
    // What a crash after the commit looks like to the next process.
    store.close().await;
    let store = Store::open(&dir.path().join("node.db")).await;
    let store = store.expect("it opens again");
    store.record_lines("b", &lines).await.expect("it answers");
    let other = [answer(2, false)];
    store.record_lines("b", &other).await.expect("it answers");
    let batch = found(&store).await;
    let counts = BatchCounts {
        total: 3,
        completed: 1,
        failed: 1,
    };
    assert_eq!(batch.counts, counts);
    assert_eq!(batch.usage.prompt_tokens, 6);
    let done = store.lines_done("b").await.expect("it answers");
    assert_eq!(done, HashSet::from([1, 2]));
    let good = store
        .line_outputs("b", true, 0, 9)
        .await
        .expect("it answers");
    assert_eq!(good, [(2, "{\"line\":2}".to_owned())]);
}

#[tokio::test]
async fn the_end_of_a_batch_is_one_step() {
    let (store, _dir) = begun(1).await;
    let line = [answer(1, true)];
    store.record_lines("b", &line).await.expect("it answers");
    let file = FileRecord {
        id: "file-out".to_owned(),
        principal: "p".into(),
        purpose: "batch_output".to_owned(),
        filename: "out.jsonl".to_owned(),
        bytes: 7,
        created_at_ms: 9,
        expires_at_ms: None,
    };
    let end = BatchEnd {
        status: BatchStatus::Completed,
        now_ms: 9,
        output: Some(file.clone()),
        error: Some(file.clone()),
        errors: None,
    };
    let failed = store.end_batch("b", &end).await;
    assert!(failed.is_err(), "two files cannot have one id");
    let batch = found(&store).await;
    assert_eq!(
        batch.status,
        BatchStatus::InProgress,
        "all of it or nothing"
    );
    let files = store.file_ids().await.expect("it answers");
    assert!(files.is_empty());
    let kept = store.lines_done("b").await.expect("it answers");
    assert_eq!(kept.len(), 1, "its answers are still there");

    let end = BatchEnd { error: None, ..end };
    assert!(store.end_batch("b", &end).await.expect("it answers"));
    let batch = found(&store).await;
    assert_eq!(batch.status, BatchStatus::Completed);
    assert_eq!(batch.output_file.as_deref(), Some("file-out"));
    assert!(store.lines_done("b").await.expect("it answers").is_empty());
    let again = store.end_batch("b", &end).await.expect("it answers");
    assert!(!again, "it is over");
    store.record_lines("b", &line).await.expect("it answers");
    assert_eq!(found(&store).await.counts, batch.counts, "too late");

    store.delete_old_batches(10).await.expect("it answers");
    let gone = store.batch(&"p".into(), "b").await.expect("it answers");
    assert_eq!(gone, None);
}

#[tokio::test]
async fn batches_are_bounded_cancelled_and_taken_in_turn() {
    let (store, _dir) = begun(1).await;
    let insert = async |id: &str, principal: &str, kept| {
        let inserted = store.insert_batch(&batch(id, principal), 1, kept).await;
        inserted.expect("it answers")
    };
    assert!(!insert("b2", "p", 9).await, "one is under way");
    assert!(insert("c", "q", 9).await, "another principal");
    let ids = async || {
        let next = store.next_batches(9).await.expect("it answers");
        next.into_iter().map(|batch| batch.id).collect::<Vec<_>>()
    };
    assert_eq!(ids().await, ["b", "c"]);
    let cancel = async |principal: &str, id: &str| {
        let done = store.cancel_batch(&principal.into(), id, 8).await;
        done.expect("it answers")
    };
    assert!(!cancel("q", "b").await, "it is somebody else's");
    assert!(cancel("p", "b").await);
    assert!(!cancel("p", "b").await, "once");
    let cancelled = found(&store).await;
    assert_eq!(cancelled.status, BatchStatus::Cancelling);
    assert_eq!(cancelled.cancelling_at_ms, Some(8));
    let end = BatchEnd {
        status: BatchStatus::Cancelled,
        now_ms: 9,
        output: None,
        error: None,
        errors: None,
    };
    assert!(store.end_batch("b", &end).await.expect("it answers"));
    assert!(!insert("b2", "p", 1).await, "so many are kept");
    assert!(insert("b2", "p", 2).await);
    assert_eq!(ids().await, ["c", "b2"]);
}
