//! The Hugging Face hub, played by a server on loopback.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use kwaainet_models::{HubToken, ModelFile, Progress, Source, SourceError, pull};
use tokio::net::{TcpListener, TcpSocket};

use crate::home::{Home, path_source, reasons};
use crate::server::{Reply, Server};

const CONTENT: &[u8] = b"the weights of a very small model";

fn hub() -> String {
    "hub = \"owner/repo\"\nrevision = \"v1\"\nfile = \"sub/model.gguf\"".to_owned()
}

/// A home with a model that only this server has.
async fn home_with(reply: Reply) -> (Home, Server) {
    let server = Server::start(reply).await;
    let mut home = Home::new();
    home.sources.hub_endpoint = server.address.clone();
    (home, server)
}

/// Pulls from a server that does this first and from a local file then. Gives the server's fault.
async fn fault_of(reply: Reply, idle: Duration) -> String {
    let (mut home, _server) = home_with(reply).await;
    home.sources.limits.idle = idle;
    let local = home.write("original", CONTENT);
    let entry = home.model(&[("f.gguf", CONTENT, &[hub(), path_source(&local)])]);
    let files = home.pull(&entry).await.expect("the second source has it");
    let pulled = fs::read(&files.files()[0]).expect("it is there");
    assert_eq!(pulled, CONTENT);
    assert_eq!(home.in_cache(), ["f.gguf"]);
    let lines = home.heard.lines();
    let failed = lines.iter().find_map(|line| line.strip_prefix("failed "));
    failed.expect("the first source failed").to_owned()
}

const PATIENT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_file_comes_from_the_hub() {
    let (home, server) = home_with(Reply::Whole(CONTENT.to_vec())).await;
    let entry = home.model(&[("f.gguf", CONTENT, &[hub()])]);
    let files = home.pull(&entry).await.expect("the server has it");
    assert_eq!(fs::read(&files.files()[0]).expect("it is there"), CONTENT);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("get /owner/repo/resolve/v1/sub/model.gguf http/1.1"));
    assert!(!requests[0].contains("authorization"));
    let expected = ["started f.gguf", "trying hub", "advanced 33", "done f.gguf"];
    assert_eq!(home.heard.lines(), expected);
}

#[tokio::test]
async fn a_body_without_a_length_is_verified_as_well() {
    let (home, _server) = home_with(Reply::Unsized(CONTENT.to_vec())).await;
    let entry = home.model(&[("f.gguf", CONTENT, &[hub()])]);
    assert!(home.pull(&entry).await.is_ok());
}

#[tokio::test]
async fn other_bytes_of_the_right_size_are_refused() {
    let mut other = CONTENT.to_vec();
    other[0] ^= 1;
    let fault = fault_of(Reply::Whole(other), PATIENT).await;
    assert!(fault.starts_with("its SHA-256 is "), "{fault}");
}

#[tokio::test]
async fn another_size_is_refused_before_the_first_byte() {
    let fault = fault_of(Reply::Stalls(1_000_000, Vec::new()), PATIENT).await;
    assert_eq!(fault, "it has 1000000 bytes instead of 33");
}

#[tokio::test]
async fn a_body_cut_short_is_refused() {
    let cut = Reply::CutShort(CONTENT.len(), CONTENT[..10].to_vec());
    let fault = fault_of(cut, PATIENT).await;
    assert!(fault.starts_with("the transfer broke off: "), "{fault}");
    let fault = fault_of(Reply::Unsized(CONTENT[..10].to_vec()), PATIENT).await;
    assert_eq!(fault, "it has 10 bytes instead of 33");
}

#[tokio::test]
async fn an_endless_body_is_left_at_the_expected_size() {
    let fault = fault_of(Reply::Endless, PATIENT).await;
    assert_eq!(fault, "it has more than the expected 33 bytes");
}

#[tokio::test]
async fn a_status_that_is_not_ok_is_named() {
    let fault = fault_of(Reply::Status(404), PATIENT).await;
    assert_eq!(fault, "the server answered with status 404");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let stalls = Reply::Stalls(CONTENT.len(), CONTENT[..10].to_vec());
    assert_eq!(fault_of(stalls, SHORT).await, "nothing came for 0.2 s");
    assert_eq!(
        fault_of(Reply::Silent, SHORT).await,
        "nothing came for 0.2 s"
    );
}

#[tokio::test]
async fn redirects_in_circles_end() {
    let circle = Reply::Redirect("/again".to_owned());
    let fault = fault_of(circle, PATIENT).await;
    assert_eq!(fault, "the transfer broke off: too many redirects");
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_not_where_it_redirects() {
    let store = Server::start(Reply::Whole(CONTENT.to_vec())).await;
    let (mut home, server) = home_with(Reply::Redirect(store.address.clone())).await;
    home.sources.hub_token = Some(HubToken::new("hf_secret"));
    let entry = home.model(&[("f.gguf", CONTENT, &[hub()])]);
    home.pull(&entry).await.expect("the store has it");
    assert!(server.requests()[0].contains("authorization: bearer hf_secret"));
    assert!(!store.requests()[0].contains("hf_secret"));
    assert!(!format!("{:?}", home.sources).contains("hf_secret"));
}

#[tokio::test]
async fn a_hub_that_nobody_answers_for_is_asked_once() {
    // Bound and not listening: the port is ours, and connections are refused.
    let socket = TcpSocket::new_v4().expect("there is a network");
    let loopback = "127.0.0.1:0".parse().expect("an address");
    socket.bind(loopback).expect("loopback has a free port");
    let port = socket.local_addr().expect("it is bound").port();
    let mut home = Home::new();
    home.sources.hub_endpoint = format!("http://127.0.0.1:{port}");
    home.sources.limits.idle = SHORT;
    let local = home.write("original", CONTENT);
    let sources = [hub(), path_source(&local)];
    let entry = home.model(&[("a", CONTENT, &sources), ("b", CONTENT, &sources[..1])]);

    let late = ListensLate {
        socket: Mutex::new(Some(socket)),
        listener: Mutex::default(),
    };
    let reasons = reasons(pull(&entry, &home.cache(), &home.sources, &late).await);
    // Asked again, it would have taken the connection and said nothing.
    let [SourceError::Unreachable(why)] = reasons.as_slice() else {
        panic!("nobody listened at first: {reasons:?}");
    };
    assert!(why.to_lowercase().contains("refused"), "{why}");
    // What was verified stays: the next pull has less to do.
    assert_eq!(home.in_cache(), ["a"]);
}

/// Starts to listen when a source has failed.
struct ListensLate {
    socket: Mutex<Option<TcpSocket>>,
    listener: Mutex<Option<TcpListener>>,
}

impl Progress for ListensLate {
    fn source_failed(&self, _: &ModelFile, _: &Source, _: &SourceError) {
        if let Some(socket) = self.socket.lock().expect("no holder panics").take() {
            let listener = socket.listen(8).expect("it is bound");
            *self.listener.lock().expect("no holder panics") = Some(listener);
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_no_address_is_said_to_be_none() {
    let mut home = Home::new();
    home.sources.hub_endpoint = "not an address".to_owned();
    let entry = home.model(&[("f.gguf", CONTENT, &[hub()])]);
    let error = home
        .pull(&entry)
        .await
        .expect_err("there is nothing to ask");
    let text = error.to_string();
    assert!(
        text.contains("'not an address' is not an address"),
        "{text}"
    );
}
