//! News of a node: what it says of itself, signed by it, for others to hand on; with the words by which those may
//! know it who never met it.
//!
//! The statement: the version, 1; the incarnation; the number of the news in it; when they were said, in milliseconds
//! since 1970; for how many milliseconds they hold; and what is said, as a protobuf message.

use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_identity::{Domain, Envelope, EnvelopeError, Fields, NodeKey};
use prost::Message;

use crate::Introduction;
use crate::control::wire::{Said, WireNews};

const VERSION: u64 = 1;
/// Bytes of a signed record, and of words with it.
const RECORD_MAX: usize = 1_024;
const WORDS_MAX: usize = 6;
const WORD_MAX: usize = 256;
/// Bytes of news.
pub(crate) const NEWS_MAX: usize = RECORD_MAX + WORDS_MAX * WORD_MAX;
/// What a record holds beside what is said.
const OVERHEAD: usize = 200;
/// Clocks may differ by so much.
const SKEW_MS: u64 = 600_000;
/// No news hold for longer.
const LASTS_MAX: Duration = Duration::from_secs(120);

/// What a node says of itself.
#[derive(Clone, Debug)]
pub(crate) struct News {
    pub(crate) node: NodeId,
    pub(crate) incarnation: u64,
    /// Counts up in each incarnation.
    pub(crate) number: u64,
    /// From when it is heard.
    pub(crate) lasts: Duration,
    pub(crate) said: Said,
    /// About this node, and words that were taken back.
    pub(crate) words: Vec<Introduction>,
}

/// When and as what something is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement {
    pub(crate) incarnation: u64,
    pub(crate) number: u64,
    pub(crate) said_at_ms: u64,
    pub(crate) lasts: Duration,
}

impl News {
    /// This node's, as they are sent. Of models as many are told of as there is room for.
    pub(crate) fn write(
        key: &NodeKey,
        statement: Statement,
        mut said: Said,
        words: &[Vec<u8>],
    ) -> Vec<u8> {
        while said.encoded_len() > RECORD_MAX - OVERHEAD {
            let models = said.report.as_mut().map(|report| &mut report.models);
            let left_out = models.and_then(Vec::pop).is_some();
            if !left_out && said.lost.pop().is_none() {
                said.card = None;
                break;
            }
        }
        let fields = Fields::new()
            .u64(VERSION)
            .u64(statement.incarnation)
            .u64(statement.number)
            .u64(statement.said_at_ms)
            .u64(statement.lasts.as_millis() as u64)
            .bytes(&said.encode_to_vec());
        let words = words.iter().filter(|word| word.len() <= WORD_MAX - 8);
        let news = WireNews {
            record: Envelope::sign(key, Domain::NodeRecord, fields)
                .as_bytes()
                .to_vec(),
            words: words.take(WORDS_MAX).cloned().collect(),
        };
        news.encode_to_vec()
    }

    /// Reads some, if they are good and of this time.
    ///
    /// # Errors
    /// Why they are not.
    pub(crate) fn open(bytes: &[u8], now_ms: u64) -> Result<Self, EnvelopeError> {
        let news =
            WireNews::decode(bytes).map_err(|_| EnvelopeError::Malformed("they are no message"))?;
        if news.record.len() > RECORD_MAX || news.words.len() > WORDS_MAX {
            return Err(EnvelopeError::Malformed("they are too long"));
        }
        let signed = Envelope::open(&news.record, Domain::NodeRecord)?;
        let mut fields = signed.fields();
        if fields.u64()? != VERSION {
            return Err(EnvelopeError::Malformed("they are of another version"));
        }
        let (incarnation, number) = (fields.u64()?, fields.u64()?);
        let (said_at_ms, lasts_ms) = (fields.u64()?, fields.u64()?);
        if said_at_ms.abs_diff(now_ms) > SKEW_MS {
            return Err(EnvelopeError::Malformed("they are not of this time"));
        }
        let said = Said::decode(fields.bytes()?)
            .map_err(|_| EnvelopeError::Malformed("what they say is no message"))?;
        fields.end()?;
        let words = news.words.iter().map(|word| Introduction::open(word));
        Ok(Self {
            node: signed.signer(),
            incarnation,
            number,
            lasts: Duration::from_millis(lasts_ms).min(LASTS_MAX),
            said,
            words: words.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::{Card, Model, Report};
    use kwaainet_core::Tier;

    const NOW: u64 = 1_800_000_000_000;

    fn statement() -> Statement {
        Statement {
            incarnation: 7,
            number: 9,
            said_at_ms: NOW,
            lasts: Duration::from_secs(20),
        }
    }

    fn said(models: usize) -> Said {
        let model = |n| Model {
            id: format!("model-{n}"),
            digest: Some(vec![1; 32]),
            ..Model::default()
        };
        Said {
            card: Some(Card::default()),
            report: Some(Report {
                load: None,
                models: (0..models).map(model).collect(),
                power: None,
            }),
            ..Said::default()
        }
    }

    #[test]
    fn news_come_as_they_were_said_and_are_bounded() {
        let key = NodeKey::generate();
        let word = Introduction::issue(&key, NodeId([1; 32]), 1, 2, Some(Tier::T1));
        let words = vec![word.as_bytes().to_vec(); 9];
        for (models, told) in [(0, 0), (3, 3), (1000, 17)] {
            let bytes = News::write(&key, statement(), said(models), &words);
            assert!(bytes.len() <= NEWS_MAX, "{}", bytes.len());
            let news = News::open(&bytes, NOW).expect("they are good");
            assert_eq!((news.node, news.incarnation, news.number), (key.id(), 7, 9));
            let models = news.said.report.expect("a report").models.len();
            assert!(models.abs_diff(told) < 3, "{models}");
            assert_eq!(news.words, vec![word.clone(); WORDS_MAX]);
        }
    }

    #[test]
    fn changed_and_old_news_are_none() {
        let key = NodeKey::generate();
        let bytes = News::write(&key, statement(), said(2), &[]);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(News::open(&bad, NOW).is_err(), "byte {at}");
            assert!(News::open(&bytes[..at], NOW).is_err());
        }
        for then in [NOW - SKEW_MS - 1, NOW + SKEW_MS + 1, 0, u64::MAX] {
            assert!(News::open(&bytes, then).is_err());
        }
    }
}
