//! A node in this process without a socket. When it is dropped it checks what must always hold:
//! every place came home and nothing runs on. [`TestNode::settled`] adds that receipts equal
//! admissions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use kwaainet::config::Config;
use kwaainet::node::{Assembled, Node, Parts};
use kwaainet_core::{
    Admission, AdmissionLoad, ApiKey, Backend, KeyRecord, ManualClock, Snapshot, SystemClock,
};
use kwaainet_identity::NodeKey;
use kwaainet_storage::SharingKey;
use kwaainet_store::{DocumentStore, Store};
use kwaainet_testkit::{Script, ScriptHandle, ScriptedBackend};
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;

pub(crate) const MODEL: &str = "scripted";
pub(crate) const EMBEDDER: &str = "scripted-vectors";
pub(crate) const LISTENER: &str = "scripted-ears";
pub(crate) const CONTEXT: u32 = 100;

/// How long anything that must happen may take before a test gives up on it.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct TestNode {
    assembled: Option<Assembled>,
    pub(crate) script: ScriptHandle,
    pub(crate) store: Store,
    config: Config,
    dir: Option<tempfile::TempDir>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The error object: status, type, code, param.
    pub(crate) fn error(&self) -> (u16, String, Option<String>, Option<String>) {
        let error = &self.json()["error"];
        let text = |field: &str| error[field].as_str().map(str::to_owned);
        let fields = error
            .as_object()
            .unwrap_or_else(|| panic!("no error: {}", self.text));
        let mut names: Vec<_> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["code", "message", "param", "type"]);
        assert!(text("message").is_some_and(|message| !message.is_empty()));
        let kind = text("type").expect("a type");
        (self.status.as_u16(), kind, text("code"), text("param"))
    }

    /// The data of each server-sent event.
    pub(crate) fn events(&self) -> Vec<String> {
        let data = |event: &str| event.strip_prefix("data: ").map(str::to_owned);
        self.text.split("\n\n").filter_map(data).collect()
    }

    /// The chunks of a stream that ended well.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let mut events = self.events();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"));
        let parse = |event: &String| serde_json::from_str(event).expect("chunks are JSON");
        events.iter().map(parse).collect()
    }
}

