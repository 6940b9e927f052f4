//! Streams with neighbours: one for each, whoever dialed it. Where both did, what comes is read from both and each
//! writes on its own. Whoever does not take what is sent, or says nothing, is no neighbour.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kwaainet_core::{Clock, NodeId};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::MESSAGE_MAX;
use crate::control::allowance::Allowance;
use crate::control::tasks::Tasks;
use crate::control::wire::GossipFrame;
use crate::{FrameError, FrameReader, FrameWriter, Link, PeerTransport, Plane};

/// Until a stream to a node is there.
const DIAL_WITHIN: Duration = Duration::from_secs(4);
/// Messages that wait for a neighbour to take them.
const WAITING_MAX: usize = 128;
/// Messages that a neighbour may send at once, and each second.
const BURST: f64 = 1_500.0;
const RATE: f64 = 500.0;
/// Everybody says something at least so often: its own news, or that it has those of others.
const QUIET_MAX: Duration = Duration::from_secs(50);
/// For what was sent last to be read.
const FAREWELL: Duration = Duration::from_millis(500);

/// What comes from a line.
pub(super) enum Inbound {
    Message {
        node: NodeId,
        line: u64,
        bytes: Bytes,
    },
    /// Nothing more comes.
    Ended {
        node: NodeId,
        line: u64,
        /// If it is the other side's fault.
        why: Option<&'static str>,
    },
}

/// All lines.
pub(super) struct Lines {
    lines: BTreeMap<NodeId, Line>,
    last: u64,
    transport: Arc<dyn PeerTransport>,
    tasks: Tasks,
    heard: mpsc::Sender<Inbound>,
    clock: Arc<dyn Clock>,
}

struct Line {
    id: u64,
    queue: mpsc::Sender<Bytes>,
    close: CancellationToken,
    dialed: bool,
    /// There is a stream that the other side dialed too.
    both: bool,
    announced: u64,
}

