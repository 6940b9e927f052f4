//! What is read of the inference plane's bytes, for [`Family`](crate::fuzz::Family).

use prost::Message;

use super::samples::Dice;
use super::wire::asks::{Ask, ask};
use super::wire::says::{self, Say, say};
use super::wire::{error, event, list, refusal, request};

/// Of one frame; the asker takes no more.
const EVENTS_MAX: usize = 1_024;

/// What an asker says.
pub(crate) fn read_ask(bytes: &[u8]) {
    let Ok(Ask {
        kind: Some(ask::Kind::Open(open)),
    }) = Ask::decode(bytes)
    else {
        return;
    };
    if let Ok(request) = request::read(*open) {
        // Whatever was let in can be written and is let in again.
        let again = request::read(request::write(request));
        assert!(again.is_ok(), "{again:?}");
    }
}

pub(crate) fn sample_ask(seed: u64) -> Vec<u8> {
    let open = request::write(Dice(seed).request());
    Ask::from(ask::Kind::Open(open.into())).encode_to_vec()
}

/// What a server says.
pub(crate) fn read_say(bytes: &[u8]) {
    match Say::decode(bytes).map(|say| say.kind) {
        Ok(Some(say::Kind::Events(events))) => {
            let events = list::read::<says::Event>(&events.events, EVENTS_MAX, "events");
            for said in events.into_iter().flatten() {
                let _known = event::read(said);
            }
        }
        Ok(Some(say::Kind::Reject(reject))) => {
            let _known = refusal::read(reject, &[]);
        }
        Ok(Some(say::Kind::Failed(failed))) => {
            let _known = failed.error.map(|failed| error::read(failed, &[]));
        }
        _ => {}
    }
}

pub(crate) fn sample_say(seed: u64) -> Vec<u8> {
    Say::from(Dice(seed).say()).encode_to_vec()
}
