use super::*;
use crate::{Added, ConversationLimits, History, HistoryLimits, NewResponse, ResponseState};

struct Fixture {
    store: Store,
    ann: PrincipalId,
    bob: PrincipalId,
    dir: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("node.db")).await;
        Self {
            store: store.expect("it opens"),
            ann: "ann".into(),
            bob: "bob".into(),
            dir,
        }
    }

    fn ann(&self, now_ms: i64) -> Seeker<'_> {
        let principal = &self.ann;
        Seeker { principal, now_ms }
    }

    fn bob(&self) -> Seeker<'_> {
        let principal = &self.bob;
        Seeker {
            principal,
            now_ms: 0,
        }
    }

    /// A response of Ann's that expires 100 ms after `now_ms`.
    async fn response(&self, id: &str, previous: Option<&str>, now_ms: i64, finished: bool) {
        let new = NewResponse {
            id: id.into(),
            previous: previous.map(str::to_owned),
            conversation: None,
            background: !finished,
            expires_at_ms: now_ms + 100,
            input: vec![item(&format!("{id}-in"))],
        };
        let (who, state) = (self.ann(now_ms), state(id, finished));
        let insert = self.store.insert_response(who, &new, &state).await;
        insert.expect("it is kept");
    }

    async fn history(&self, id: &str, now_ms: i64) -> History {
        let limits = HistoryLimits {
            responses_max: 3,
            bytes_max: 1_000,
        };
        let history = self.store.history(self.ann(now_ms), id, limits).await;
        history.expect("it answers")
    }

    async fn sweep(&self, now_ms: i64, bytes_max: i64) -> u64 {
        let limits = KeepLimits { now_ms, bytes_max };
        self.store.sweep_kept(limits).await.expect("it answers")
    }
}

fn item(id: &str) -> KeptItem {
    KeptItem {
        id: id.into(),
        body: "\"ü\"".into(),
    }
}

fn state(id: &str, finished: bool) -> ResponseState {
    let output = finished.then(|| item(&format!("{id}-out")));
    ResponseState {
        body: "{}".into(),
        output: output.into_iter().collect(),
        cuts: "[]".into(),
        finished,
        joins_conversation: false,
    }
}

fn ids(history: History) -> Vec<String> {
    match history {
        History::Items(items) => items.into_iter().map(|item| item.id).collect(),
        other => panic!("no history: {other:?}"),
    }
}

#[tokio::test]
async fn a_history_is_whole_or_none() {
    let kept = Fixture::new().await;
    kept.response("a", None, 0, true).await;
    kept.response("b", Some("a"), 50, true).await;
    kept.response("c", Some("b"), 60, true).await;
    let all = ["a-in", "a-out", "b-in", "b-out", "c-in", "c-out"];
    assert_eq!(
        ids(kept.history("c", 159).await),
        all,
        "a lives as long as c"
    );
    assert!(matches!(kept.history("c", 160).await, History::Missing(id) if id == "c"));
    kept.response("d", Some("c"), 60, true).await;
    assert!(matches!(kept.history("d", 60).await, History::TooLong));
    let bob = HistoryLimits {
        responses_max: 9,
        bytes_max: 1_000,
    };
    let theirs = kept.store.history(kept.bob(), "a", bob).await;
    assert!(matches!(theirs.expect("it answers"), History::Missing(_)));
    let erased = kept.store.erase_response(kept.ann(60), "a").await;
    assert!(erased.expect("it answers"));
    assert!(matches!(kept.history("c", 60).await, History::Missing(id) if id == "a"));

    kept.response("e", None, 60, false).await;
    assert!(matches!(kept.history("e", 60).await, History::Unfinished));
    let ended = kept.store.update_response("e", &state("e", true)).await;
    assert!(ended.expect("it answers"));
    assert_eq!(ids(kept.history("e", 60).await), ["e-in", "e-out"]);
    let late = kept.store.update_response("e", &state("e", true)).await;
    assert!(
        !late.expect("it answers"),
        "what is finished stays as it is"
    );
}

