//! Frames on a stream: four bytes of length, most significant first, then a protobuf message. A length over
//! the bound is refused before a byte of it is read, and a frame has to arrive whole within a time.

use std::io;
use std::ops::Range;
use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

/// Bytes of one message at most, on any plane. A prompt of a whole context has to fit.
pub const FRAME_MAX: usize = 16 << 20;
/// Bytes of a length.
const HEAD: usize = 4;
/// Bytes that are made room for at a time, and that are kept for the next message.
const PIECE: usize = 16 << 10;
/// From a frame's first byte to its last.
const WHOLE_WITHIN: Duration = Duration::from_secs(20);
/// Until the other side takes more, if nothing else is said.
const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

/// What is wrong with a stream.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It broke off, in the middle of a frame or not.
    #[error("the stream broke off: {0}")]
    Broken(#[from] io::Error),
    /// The announced length is over the bound.
    #[error("a frame of {length} bytes, of which there may be {max}")]
    TooLong {
        /// As announced.
        length: usize,
        /// What there may be.
        max: usize,
    },
    /// It began and did not end in time, or could not be written in time.
    #[error("a frame took too long")]
    TooSlow,
    /// The bytes are no such message.
    #[error("a frame is no message of this kind: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Reads messages, each of at most so many bytes.
pub struct FrameReader<R> {
    stream: R,
    max: usize,
    /// What came and was not read yet stands from `start` on; before it is the last message.
    bytes: Vec<u8>,
    start: usize,
    last: Range<usize>,
    /// When the frame that has begun has to be whole.
    due: Option<Instant>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Of a stream.
    ///
    /// # Panics
    /// When `max` is over [`FRAME_MAX`].
    pub fn new(stream: R, max: usize) -> Self {
        assert!(max <= FRAME_MAX, "a bound within the bound of all");
        Self {
            stream,
            max,
            bytes: Vec::new(),
            start: 0,
            last: 0..0,
            due: None,
        }
    }

    /// Allows other lengths from now on.
    ///
    /// # Panics
    /// When `max` is over [`FRAME_MAX`].
    pub fn set_max(&mut self, max: usize) {
        assert!(max <= FRAME_MAX, "a bound within the bound of all");
        self.max = max;
    }

    /// The next message; `None` where the stream ended between two of them. Waits for its first byte as long
    /// as it takes. May be dropped at any time: no byte is lost.
    ///
    /// # Errors
    /// After which the stream is of no more use.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, FrameError> {
        let length = loop {
            match self.length()? {
                Some(length) if self.begun() >= HEAD + length => break length,
                length if self.more(length).await? => {}
                _ => return Ok(None),
            }
        };
        self.due = None;
        let body = self.start + HEAD;
        self.last = body..body + length;
        self.start = self.last.end;
        Ok(Some(M::decode(self.last())?))
    }

    /// How long the next message says that it is, as soon as that much of it is here. May be dropped too.
    ///
    /// # Errors
    /// After which the stream is of no more use.
    pub async fn announced(&mut self) -> Result<Option<usize>, FrameError> {
        loop {
            match self.length()? {
                Some(length) => return Ok(Some(length)),
                None if self.more(None).await? => {}
                None => return Ok(None),
            }
        }
    }

    /// The last message as it came, without its length.
    pub fn last(&self) -> &[u8] {
        &self.bytes[self.last.clone()]
    }

    /// Bytes of the next message that are here, those of its length included.
    pub fn begun(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Of the next frame, if that much of it is here.
    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(head) = self.bytes[self.start..].first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let (length, max) = (u32::from_be_bytes(*head) as usize, self.max);
        match length <= max {
            true => Ok(Some(length)),
            false => Err(FrameError::TooLong { length, max }),
        }
    }

    /// Reads once; `false` at the end of the stream.
    async fn more(&mut self, length: Option<usize>) -> Result<bool, FrameError> {
        self.last = 0..0;
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(PIECE);
        }
        // Grows with what arrives, so that a length alone takes no memory.
        let missing = length.map_or(HEAD, |length| HEAD + length) - self.begun();
        self.bytes.reserve(missing.min(PIECE));
        let read = self.stream.read_buf(&mut self.bytes);
        let read = match self.due {
            None => read.await?,
            Some(due) => match timeout_at(due, read).await {
                Ok(read) => read?,
                Err(_) => return Err(FrameError::TooSlow),
            },
        };
        if read > 0 {
            self.due
                .get_or_insert_with(|| Instant::now() + WHOLE_WITHIN);
            return Ok(true);
        }
        match self.begun() {
            0 => Ok(false),
            _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }
}

