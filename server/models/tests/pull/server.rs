//! A hub on loopback that answers as it is told, one connection per request.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to answer.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Everything, with its length.
    Whole(Vec<u8>),
    /// No length; the end of the connection is the end of the body.
    Unsized(Vec<u8>),
    /// Promises so many bytes, sends fewer and closes.
    CutShort(usize, Vec<u8>),
    /// Promises so many bytes, sends fewer and stays silent.
    Stalls(usize, Vec<u8>),
    /// Never answers.
    Silent,
    /// A status and no more.
    Status(u16),
    /// Go there.
    Redirect(String),
    /// Zeros without end.
    Endless,
}

/// Stops with the test.
pub(crate) struct Server {
    pub(crate) address: String,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "the server holds its handle")]
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (reply, log) = (reply.clone(), Arc::clone(&log));
                // A client that leaves early is part of the tests.
                connections.spawn(async move { serve(stream, reply, &log).await.ok() });
            }
        });
        Self {
            address: format!("http://127.0.0.1:{port}"),
            heads,
            task,
        }
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.heads.lock().expect("no holder panics").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, reply: Reply, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    log.lock().expect("no holder panics").push(head);
    match reply {
        Reply::Whole(body) => send(&mut stream, Some(body.len()), &body).await,
        Reply::Unsized(body) => send(&mut stream, None, &body).await,
        Reply::CutShort(length, body) => send(&mut stream, Some(length), &body).await,
        Reply::Stalls(length, body) => {
            send(&mut stream, Some(length), &body).await?;
            std::future::pending().await
        }
        Reply::Silent => std::future::pending().await,
        Reply::Status(status) => {
            let head = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
        Reply::Redirect(to) => {
            let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await
        }
        Reply::Endless => {
            send(&mut stream, None, &[]).await?;
            loop {
                stream.write_all(&[0; 4096]).await?;
            }
        }
    }
}

async fn send(stream: &mut TcpStream, length: Option<usize>, body: &[u8]) -> io::Result<()> {
    let length = length.map_or(String::new(), |n| format!("content-length: {n}\r\n"));
    let head = format!("HTTP/1.1 200 OK\r\n{length}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await
}
