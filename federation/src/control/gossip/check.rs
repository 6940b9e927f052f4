//! What a message of iroh-gossip's protocol holds, before the protocol sees it: its types keep their fields to
//! themselves, and it trusts its neighbours more than this program does. These are its messages as postcard writes
//! them, of version 0.101; a test holds them against the real ones.

use serde::Deserialize;

use super::NEWS_MAX;

/// Hops that a message may have made.
const ROUNDS_MAX: u16 = 1_000;
/// Steps of a random walk.
const STEPS_MAX: u16 = 16;
/// Nodes that one message names.
const NODES_MAX: usize = 32;
/// Messages that one announces.
const ANNOUNCED_MAX: usize = 128;

/// What matters of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked<'a> {
    /// It brings news.
    News(&'a [u8]),
    /// It says of so many messages that their sender has them.
    Announces(u64),
    /// It is about neighbours.
    Other,
}

#[derive(Deserialize)]
struct Message<'a> {
    topic: [u8; 32],
    #[serde(borrow)]
    body: Body<'a>,
}

#[derive(Deserialize)]
enum Body<'a> {
    #[serde(borrow)]
    Swarm(Swarm<'a>),
    #[serde(borrow)]
    Gossip(Broadcast<'a>),
}

type Data<'a> = Option<&'a [u8]>;

#[derive(Deserialize)]
enum Swarm<'a> {
    Join(#[serde(borrow)] Data<'a>),
    /// Who, and how many steps more.
    ForwardJoin(#[serde(borrow)] Info<'a>, u16),
    Shuffle {
        _from: [u8; 32],
        #[serde(borrow)]
        all: Vec<Info<'a>>,
        steps: u16,
    },
    ShuffleReply(#[serde(borrow)] Vec<Info<'a>>),
    Neighbor(Priority, #[serde(borrow)] Data<'a>),
    Disconnect {
        _alive: bool,
        _respond: bool,
    },
}

#[derive(Deserialize)]
struct Info<'a> {
    _id: [u8; 32],
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
enum Priority {
    High,
    Low,
}

#[derive(Deserialize)]
enum Broadcast<'a> {
    Gossip {
        _id: [u8; 32],
        #[serde(borrow)]
        content: &'a [u8],
        spread: Spread,
    },
    Prune,
    Graft {
        _id: Option<[u8; 32]>,
        rounds: u16,
    },
    IHave(Vec<([u8; 32], u16)>),
}

#[derive(Deserialize)]
enum Spread {
    Swarm(u16),
    Neighbors,
}

/// Looks into a message.
///
/// # Errors
/// Why nobody who keeps to the protocol would send it.
pub(crate) fn check(bytes: &[u8]) -> Result<Checked<'_>, &'static str> {
    let message: Message<'_> = postcard::from_bytes(bytes).map_err(|_| "no message of it")?;
    if message.topic != super::TOPIC {
        return Err("of another swarm");
    }
    match message.body {
        Body::Swarm(swarm) => match swarm_is_sound(&swarm) {
            true => Ok(Checked::Other),
            false => Err("more about neighbours than there may be"),
        },
        Body::Gossip(Broadcast::Gossip {
            content,
            spread: Spread::Swarm(rounds),
            ..
        }) => match content.len() <= NEWS_MAX && rounds <= ROUNDS_MAX {
            true => Ok(Checked::News(content)),
            false => Err("news that are too long, or came too far"),
        },
        Body::Gossip(Broadcast::Gossip {
            spread: Spread::Neighbors,
            ..
        }) => Err("news for nobody else"),
        Body::Gossip(Broadcast::Prune) => Ok(Checked::Other),
        Body::Gossip(Broadcast::Graft { rounds, .. }) if rounds <= ROUNDS_MAX => Ok(Checked::Other),
        Body::Gossip(Broadcast::IHave(all)) if all.len() <= ANNOUNCED_MAX => {
            match all.iter().all(|(_, rounds)| *rounds <= ROUNDS_MAX) {
                true => Ok(Checked::Announces(all.len() as u64)),
                false => Err("news that came too far"),
            }
        }
        Body::Gossip(Broadcast::Graft { .. } | Broadcast::IHave(_)) => Err("too much at once"),
    }
}

/// This program tells nothing of a node beside its id.
fn swarm_is_sound(swarm: &Swarm<'_>) -> bool {
    let silent = |data: &Data<'_>| data.is_none_or(<[u8]>::is_empty);
    let few = |all: &[Info<'_>]| all.len() <= NODES_MAX && all.iter().all(|one| silent(&one.data));
    match swarm {
        Swarm::Join(data) | Swarm::Neighbor(Priority::High | Priority::Low, data) => silent(data),
        Swarm::ForwardJoin(one, steps) => *steps <= STEPS_MAX && silent(&one.data),
        Swarm::Shuffle { all, steps, .. } => *steps <= STEPS_MAX && few(all),
        Swarm::ShuffleReply(all) => few(all),
        Swarm::Disconnect { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeded;
    use bytes::Bytes;
    use iroh_gossip::proto::{Command, InEvent, OutEvent, PeerData, Scope, State};
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::VecDeque;
    use tokio::time::Instant;

    type Real = iroh_gossip::proto::Message<[u8; 32]>;

    /// All that a swarm of some nodes says to each other while they come, talk and go.
    fn talk(seed: u64) -> Vec<Real> {
        let mut random = Seeded::new(seed);
        let count = 12_u8;
        let mut nodes: Vec<_> = (0..count)
            .map(|n| {
                let rng = StdRng::seed_from_u64(seed + u64::from(n));
                State::new([n; 32], PeerData::default(), super::super::config(), rng)
            })
            .collect();
        let topic = super::super::TOPIC.into();
        let (mut said, mut timers) = (Vec::new(), Vec::new());
        let now = Instant::now();
        for step in 0..200_u64 {
            let at = random.below(count.into()) as usize;
            let other = [random.below(count.into()) as u8; 32];
            let event = match step {
                0..40 => InEvent::Command(topic, Command::Join(vec![other])),
                _ if random.below(3) == 0 => {
                    let news = Bytes::from(vec![step as u8; 100]);
                    InEvent::Command(topic, Command::Broadcast(news, Scope::Swarm))
                }
                _ if random.below(30) == 0 => InEvent::PeerDisconnected(other),
                _ => match timers.pop() {
                    Some((_, timer)) => InEvent::TimerExpired(timer),
                    None => continue,
                },
            };
            let mut events = VecDeque::from([(at, event)]);
            while let Some((at, event)) = events.pop_front() {
                let out: Vec<_> = nodes[at].handle(event, now, None).collect();
                for out in out {
                    match out {
                        OutEvent::SendMessage(to, message) => {
                            said.push(message.clone());
                            let from = [at as u8; 32];
                            let to = usize::from(to[0]);
                            events.push_back((to, InEvent::RecvMessage(from, message)));
                        }
                        OutEvent::ScheduleTimer(_, timer) => timers.insert(0, (at, timer)),
                        _ => {}
                    }
                }
                assert!(said.len() < 100_000, "it ends");
            }
        }
        said
    }

    #[test]
    fn all_that_the_protocol_says_is_let_through() {
        let mut kinds = [0; 3];
        for seed in 0..20 {
            for message in talk(seed) {
                let bytes = postcard::to_stdvec(&message).expect("it is written");
                let kind = match check(&bytes).expect("it is sound") {
                    Checked::News(content) => {
                        assert_eq!(content.len(), 100);
                        0
                    }
                    Checked::Announces(count) => {
                        assert!(count > 0);
                        1
                    }
                    Checked::Other => 2,
                };
                kinds[kind] += 1;
            }
        }
        assert!(kinds.iter().all(|count| *count > 10), "{kinds:?}");
    }

    #[test]
    fn what_nobody_would_say_is_not() {
        let with = |body: &[u8]| [&super::super::TOPIC[..], body].concat();
        let id = [7; 32];
        // In varints: 65,535 rounds, 17 steps.
        let rounds = [0xFF, 0xFF, 0x03];
        let gossip = [&[1, 0][..], &id, &[1, 9, 0], &rounds].concat();
        let ihave = [&[1, 3, 1][..], &id, &rounds].concat();
        let walk = [&[0, 1][..], &id, &[0, 17]].concat();
        let data = [&[0, 1][..], &id, &[1, 1, 42, 3]].concat();
        let neighbours = [&[1, 0][..], &id, &[1, 9, 1]].concat();
        for bad in [gossip, ihave, walk, data, neighbours, Vec::new(), vec![9]] {
            check(&with(&bad)).expect_err("it is not sound");
        }
        assert!(check(&[0; 40]).is_err(), "another swarm");
        let short = [&[0, 1][..], &id, &[0, 16]].concat();
        assert_eq!(check(&with(&short)), Ok(Checked::Other));
    }

    #[test]
    fn whatever_passes_does_no_harm() {
        let mut random = Seeded::new(1);
        let said: Vec<Vec<u8>> = talk(5)
            .iter()
            .map(|message| postcard::to_stdvec(message).expect("it is written"))
            .collect();
        let rng = StdRng::seed_from_u64(5);
        let mut state = State::new([1; 32], PeerData::default(), super::super::config(), rng);
        let topic = super::super::TOPIC.into();
        let join = InEvent::Command(topic, Command::Join(Vec::new()));
        let _ = state.handle(join, Instant::now(), None).count();
        for round in 0..20_000 {
            let mut bytes = said[random.below(said.len() as u64) as usize].clone();
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
            bytes.truncate(bytes.len() - random.below(3) as usize * (round % 2));
            if check(&bytes).is_ok() {
                let message = postcard::from_bytes(&bytes).expect("it is the same");
                let from = [random.below(9) as u8; 32];
                let event = InEvent::RecvMessage(from, message);
                let _ = state.handle(event, Instant::now(), None).count();
            }
        }
    }
}