impl TestNode {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self::on(config, dir).await
    }

    async fn on(config: Config, dir: tempfile::TempDir) -> Self {
        let parts = parts_on(config.clone(), &dir).await;
        Self::of(parts, config, dir).await
    }

    /// A node that has these backends too, after its own.
    pub(crate) async fn beside(others: Vec<ScriptedBackend>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = Config::default();
        let (mut parts, script) = parts_on(config.clone(), &dir).await;
        let others = others
            .into_iter()
            .map(|other| Arc::new(other) as Arc<dyn Backend>);
        parts.backends.extend(others);
        Self::of((parts, script), config, dir).await
    }

    /// A node whose energy and carbon are known so.
    pub(crate) async fn metered(config: Config, carbon: kwaainet::carbon::Setup) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (mut parts, script) = parts_on(config.clone(), &dir).await;
        parts.carbon = Some(carbon);
        Self::of((parts, script), config, dir).await
    }

    /// A node whose key is sealed, and nobody opened it.
    pub(crate) async fn locked(config: Config) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (mut parts, script) = parts_on(config.clone(), &dir).await;
        parts.key = None;
        Self::of((parts, script), config, dir).await
    }

    /// Its file of documents, to be written as an earlier version did.
    pub(crate) async fn documents(&self) -> DocumentStore {
        let path = self.data_dir().join("storage.db");
        DocumentStore::open(&path).await.expect("it opens").0
    }

    /// What routing knows.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.assembled().app.hallway.snapshot()
    }

    /// A key with these scopes, as its owner has it.
    pub(crate) async fn key(&self, scopes: &str) -> String {
        let key = ApiKey::generate();
        let record = KeyRecord {
            id: key.id().clone(),
            name: "a test".to_owned(),
            hash: key.hash(),
            scopes: scopes.parse().expect("they are scopes"),
            created_at_ms: 1,
            expires_at_ms: None,
            revoked_at_ms: None,
            last_used_at_ms: None,
        };
        self.store.insert_key(&record).await.expect("it is stored");
        let public = SharingKey::of(key.sharing_secret().bytes()).public();
        let noted = self.store.note_sharing_key(key.id(), &public).await;
        noted.expect("it is stored");
        key.reveal()
    }

    /// A node whose time the test moves.
    pub(crate) async fn at(clock: Arc<ManualClock>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = Config::default();
        let (mut parts, script) = parts_on(config.clone(), &dir).await;
        parts.clock = clock;
        Self::of((parts, script), config, dir).await
    }

    async fn of(
        (parts, script): (Parts, ScriptHandle),
        config: Config,
        dir: tempfile::TempDir,
    ) -> Self {
        let store = parts.store.clone();
        let assembled = Assembled::new(parts).await;
        assembled.work_alone().await;
        Self {
            assembled: Some(assembled),
            script,
            store,
            config,
            dir: Some(dir),
        }
    }

    /// Where its data lies.
    pub(crate) fn data_dir(&self) -> &Path {
        self.dir.as_ref().expect("it is there until dropped").path()
    }

    /// A new node with the data of this one, which ends without waiting for anything.
    pub(crate) async fn restarted(mut self) -> Self {
        let assembled = self.assembled.take().expect("it is there until dropped");
        assembled.app.hallway.admission().drain();
        assembled.close().await;
        let dir = self.dir.take().expect("it is there until dropped");
        let config = self.config.clone();
        drop(self);
        Self::on(config, dir).await
    }

    fn assembled(&self) -> &Assembled {
        self.assembled.as_ref().expect("it is there until dropped")
    }

    pub(crate) fn admission(&self) -> &Admission {
        self.assembled().app.hallway.admission()
    }

    /// Sends a request; the answer's body is not yet read.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        let router = self.assembled().router.clone();
        router
            .oneshot(request)
            .await
            .expect("the router never fails")
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        read(self.send(request).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(post(path, body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask(put(path, body.to_string())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(get(path)).await
    }

    /// Waits until nothing runs: also after a restart, when receipts are more than were admitted since.
    pub(crate) async fn comes_to_rest(&self) {
        let rests = async {
            while self.admission().load().running > 0 || self.script.counts().alive > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SOON, rests)
            .await
            .expect("it comes to rest");
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(delete(path)).await
    }

    /// Where the node's database lies.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.dir.as_ref().expect("it was not taken").path()
    }

    /// Cuts what is made without its client, as a stopping node does.
    pub(crate) async fn stop_background(&self) {
        let app = &self.assembled().app;
        app.background.drain(Duration::ZERO, &app.cut).await;
    }

    /// Waits until nothing runs and every receipt is written, and gives their counts.
    pub(crate) async fn settled(&self) -> [u64; 3] {
        let idle = AdmissionLoad {
            running: 0,
            waiting: 0,
        };
        let settled = async {
            loop {
                let counts = self.store.receipt_counts().await.expect("it answers");
                let written: u64 = counts.iter().sum();
                if self.admission().load() == idle
                    && self.script.counts().alive == 0
                    && written == self.admission().admitted()
                {
                    return counts;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SOON, settled)
            .await
            .expect("it comes to rest")
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if std::thread::panicking() || self.assembled.is_none() {
            return;
        }
        let load = self.admission().load();
        assert_eq!(
            (load.running, load.waiting),
            (0, 0),
            "every place comes home"
        );
        assert_eq!(self.script.counts().alive, 0, "nothing runs on");
    }
}

/// A node on a real socket.
pub(crate) async fn listening(config: Config) -> (Node, ScriptHandle, tempfile::TempDir) {
    let (parts, script, dir) = parts(config).await;
    let node = Node::start(parts).await.expect("it starts");
    (node, script, dir)
}

pub(crate) async fn parts(config: Config) -> (Parts, ScriptHandle, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (parts, script) = parts_on(config, &dir).await;
    (parts, script, dir)
}

async fn parts_on(mut config: Config, dir: &tempfile::TempDir) -> (Parts, ScriptHandle) {
    config.data_dir = dir.path().to_owned();
    config.listen = "127.0.0.1:0".parse().expect("it is an address");
    let backend = ScriptedBackend::builder("scripted")
        .generator(MODEL, CONTEXT)
        .embedder(EMBEDDER, CONTEXT, 8)
        .listener(LISTENER)
        .script(Script::words(4))
        .build();
    let script = backend.handle();
    let (readiness, not_ready) = watch::channel(None);
    drop(readiness);
    let parts = Parts {
        store: Store::open(&config.database()).await.expect("it opens"),
        documents: DocumentStore::open(&config.documents())
            .await
            .expect("it opens"),
        config,
        clock: Arc::new(SystemClock::default()),
        backends: vec![Arc::new(backend)],
        engine: None,
        shelf: None,
        key: Some(NodeKey::from_seed(&[7; 32])),
        history: kwaainet_identity::KeyHistory::default(),
        federation: None,
        carbon: None,
        not_ready,
    };
    (parts, script)
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(body.into())
        .expect("it is a request")
}

pub(crate) fn put(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::put(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(body.into())
        .expect("it is a request")
}

pub(crate) fn get(path: &str) -> Request<Body> {
    let request = Request::get(path).header("host", "localhost");
    request.body(Body::empty()).expect("it is a request")
}

pub(crate) fn delete(path: &str) -> Request<Body> {
    let request = Request::delete(path).header("host", "localhost");
    request.body(Body::empty()).expect("it is a request")
}

pub(crate) async fn read(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("the body is whole").to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(bytes.to_vec()).expect("answers are UTF-8"),
    }
}
