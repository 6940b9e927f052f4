//! How two nodes begin to talk: a hello, and a welcome or a refusal. Short messages and short times, since
//! whoever sends them may be anybody.

use std::time::Duration;

use kwaainet_core::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::refusal::Refusal;
use super::wire::{Answer, AnswerKind, Card, Hello, Reason, Refused, Welcome};
use crate::{DialError, FrameError, FrameReader, FrameWriter, Link, PeerTransport, Plane};

/// The protocols that this version speaks: from the first to the second.
pub(crate) const PROTOCOLS: (u32, u32) = (1, 1);
/// Bytes of a hello and of its answer, invitation included.
const GREETING_MAX: usize = 8 << 10;
/// Until a hello is there.
const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// Until it is answered,
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// also where an invitation has to be looked up.
const INVITED_WITHIN: Duration = Duration::from_secs(5);
/// Until a stream to a node is there.
const DIAL_WITHIN: Duration = Duration::from_secs(3);
/// For a refusal to be read before the stream is dropped.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// A control stream in messages.
pub(crate) struct Lines {
    pub(crate) reader: FrameReader<Box<dyn AsyncRead + Send + Unpin>>,
    pub(crate) writer: FrameWriter<Box<dyn AsyncWrite + Send + Unpin>>,
}

impl From<Link> for Lines {
    fn from(link: Link) -> Self {
        Self {
            reader: FrameReader::new(link.reader, GREETING_MAX),
            writer: FrameWriter::new(link.writer),
        }
    }
}

/// Why no control stream to a node came about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No stream did.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The stream broke off.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The answer did not come, or was none.
    #[error("the node did not answer the hello")]
    NoAnswer,
    /// The node does not want this one.
    #[error("{}", refusal(.0))]
    Refused(Refused),
}

impl CallError {
    /// For whoever looks at the peers: without addresses.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Dial(DialError::NoAddress(_)) => "no address is known of it",
            Self::Dial(DialError::Closed) => "this node is shutting down",
            Self::Dial(DialError::Unreachable { .. } | DialError::Timeout(_)) => {
                "it cannot be reached"
            }
            Self::Frame(_) | Self::NoAnswer => "it does not answer",
            Self::Refused(refused) => refusal(refused),
        }
    }
}

/// A refusal in words.
fn refusal(refused: &Refused) -> &'static str {
    let reason = Reason::try_from(refused.reason).unwrap_or(Reason::Unknown);
    Refusal::from(reason).words()
}

impl Refused {
    /// For a reason that needs no more words.
    pub(crate) fn because(reason: Reason) -> Self {
        Self {
            reason: reason.into(),
            known: 0,
            instead: Vec::new(),
        }
    }
}

impl Hello {
    /// This node's, with what it shows to be let in.
    pub(crate) fn of(card: Card, invitation: Option<Vec<u8>>, introductions: Vec<Vec<u8>>) -> Self {
        Self {
            protocol_min: PROTOCOLS.0,
            protocol_max: PROTOCOLS.1,
            card: Some(card),
            invitation,
            introductions,
        }
    }

    /// The highest protocol that both speak.
    pub(crate) fn protocol(&self) -> Option<u32> {
        let highest = self.protocol_max.min(PROTOCOLS.1);
        (highest >= self.protocol_min.max(PROTOCOLS.0)).then_some(highest)
    }
}

/// Says hello to a node.
pub(crate) async fn call(
    transport: &dyn PeerTransport,
    node: NodeId,
    hello: Hello,
) -> Result<(Welcome, Lines), CallError> {
    let dialed = timeout(DIAL_WITHIN, transport.dial(node, Plane::Control)).await;
    let mut lines = Lines::from(dialed.map_err(|_| DialError::Timeout(node))??);
    let within = match hello.invitation {
        Some(_) => INVITED_WITHIN,
        None => ANSWER_WITHIN,
    };
    let answered = timeout(within, async {
        lines.writer.send(&hello).await?;
        lines.reader.next::<Answer>().await
    });
    let answer = answered.await.map_err(|_| CallError::NoAnswer)??;
    match answer.and_then(|answer| answer.kind) {
        Some(AnswerKind::Welcome(welcome)) => Ok((welcome, lines)),
        Some(AnswerKind::Refused(refused)) => Err(CallError::Refused(refused)),
        None => Err(CallError::NoAnswer),
    }
}

/// The hello of a node that dialed this one.
pub(crate) async fn hear(lines: &mut Lines) -> Result<Hello, FrameError> {
    let heard = timeout(HELLO_WITHIN, lines.reader.next::<Hello>()).await;
    let none = || FrameError::Broken(std::io::ErrorKind::UnexpectedEof.into());
    heard.map_err(|_| FrameError::TooSlow)??.ok_or_else(none)
}

/// Refuses a node, and sees that it can read so.
pub(crate) async fn refuse(mut lines: Lines, refused: Refused) {
    let kind = Some(AnswerKind::Refused(refused));
    let refusing = async {
        lines.writer.send(&Answer { kind }).await?;
        lines.writer.finish().await?;
        lines.reader.next::<Hello>().await
    };
    // Whether it was read makes no difference to this node.
    let _ = timeout(REFUSED_WITHIN, refusing).await;
}
