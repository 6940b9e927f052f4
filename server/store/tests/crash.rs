//! A process that writes documents is killed at random moments, again and again on the same file: what it
//! had said to be written is there afterwards, whole, and nothing is half there. The database is sealed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kwaainet_core::PrincipalId;
use kwaainet_storage::{DataKey, Draft, Limits, Mode, SharingKey, wrap_key};
use kwaainet_store::{Body, DatabaseRecord, DocumentStore, IdRange, NewDatabase, Wrap};
use serde_json::{Value, json};

/// Where the child finds the file; without it the child's test does nothing.
const FOLDER: &str = "KWAAINET_TEST_CRASH";
/// How often the child is killed.
const KILLS: &str = "CRASH_KILLS";
const LIMITS: Limits = Limits {
    document_bytes: 1 << 20,
    attachment_bytes: 1 << 20,
    attachments: 4,
};

#[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What document `n` says in its version `version`: more than one page of the file.
fn text(n: u64, version: u64) -> String {
    format!("{n} {version} ").repeat(600)
}

fn draft(n: u64, version: u64, rev: Option<&str>) -> Draft {
    let mut document =
        json!({"_id": format!("d{n}"), "n": n, "version": version, "text": text(n, version)});
    if let Some(rev) = rev {
        document["_rev"] = Value::from(rev);
    }
    Draft::parse(document, &LIMITS).expect("it is sound")
}

/// The database, made if it is not there, and opened.
async fn database(store: &DocumentStore) -> DatabaseRecord {
    let owner = PrincipalId::operator();
    let own = SharingKey::of(&[7; 32]);
    let wrapped = wrap_key(&DataKey::generate(), &own.public(), owner.as_str());
    let new = NewDatabase {
        wrap: Some(Wrap {
            recipient: owner.as_str().to_owned(),
            wrapped: wrapped.expect("it is a key"),
        }),
        owner,
        name: "crash".parse().expect("it is a name"),
        mode: Mode::Private,
        created_at_ms: 1,
    };
    store.create_database(&new).await.expect("it answers");
    let found = store.database(&new.owner, &new.name).await;
    let mut found = found.expect("it answers").expect("it is there");
    let wrapped = store.wrapped(found.key, new.owner.as_str()).await;
    let wrapped = wrapped.expect("it answers").expect("it is there");
    let key = own.unwrap_key(&wrapped, new.owner.as_str());
    found.open(key.expect("it opens"));
    found
}

/// The child: writes until it is killed, several requests at once, and says what was acknowledged.
#[tokio::test]
async fn child() {
    let Some(folder) = variable(FOLDER) else {
        return;
    };
    let opened = DocumentStore::open(&Path::new(&folder).join("storage.db")).await;
    let (store, group) = opened.expect("it opens");
    let writing = async {
        let db = database(&store).await;
        let begin = store.changes(&db, 0, i64::MAX, u64::MAX, false).await;
        let begin = begin.expect("it answers").len() as u64;
        let lanes = (0..4).map(|lane| Box::pin(lane_of(&store, &db, begin + lane * 1_000_000)));
        let mut lanes: Vec<_> = lanes.collect();
        std::future::poll_fn(|context| {
            for lane in &mut lanes {
                if lane.as_mut().poll(context).is_ready() {
                    return std::task::Poll::Ready(());
                }
            }
            std::task::Poll::<()>::Pending
        })
        .await;
    };
    tokio::join!(writing, group.run(|error| panic!("{error}")));
}

async fn lane_of(store: &DocumentStore, db: &DatabaseRecord, begin: u64) {
    let known = store.document(db, &format!("d{begin}")).await;
    let known = known.expect("it answers");
    // The first document of a lane is edited again and again, the others are new each time.
    let mut rev = known.and_then(|row| row.tree.winner().map(|winner| winner.rev.to_string()));
    let mut version = 0;
    for n in begin.. {
        version += 1;
        let drafts = vec![
            draft(begin, version, rev.as_deref()),
            draft(n + 500_000, 0, None),
        ];
        let written = store
            .write(db, drafts, false, u64::MAX)
            .await
            .expect("it is written");
        let mut lines = String::new();
        for one in written.into_iter().flatten().flatten() {
            if one.id == format!("d{begin}") {
                rev = Some(one.rev.to_string());
            }
            lines.push_str(&format!("\nack {} {}\n", one.id, one.rev));
        }
        let mut out = std::io::stdout();
        out.write_all(lines.as_bytes())
            .and_then(|()| out.flush())
            .expect("somebody reads");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_when_the_writer_is_killed() {
    let kills = variable(KILLS)
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(20_u64);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut acknowledged = BTreeMap::new();
    for kill in 0..kills {
        // The moments are spread, and the same each time, as far as a machine lets them.
        let moment = Duration::from_millis(40 + kill * 7_919 % 400);
        for (id, rev) in run_and_kill(dir.path(), moment).await {
            acknowledged.insert(id, rev);
        }
        check(dir.path(), &acknowledged).await;
    }
    assert!(acknowledged.len() as u64 > kills, "the child came to write");
}

async fn run_and_kill(folder: &Path, moment: Duration) -> Vec<(String, String)> {
    let program = std::env::current_exe().expect("this is a program");
    let mut child = Command::new(program)
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let out = child.stdout.take().expect("it was asked for");
    let reading = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        let ack = |line: String| {
            let (id, rev) = line.strip_prefix("ack ")?.split_once(' ')?;
            Some((id.to_owned(), rev.to_owned()))
        };
        lines.filter_map(ack).collect::<Vec<_>>()
    });
    tokio::time::sleep(moment).await;
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    let mut seen = reading.await.expect("it reads");
    // The last line may have been cut.
    seen.retain(|(_, rev)| {
        rev.split_once('-')
            .is_some_and(|(_, hash)| hash.len() == 32)
    });
    seen
}

async fn check(folder: &Path, acknowledged: &BTreeMap<String, String>) {
    let opened = DocumentStore::open(&folder.join("storage.db")).await;
    let (store, group) = opened.expect("it opens after a crash");
    let record = database(&store).await;
    let rows = store
        .in_range(&record, &IdRange::default(), u64::MAX, 0, true)
        .await;
    let rows = rows.expect("it answers");
    assert_eq!(record.docs, rows.len() as i64);
    let mut seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
    seqs.sort_unstable();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(seqs.last().is_none_or(|last| *last <= record.update_seq));
    let mut bytes = 0;
    let mut found = BTreeMap::new();
    for row in rows {
        let body = row.body.as_ref().expect("a document has its body");
        let said: Value = serde_json::from_str(&body.json).expect("it is whole");
        let number = |name: &str| said[name].as_u64().expect("a number");
        assert_eq!(said["text"], text(number("n"), number("version")));
        let numbers = row.tree.bodies();
        let all = store
            .bodies(&record, &row, &numbers)
            .await
            .expect("it answers");
        assert_eq!(all.len(), numbers.len(), "each revision has what it says");
        let overhead = Draft::OVERHEAD as i64 + Body::SEALED_OVERHEAD as i64;
        let body_bytes = |body: &Body| body.json.len() as i64 + overhead;
        bytes += all.values().map(body_bytes).sum::<i64>();
        found.insert(row.id, row.tree);
    }
    assert_eq!(record.bytes, bytes);
    for (id, rev) in acknowledged {
        let tree = found.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        let rev = rev.parse().expect("it is a revision");
        assert!(tree.find(&rev).is_some(), "{id} {rev} is lost");
    }
    drop(store);
    group.run(|error| panic!("{error}")).await;
}
