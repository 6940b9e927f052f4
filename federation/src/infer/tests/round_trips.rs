//! What is written is read as it was, to the bit.

use std::time::Duration;

use kwaainet_core::{BackendError, Event, Load, Usage};
use prost::Message;

use super::super::wire::asks::Open;
use super::super::wire::refusal::{self, Refusal};
use super::super::wire::request::{self, Wanted};
use super::super::wire::{error, event, says};
use super::samples::Dice;

const SEEDS: std::ops::Range<u64> = 0..2_000;

#[test]
fn requests() {
    for seed in SEEDS {
        let asked = Dice(seed).request();
        let open = request::write(asked.clone());
        let bytes = open.encode_to_vec();
        let again = Open::decode(bytes.as_slice()).expect("it was written just now");
        assert_eq!(again, open, "seed {seed}");
        let read = request::read(again).unwrap_or_else(|bad| panic!("seed {seed}: {bad}"));
        let head = |r: &request::Request| {
            let (id, budget, model) = (r.id, r.budget, r.model.clone());
            (id, budget, model, r.digest, r.numerics.clone(), r.scope)
        };
        assert_eq!(head(&read), head(&asked), "seed {seed}");
        if let (
            Wanted::Generate {
                params,
                prompt,
                resume,
            },
            Wanted::Generate {
                params: p,
                prompt: q,
                resume: r,
            },
        ) = (&read.work, &asked.work)
        {
            assert_eq!((params, resume), (p, r), "seed {seed}");
            assert!(prompt == q, "seed {seed}");
        }
        // The rest have no equality of their own; their messages do.
        assert_eq!(request::write(read), open, "seed {seed}");
    }
}

#[test]
fn events() {
    for seed in SEEDS {
        let made = Dice(seed).event();
        let said = event::write(made.clone()).expect("not the end");
        let bytes = said.encode_to_vec();
        let again = says::Event::decode(bytes.as_slice()).expect("it was written just now");
        let read = event::read(again)
            .expect("it makes sense")
            .expect("it is known");
        assert_eq!(event::write(read.clone()), Ok(said), "seed {seed}");
        assert_eq!(bits(&read), bits(&made), "seed {seed}");
        // A NaN is equal to nothing, and its bits were compared.
        if !format!("{made:?}").contains("NaN") {
            assert_eq!(read, made, "seed {seed}");
        }
    }
    let usage = Usage {
        prompt_tokens: 1,
        cached_tokens: 2,
        completion_tokens: u32::MAX,
    };
    assert_eq!(event::write(Event::Done(usage)), Err(usage));
    assert_eq!(
        event::read_usage(Some(event::write_usage(usage))),
        Ok(usage)
    );
}

fn bits(event: &Event) -> Vec<u32> {
    let Event::Delta(delta) = event else {
        return Vec::new();
    };
    let all = delta.logprobs.iter();
    let all = all.flat_map(|token| std::iter::once(&token.chosen).chain(&token.top));
    all.map(|top| top.logprob.to_bits()).collect()
}

#[test]
fn refusals() {
    let reason = "there is none".to_owned();
    let load = Load {
        running: 1,
        queued: 2,
        queued_prefill_tokens: 3,
        free_pages: 4,
        prefill_rate: 5.5,
        decode_rate: 6.5,
        tokens_out: 7,
        epoch: 8,
    };
    for refusal in [
        Refusal::Backend(BackendError::Upstream {
            reason: reason.clone(),
        }),
        Refusal::Busy {
            reason,
            retry_after: Duration::from_millis(7),
        },
        Refusal::Draining,
        Refusal::Forbidden,
        Refusal::UnknownModel,
    ] {
        let read = refusal::read(refusal::write(refusal.clone(), Some(load)), &[]);
        assert_eq!(read, Ok((refusal.clone(), Some(load))));
        assert!(refusal.into_error("the peer", &"m".into()).is_retryable());
    }
}

#[test]
fn a_strangers_sentence_is_fit_to_be_shown() {
    let long = format!("\u{1b}[31m{}", "é".repeat(9_000));
    let told = error::write(BackendError::Upstream { reason: long });
    let read = error::read(told, &[]).expect("it makes sense");
    let BackendError::Upstream { reason } = read else {
        panic!("{read:?}");
    };
    assert!(reason.len() <= 2 << 10);
    assert!(reason.starts_with(" [31mé"));
    let soon = BackendError::Busy {
        reason: String::new(),
        retry_after: Duration::from_micros(1),
    };
    assert_eq!(error::write(soon).retry_after_ms, 1);
}