impl Lines {
    pub(super) fn new(
        transport: Arc<dyn PeerTransport>,
        tasks: Tasks,
        heard: mpsc::Sender<Inbound>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            lines: BTreeMap::new(),
            last: 0,
            transport,
            tasks,
            heard,
            clock,
        }
    }

    /// Sends a message, on a new stream if there is none; false if the node takes no more.
    pub(super) fn send(&mut self, node: NodeId, bytes: Bytes) -> bool {
        if !self.lines.contains_key(&node) {
            self.dial(node);
        }
        let sent = self
            .lines
            .get(&node)
            .is_some_and(|line| line.queue.try_send(bytes).is_ok());
        if !sent {
            self.cut(node);
        }
        sent
    }

    fn dial(&mut self, node: NodeId) {
        let (talk, queue) = self.line(node, true);
        let transport = Arc::clone(&self.transport);
        self.tasks.spawn(async move {
            let dialing = timeout(DIAL_WITHIN, transport.dial(node, Plane::Gossip));
            let link = tokio::select! {
                () = talk.close.cancelled() => None,
                dialed = dialing => dialed.ok().and_then(Result::ok),
            };
            match link {
                Some(link) => talk.run(link, Some(queue)).await,
                None => talk.end(None).await,
            }
        });
    }

    /// Uses a stream that a member opened. A second one that it opened means that it lost the first.
    pub(super) fn accept(&mut self, node: NodeId, link: Link) {
        if let Some(line) = self.lines.get_mut(&node)
            && line.dialed
            && !line.both
        {
            line.both = true;
            let (id, close) = (line.id, line.close.clone());
            let talk = self.talk(node, id, close);
            return self.tasks.spawn(async move { talk.run(link, None).await });
        }
        self.cut(node);
        let (talk, queue) = self.line(node, false);
        self.tasks
            .spawn(async move { talk.run(link, Some(queue)).await });
    }

    fn line(&mut self, node: NodeId, dialed: bool) -> (Talk, mpsc::Receiver<Bytes>) {
        self.last += 1;
        let (sender, queue) = mpsc::channel(WAITING_MAX);
        let line = Line {
            id: self.last,
            queue: sender,
            close: CancellationToken::new(),
            dialed,
            both: false,
            announced: 0,
        };
        let talk = self.talk(node, line.id, line.close.clone());
        self.lines.insert(node, line);
        (talk, queue)
    }

    fn talk(&self, node: NodeId, line: u64, close: CancellationToken) -> Talk {
        Talk {
            node,
            line,
            close,
            heard: self.heard.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Ends a line once all is sent.
    pub(super) fn close(&mut self, node: NodeId) {
        self.lines.remove(&node);
    }

    /// Ends a line at once.
    pub(super) fn cut(&mut self, node: NodeId) {
        if let Some(line) = self.lines.remove(&node) {
            line.close.cancel();
        }
    }

    pub(super) fn is_current(&self, node: NodeId, line: u64) -> bool {
        self.lines
            .get(&node)
            .is_some_and(|current| current.id == line)
    }

    /// A line is over. Returns whether there is none with this node any more.
    pub(super) fn ended(&mut self, node: NodeId, line: u64) -> bool {
        if self.is_current(node, line) {
            self.cut(node);
        }
        !self.lines.contains_key(&node)
    }

    /// Counts what a neighbour announces; all of it since the line began.
    pub(super) fn announced(&mut self, node: NodeId, count: u64) -> u64 {
        let Some(line) = self.lines.get_mut(&node) else {
            return 0;
        };
        line.announced += count;
        line.announced
    }
}

/// One stream.
struct Talk {
    node: NodeId,
    line: u64,
    close: CancellationToken,
    heard: mpsc::Sender<Inbound>,
    clock: Arc<dyn Clock>,
}

impl Talk {
    /// Reads, and writes what is in the queue; without one only reads.
    async fn run(self, link: Link, queue: Option<mpsc::Receiver<Bytes>>) {
        let Link { reader, writer } = link;
        let reader = FrameReader::new(reader, MESSAGE_MAX + 16);
        let writer = FrameWriter::new(writer);
        let writing = async {
            match queue {
                Some(queue) => write(writer, queue).await,
                // Held open: its end would be taken for the end of all.
                None => hold(writer).await,
            }
        };
        let why = tokio::select! {
            biased;
            () = self.close.cancelled() => None,
            why = self.read(reader) => why,
            _ = writing => None,
        };
        self.end(why).await;
    }

    async fn read<R: tokio::io::AsyncRead + Unpin>(
        &self,
        mut reader: FrameReader<R>,
    ) -> Option<&'static str> {
        let mut allowance = Allowance::new(BURST, RATE, self.clock.monotonic());
        loop {
            let next = timeout(QUIET_MAX, reader.next::<GossipFrame>()).await;
            let bytes = match next {
                Ok(Ok(Some(frame))) => frame.message,
                Ok(Ok(None) | Err(FrameError::Broken(_))) | Err(_) => return None,
                Ok(Err(_)) => return Some("it does not keep to the protocol"),
            };
            if !allowance.takes(self.clock.monotonic()) {
                return Some("it sends too much");
            }
            let (node, line) = (self.node, self.line);
            let message = Inbound::Message { node, line, bytes };
            if self.heard.send(message).await.is_err() {
                return None;
            }
        }
    }

    async fn end(self, why: Option<&'static str>) {
        self.close.cancel();
        let (node, line) = (self.node, self.line);
        // Nobody listens once the node leaves.
        let _ = self.heard.send(Inbound::Ended { node, line, why }).await;
    }
}

async fn hold<W>(_writer: FrameWriter<W>) -> Result<(), FrameError> {
    std::future::pending().await
}

async fn write<W: tokio::io::AsyncWrite + Unpin>(
    mut writer: FrameWriter<W>,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<(), FrameError> {
    while let Some(message) = queue.recv().await {
        writer.send(&GossipFrame { message }).await?;
    }
    writer.finish().await?;
    tokio::time::sleep(FAREWELL).await;
    Ok(())
}
