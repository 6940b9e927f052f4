//! The listening socket: accepts a bounded number of connections, and lets them finish.

mod stall;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use stall::StallGuard;

/// How long a client may take for the head of a request, also the first of a connection.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a client may take nothing of an answer that is there for it.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long clients may take to hear that their jobs were cut.
const FAREWELL: Duration = Duration::from_secs(1);

/// How serving ends.
pub(crate) struct Ending {
    /// Cancelled when the node has to stop.
    pub(crate) stop: CancellationToken,
    /// To be cancelled when running jobs have to end now.
    pub(crate) cut: CancellationToken,
    /// How long requests under way may take until then.
    pub(crate) drain: Duration,
}

/// Serves until told to stop, then waits for the requests under way, but not for ever.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    ending: Ending,
) {
    let Ending { stop, cut, drain } = ending;
    let tasks = TaskTracker::new();
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(connections_max));
    let hang_up = CancellationToken::new();
    loop {
        // Waiting for room before accepting leaves further clients in the kernel's queue.
        let place = tokio::select! {
            place = Arc::clone(&room).acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (Ok(place), Ok((stream, _))) = (place, stream) else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = connection(stream, router.clone());
        let connection = graceful.watch(connection);
        let hang_up = hang_up.clone();
        tasks.spawn(async move {
            tokio::select! {
                // An error here is the client's: it left, or it does not speak HTTP.
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                }
                () = hang_up.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    let mut finished = pin!(graceful.shutdown());
    if tokio::time::timeout(drain, &mut finished).await.is_err() {
        tracing::warn!(
            "requests are still running after {} s and are cut",
            drain.as_secs()
        );
        cut.cancel();
        drop(tokio::time::timeout(FAREWELL, finished).await);
    }
    hang_up.cancel();
    tasks.wait().await;
}

fn connection(
    stream: TcpStream,
    router: Router,
) -> http1::Connection<TokioIo<StallGuard<TcpStream>>, TowerToHyperService<Router>> {
    // Small pieces of a stream have to leave at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(
            TokioIo::new(StallGuard::new(stream, STALL_MAX)),
            TowerToHyperService::new(router),
        )
}
