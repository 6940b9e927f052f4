//! What lies in the cache before, during and after a pull.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_models::{Cache, PullError, pull};

use crate::home::{Heard, Home, path_source, reasons};
use crate::server::{Reply, Server};

const HUB: &str = "hub = \"o/r\"\nrevision = \"main\"\nfile = \"f\"";

#[tokio::test]
async fn a_local_file_is_copied_and_found() {
    let home = Home::new();
    let local = home.write("original", b"weights");
    let entry = home.model(&[("f.gguf", b"weights", &[path_source(&local)])]);
    assert_eq!(home.cache().find(&entry), None);
    let files = home.pull(&entry).await.expect("the file is there");
    fs::remove_file(local).expect("it is there");
    assert_eq!(home.cache().find(&entry).as_ref(), Some(&files));
    assert_eq!(files.files(), [home.path("cache/models/m/f.gguf")]);
    assert_eq!(files.gguf(), Some(files.files()[0].as_path()));
    assert!(files.created() > 1_600_000_000, "{}", files.created());
    // Nothing is asked for again.
    home.pull(&entry).await.expect("it is in the cache");
    let expected = ["started f.gguf", "trying file", "advanced 7", "done f.gguf"];
    assert_eq!(home.heard.lines(), expected);
}

#[tokio::test]
async fn only_what_is_missing_or_has_another_size_is_fetched() {
    let home = Home::new();
    let (a, b) = (home.write("a", b"aaaa"), home.write("b", b"bbbb"));
    let entry = home.model(&[
        ("a", b"aaaa", &[path_source(&a)]),
        ("b", b"bbbb", &[path_source(&b)]),
    ]);
    let dir = home.cache().model_dir(&entry);
    fs::create_dir_all(&dir).expect("the temporary folder can be written");
    fs::write(dir.join("a"), b"AAAA").expect("the folder can be written");
    fs::write(dir.join("b"), b"cut").expect("the folder can be written");
    assert_eq!(home.cache().find(&entry), None);
    home.pull(&entry).await.expect("both sources are there");
    assert_eq!(fs::read(dir.join("a")).expect("it is there"), b"AAAA");
    assert_eq!(fs::read(dir.join("b")).expect("it is there"), b"bbbb");
    assert_eq!(home.heard.lines()[0], "started b");
}

#[tokio::test]
async fn a_folder_a_pipe_or_nothing_is_not_a_source() {
    let home = Home::new();
    let pipe = home.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("there is a mkfifo command").success());
    let sources = [home.path(""), pipe, home.path("absent")].map(|path| path_source(&path));
    let entry = home.model(&[("f", b"weights", &sources)]);
    let reasons = reasons(home.pull(&entry).await);
    let said: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    assert_eq!(said[0], "cannot read it: it is not a file");
    assert_eq!(said[1], "cannot read it: it is not a file");
    assert!(
        said[2].starts_with("cannot read it: No such file"),
        "{}",
        said[2]
    );
}

#[tokio::test]
async fn an_interrupted_pull_leaves_nothing_and_can_be_repeated() {
    let server = Server::start(Reply::Stalls(1_000_000, vec![7; 500_000])).await;
    let mut home = Home::new();
    home.sources.hub_endpoint = server.address.clone();
    let entry = home.model(&[("f", &[7; 1_000_000], &[HUB.to_owned()])]);
    tokio::select! {
        _ = home.pull(&entry) => panic!("the server stalls"),
        () = half_a_file(&home) => {}
    }
    assert_eq!(home.in_cache(), [""; 0]);
    assert_eq!(home.cache().find(&entry), None);

    let healthy = Server::start(Reply::Whole(vec![7; 1_000_000])).await;
    home.sources.hub_endpoint = healthy.address.clone();
    home.pull(&entry).await.expect("nothing stands in the way");
    assert_eq!(home.in_cache(), ["f"]);
}

#[tokio::test]
async fn what_a_killed_process_left_is_swept() {
    let home = Home::new();
    let local = home.write("original", b"weights");
    let entry = home.model(&[("f", b"weights", &[path_source(&local)])]);
    let dir = home.cache().model_dir(&entry);
    fs::create_dir_all(dir.join(".part-wheel")).expect("the temporary folder can be written");
    fs::write(dir.join(".part-wheel/x.whl"), b"half").expect("the folder can be written");
    fs::write(dir.join(".part-f"), b"half").expect("the folder can be written");
    fs::write(dir.join("notes.txt"), b"mine").expect("the folder can be written");
    home.pull(&entry).await.expect("the file is there");
    assert_eq!(home.in_cache(), ["f", "notes.txt"]);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "its handle is awaited")]
async fn two_pulls_at_once_fetch_once() {
    let content = vec![3; 300_000];
    let server = Server::start(Reply::Whole(content.clone())).await;
    let mut home = Home::new();
    home.sources.hub_endpoint = server.address.clone();
    let entry = Arc::new(home.model(&[("f", &content, &[HUB.to_owned()])]));
    let pulls: Vec<_> = (0..4)
        .map(|_| {
            let (entry, cache) = (Arc::clone(&entry), home.cache());
            let sources = home.sources.clone();
            tokio::spawn(async move { pull(&entry, &cache, &sources, &()).await })
        })
        .collect();
    for pull in pulls {
        pull.await
            .expect("no pull panics")
            .expect("every pull ends well");
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(home.in_cache(), ["f"]);
}

#[tokio::test]
async fn a_pull_waits_for_another_process_and_not_for_ever() {
    let mut home = Home::new();
    let local = home.write("original", b"weights");
    let entry = home.model(&[("f", b"weights", &[path_source(&local)])]);
    let dir = home.cache().model_dir(&entry);
    fs::create_dir_all(&dir).expect("the temporary folder can be written");
    let lock = fs::File::create(dir.join(".lock")).expect("the folder can be written");
    lock.lock().expect("nobody else holds it");

    home.sources.limits.lock_wait = Duration::from_millis(250);
    let busy = home.pull(&entry).await.expect_err("the lock is held");
    assert!(matches!(busy, PullError::Busy { .. }), "{busy}");
    assert_eq!(home.heard.lines(), ["waiting m"]);

    home.sources.limits.lock_wait = Duration::from_secs(60);
    home.heard = Heard::default();
    let (pulled, ()) = tokio::join!(home.pull(&entry), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        drop(lock);
    });
    pulled.expect("the lock came free");
    assert_eq!(home.heard.lines()[..2], ["waiting m", "started f"]);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_named() {
    let home = Home::new();
    let local = home.write("original", b"weights");
    let entry = home.model(&[("f", b"weights", &[path_source(&local)])]);
    let cache = Cache::new(&local);
    let error = pull(&entry, &cache, &home.sources, &home.heard).await;
    let error = error.expect_err("a file is no folder");
    assert!(matches!(error, PullError::Cache { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.starts_with("cannot write to the model cache "),
        "{text}"
    );
    assert!(text.contains("original/models/m"), "{text}");
}

/// Waits until something was written under a temporary name.
async fn half_a_file(home: &Home) {
    let written = |name: &String| {
        let part = home.path("cache/models/m").join(name);
        name.starts_with(".part-") && part.metadata().is_ok_and(|file| file.len() > 0)
    };
    for _ in 0..500 {
        if home.in_cache().iter().any(written) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing was written");
}