#[tokio::test]
async fn sweeping_takes_what_expired_and_the_oldest_of_what_is_too_much() {
    let kept = Fixture::new().await;
    for (id, now_ms, finished) in [("unfinished", 1, false), ("old", 2, true), ("new", 3, true)] {
        kept.response(id, None, now_ms, finished).await;
    }
    assert_eq!(kept.sweep(100, 1 << 20).await, 0);
    // Each is 2 bytes, one or two items of 4, and what any thing counts.
    assert_eq!(
        kept.sweep(100, 2 * BYTES_OF_ONE + 20).await,
        0,
        "the one beyond is being made"
    );
    assert_eq!(kept.sweep(100, 2 * BYTES_OF_ONE + 19).await, 1);
    let found = |id| kept.store.response(kept.ann(100), id);
    assert!(found("old").await.expect("it answers").is_none());
    assert!(found("new").await.expect("it answers").is_some());
    assert_eq!(kept.sweep(103, 1 << 20).await, 2);
    let left = sqlx::query("SELECT COUNT(*) AS n FROM kept_items")
        .fetch_one(&kept.store.readers)
        .await
        .expect("it answers");
    assert_eq!(left.try_get::<i64, _>("n").expect("a count"), 0);
}

#[tokio::test]
async fn a_conversation_takes_all_new_items_or_none() {
    let kept = Fixture::new().await;
    let one = [item("1")];
    let made = kept
        .store
        .insert_conversation(kept.ann(0), "c", "{}", &one, 10);
    made.await.expect("it is kept");
    let limits = ConversationLimits {
        items_max: 3,
        bytes_max: 1_000,
    };
    let (two, four) = ([item("2"), item("3")], [item("4")]);
    let add = |who, items, limits| kept.store.extend_conversation(who, "c", items, limits, 20);
    let mut outcomes = Vec::new();
    for (who, items, limits) in [
        (kept.bob(), &two[..], limits),
        (kept.ann(0), &two[..], limits),
        (kept.ann(15), &one[..0], limits),
        (kept.ann(15), &four[..], limits),
        (kept.ann(20), &four[..], limits),
    ] {
        outcomes.push(add(who, items, limits).await.expect("it answers"));
    }
    let (done, missing) = (Added::Done, Added::Missing);
    assert_eq!(outcomes, [missing, done, done, Added::Full, missing]);
    let items = kept
        .store
        .conversation_items("c")
        .await
        .expect("it answers");
    assert_eq!(items, [item("1"), item("2"), item("3")]);
    let narrow = ConversationLimits {
        items_max: 9,
        bytes_max: 17,
    };
    let full = add(kept.ann(15), &four, narrow).await;
    assert_eq!(full.expect("it answers"), Added::Full);
}

#[tokio::test]
async fn what_was_erased_is_in_no_file_any_more() {
    let kept = Fixture::new().await;
    for id in ["stays", "goes"] {
        let new = NewResponse {
            id: id.into(),
            previous: None,
            conversation: None,
            background: false,
            expires_at_ms: 100,
            input: vec![KeptItem {
                id: format!("{id}-in"),
                body: format!("the words of what {id}").repeat(500),
            }],
        };
        let state = state(id, true);
        let insert = kept.store.insert_response(kept.ann(0), &new, &state);
        insert.await.expect("it is kept");
    }
    let erased = kept.store.erase_response(kept.ann(0), "goes").await;
    assert!(erased.expect("it answers"));
    kept.store.close().await;
    let mut stays = false;
    for file in std::fs::read_dir(kept.dir.path()).expect("it can be read") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("it can be read");
        let has = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
        stays |= has(b"the words of what stays");
        assert!(!has(b"the words of what goes"));
    }
    assert!(stays, "the search finds what is there");
}