/// Writes messages.
pub struct FrameWriter<W> {
    stream: W,
    bytes: Vec<u8>,
    patience: Duration,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// To a stream.
    pub fn new(stream: W) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
            patience: WRITTEN_WITHIN,
        }
    }

    /// Waits so long from now on until the other side takes more.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Writes a message and sees it off.
    ///
    /// # Errors
    /// After which the stream is of no more use.
    pub async fn send<M: Message>(&mut self, message: &M) -> Result<(), FrameError> {
        let length = message.encoded_len();
        if length > FRAME_MAX {
            let max = FRAME_MAX;
            return Err(FrameError::TooLong { length, max });
        }
        self.bytes.clear();
        self.bytes.shrink_to(PIECE);
        self.bytes.extend((length as u32).to_be_bytes());
        message
            .encode(&mut self.bytes)
            .expect("a vector takes any number of bytes");
        let mut rest = self.bytes.as_slice();
        while !rest.is_empty() {
            let written = timeout(self.patience, self.stream.write(rest)).await;
            match written.map_err(|_| FrameError::TooSlow)?? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                count => rest = &rest[count..],
            }
        }
        let flushed = timeout(self.patience, self.stream.flush()).await;
        Ok(flushed.map_err(|_| FrameError::TooSlow)??)
    }

    /// The last message as it was sent, without its length.
    pub fn last(&self) -> &[u8] {
        self.bytes.get(HEAD..).unwrap_or_default()
    }

    /// Ends what the other side reads.
    ///
    /// # Errors
    /// When the stream broke off.
    pub async fn finish(mut self) -> Result<(), FrameError> {
        Ok(self.stream.shutdown().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[derive(Clone, PartialEq, Message)]
    struct Note {
        #[prost(string, tag = "1")]
        text: String,
    }

    fn note(text: &str) -> Note {
        Note { text: text.into() }
    }

    #[tokio::test]
    async fn messages_come_as_they_were_sent() {
        let (near, far) = tokio::io::duplex(7);
        let mut writer = FrameWriter::new(near);
        let mut reader = FrameReader::new(far, 64);
        let sending = async {
            for text in ["", "a", "longer than the pipe is wide"] {
                writer.send(&note(text)).await.expect("sent");
            }
            writer.finish().await.expect("finished");
        };
        let reading = async {
            let mut texts = Vec::new();
            while let Some(note) = reader.next::<Note>().await.expect("whole") {
                texts.push(note.text);
            }
            texts
        };
        let ((), texts) = tokio::join!(sending, reading);
        assert_eq!(texts, ["", "a", "longer than the pipe is wide"]);
    }

    #[tokio::test]
    async fn a_length_over_the_bound_is_refused_unread() {
        let bytes: &[u8] = &[0, 0, 0, 65, 1, 2];
        let mut reader = FrameReader::new(bytes, 64);
        let error = reader.next::<Note>().await.expect_err("too long");
        assert!(matches!(
            error,
            FrameError::TooLong {
                length: 65,
                max: 64
            }
        ));
    }

    #[tokio::test]
    async fn a_frame_that_is_cut_or_malformed_is_told() {
        for cut in [&[0, 0][..], &[0, 0, 0, 9, 1]] {
            let mut reader = FrameReader::new(cut, 64);
            let error = reader.next::<Note>().await.expect_err("cut");
            assert!(matches!(error, FrameError::Broken(_)));
        }
        let mut reader = FrameReader::new(&[0, 0, 0, 2, 0xFF, 0xFF][..], 64);
        let error = reader.next::<Note>().await.expect_err("malformed");
        assert!(matches!(error, FrameError::Malformed(_)));
    }

    #[tokio::test]
    async fn waiting_may_be_given_up_in_the_middle_of_a_frame() {
        let (near, far) = tokio::io::duplex(3);
        let mut writer = FrameWriter::new(near);
        let mut reader = FrameReader::new(far, 64);
        let sending = async {
            for text in ["one", "two"] {
                writer.send(&note(text)).await.expect("sent");
            }
        };
        let reading = async {
            let mut texts = Vec::new();
            while texts.len() < 2 {
                let next = reader.next::<Note>().now_or_never();
                let note = next.transpose().expect("whole").flatten();
                texts.extend(note.map(|note| note.text));
                tokio::task::yield_now().await;
            }
            assert_eq!(reader.last(), note("two").encode_to_vec());
            texts
        };
        let ((), texts) = tokio::join!(sending, reading);
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(writer.last(), note("two").encode_to_vec());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_frame_is_not_waited_for() {
        let (mut near, far) = tokio::io::duplex(64);
        near.write_all(&[0, 0, 0, 9]).await.expect("written");
        let mut reader = FrameReader::new(far, 64);
        let error = reader.next::<Note>().await.expect_err("slow");
        assert!(matches!(error, FrameError::TooSlow));
    }
}
