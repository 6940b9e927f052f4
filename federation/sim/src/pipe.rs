//! One direction of a stream: bytes that arrive late, in order, through a window.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use kwaainet_core::NodeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::{Net, Way};

/// Bytes that were written and not read, at most.
const WINDOW: usize = 128 << 10;

/// What both ends share.
pub(crate) struct Pipe {
    net: Net,
    way: Way,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    segments: VecDeque<Segment>,
    unread: usize,
    reader_gone: bool,
    /// Broken off, as the end sees it.
    reader_broken: bool,
    writer_broken: bool,
    /// What is done with the first byte.
    first: Option<Box<dyn FnOnce(Instant) + Send>>,
    wakers: Vec<Waker>,
}

struct Segment {
    at: Instant,
    /// Whether it was lost on its first way.
    again: bool,
    /// None at the end.
    bytes: Option<VecDeque<u8>>,
}

impl State {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Pipe {
    /// One for this way, and its ends. `first` is called with the time at which the first byte arrives.
    pub(crate) fn open(
        net: &Net,
        way: Way,
        first: Option<Box<dyn FnOnce(Instant) + Send>>,
    ) -> (Arc<Self>, Writer, Reader) {
        let state = State {
            first,
            ..State::default()
        };
        let pipe = Arc::new(Self {
            net: net.clone(),
            way,
            state: Mutex::new(state),
        });
        let writer = Writer(Arc::clone(&pipe));
        let reader = Reader {
            pipe: Arc::clone(&pipe),
            sleep: Box::pin(sleep_until(Instant::now())),
        };
        (pipe, writer, reader)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node broke it off. The other side learns of it if anything gets there.
    pub(crate) fn break_off(&self, by: NodeId, other_learns: bool) {
        let mut state = self.state();
        let by_writer = self.way.from == by;
        state.writer_broken |= by_writer || other_learns;
        state.reader_broken |= !by_writer || other_learns;
        state.wake();
    }

    /// The node that writes died: what was lost on its way is not sent again.
    pub(crate) fn writer_died(&self) {
        let mut state = self.state();
        if let Some(lost) = state.segments.iter().position(|segment| segment.again) {
            state.segments.truncate(lost);
        }
    }

    /// Whether the node is the one that writes.
    pub(crate) fn writes(&self, node: NodeId) -> bool {
        self.way.from == node
    }

    /// Sends bytes, or the end. Returns what is to be done once the pipe is not locked any more: it may drop the
    /// other end.
    fn put(&self, state: &mut State, bytes: Option<&[u8]>) -> impl FnOnce() + use<> {
        let (mut at, again) = self.net.arrival(bytes.map_or(0, <[u8]>::len));
        if let Some(last) = state.segments.back() {
            at = at.max(last.at);
        }
        state.segments.push_back(Segment {
            at,
            again,
            bytes: bytes.map(|bytes| bytes.iter().copied().collect()),
        });
        state.wake();
        let first = state.first.take();
        move || {
            if let Some(first) = first {
                first(at);
            }
        }
    }
}

/// Where bytes go in.
pub(crate) struct Writer(Arc<Pipe>);

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let pipe = &self.0;
        let mut state = pipe.state();
        if state.writer_broken || state.reader_gone {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let room = WINDOW - state.unread;
        if room == 0 || !pipe.net.may_send(pipe.way, cx.waker()) {
            state.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = bytes.len().min(room);
        state.unread += taken;
        let opens = pipe.put(&mut state, Some(&bytes[..taken]));
        drop(state);
        opens();
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        if state.writer_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let opens = self.0.put(&mut state, None);
        drop(state);
        opens();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let way = self.0.way;
        let mut state = self.0.state();
        // Whoever is dead says nothing more.
        let says = !state.writer_broken && self.0.net.runs(way.from, way.from_run);
        let opens = says.then(|| self.0.put(&mut state, None));
        let never_opened = state.first.take();
        // Both hold the other end, which looks at the pipe when it is dropped.
        drop(state);
        drop(never_opened);
        if let Some(opens) = opens {
            opens();
        }
    }
}

/// Where they come out.
pub(crate) struct Reader {
    pipe: Arc<Pipe>,
    sleep: Pin<Box<Sleep>>,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut state = this.pipe.state();
        if state.reader_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.wakers.push(cx.waker().clone());
        if !this.pipe.net.may_arrive(this.pipe.way, cx.waker()) {
            return Poll::Pending;
        }
        let Some(segment) = state.segments.front_mut() else {
            return Poll::Pending;
        };
        if segment.at > Instant::now() {
            this.sleep.as_mut().reset(segment.at);
            if this.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        let Some(bytes) = &mut segment.bytes else {
            return Poll::Ready(Ok(()));
        };
        let taken = bytes.len().min(buf.remaining());
        let (head, tail) = bytes.as_slices();
        let from_head = taken.min(head.len());
        buf.put_slice(&head[..from_head]);
        buf.put_slice(&tail[..taken - from_head]);
        bytes.drain(..taken);
        if bytes.is_empty() {
            state.segments.pop_front();
        }
        state.unread -= taken;
        state.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let way = self.pipe.way;
        let mut state = self.pipe.state();
        // The other side hears of it only from a node that runs.
        state.reader_gone |= self.pipe.net.runs(way.to, way.to_run);
        state.segments.clear();
        state.wake();
    }
}
