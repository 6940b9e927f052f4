//! What is read of gossip's bytes, for [`Family`](crate::fuzz::Family).

use std::time::Duration;

use kwaainet_core::Tier;
use kwaainet_identity::NodeKey;

use super::check::{Checked, check};
use super::news::{NEWS_MAX, News, Statement};
use super::{Id, TOPIC};
use crate::control::wire::Said;
use crate::{Introduction, Seeded};

/// When all of it is said.
const NOW_MS: u64 = 1_800_000_000_000;

/// A message of the protocol, and the news in it.
pub(crate) fn read_message(bytes: &[u8]) {
    let Ok(checked) = check(bytes) else {
        return;
    };
    let real = postcard::from_bytes::<iroh_gossip::proto::Message<Id>>(bytes);
    assert!(real.is_ok(), "what is let through is one of its messages");
    if let Checked::News(content) = checked {
        assert!(content.len() <= NEWS_MAX);
        read_news(content);
    }
}

/// News of a node by themselves.
pub(crate) fn read_news(bytes: &[u8]) {
    if let Ok(news) = News::open(bytes, NOW_MS) {
        assert!(news.lasts <= Duration::from_secs(120) && news.words.len() <= 6);
    }
}

pub(crate) fn sample_message(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let id = [random.draw() as u8; 32];
    let few = random.below(10) as u8;
    // As postcard writes them: a variant's number, then its fields; lengths and numbers below 128 are one byte.
    let body = match random.below(6) {
        0 => [&[0, 0, 0][..]].concat(),
        1 => [&[0, 1][..], &id, &[0, few]].concat(),
        2 => [&[0, 2][..], &id, &[1], &id, &[0, few]].concat(),
        3 => [&[1, 3, 1][..], &id, &[few]].concat(),
        4 => [&[1, 2, 1][..], &id, &[few]].concat(),
        _ => {
            let news = sample_news(seed);
            let length = postcard::to_stdvec(&news.len()).expect("a number is written");
            [&[1, 0][..], &id, &length, &news, &[0, few]].concat()
        }
    };
    [&TOPIC[..], &body].concat()
}

pub(crate) fn sample_news(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let key = NodeKey::from_seed(&[7; 32]);
    let statement = Statement {
        incarnation: random.draw(),
        number: random.draw(),
        said_at_ms: NOW_MS + random.below(1_000),
        lasts: Duration::from_secs(random.below(300)),
    };
    let word = Introduction::issue(&key, key.id(), 1, NOW_MS, Some(Tier::T1));
    let words = vec![word.as_bytes().to_vec(); random.below(3) as usize];
    News::write(&key, statement, Said::default(), &words)
}
