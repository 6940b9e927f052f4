//! Whole answers of a peer: vectors, token ids, a text. Each comes in pieces that are put together here, up to a
//! bound.

use std::sync::Arc;

use kwaainet_core::{
    BackendError, EmbedRequest, Embeddings, ModelId, TextTokens, Tokenized, Usage,
};

use super::super::wire::says::{End, Vectors, say};
use super::super::wire::{Bad, at_most, event, request::Wanted};
use super::order::prompt_tokens_max;
use super::{Exchange, Peer};

/// Components of a vector.
const DIMENSIONS_MAX: usize = 1 << 16;
/// Bytes of all vectors.
const VECTORS_MAX: usize = 256 << 20;
/// Token ids of one text.
const IDS_MAX: usize = 4 << 20;
/// Bytes of one text.
const TEXT_MAX: usize = 64 << 20;
/// No principal's: these leave nothing behind that could be seen.
const NO_SCOPE: [u8; 16] = [0; 16];

pub(super) async fn embed(
    peer: &Arc<Peer>,
    request: EmbedRequest,
) -> Result<Embeddings, BackendError> {
    let count = request.inputs.len();
    let work = Wanted::Embed {
        inputs: request.inputs,
        dimensions: request.dimensions,
    };
    let mut exchange = peer
        .open(peer.request(request.model, NO_SCOPE, work))
        .await?;
    exchange.accepted().await?;
    let mut pieces = Pieces::default();
    let (mut values, mut dimensions) = (Vec::new(), 0);
    let end = loop {
        match exchange.frame().await? {
            say::Kind::Vectors(frame) => {
                exchange.count_last();
                let taken = pieces
                    .next(frame.seq)
                    .and_then(|()| add(&mut values, &mut dimensions, &frame));
                taken.map_err(|bad| exchange.lied(&bad))?;
            }
            other => break last(&mut exchange, other).await?,
        }
    };
    let usage = event::read_usage(end.usage).and_then(|usage| {
        if values.len() != count * dimensions || (count > 0 && dimensions == 0) {
            return Err(Bad::new("vectors", "not one vector for each input"));
        }
        let tokens_max = prompt_tokens_max(exchange.opening_bytes());
        at_most(usage.prompt_tokens as usize, tokens_max as usize, "usage")?;
        Ok(usage)
    });
    let usage = usage.map_err(|bad| exchange.lied(&bad))?;
    exchange.account.set_usage(Usage {
        prompt_tokens: usage.prompt_tokens,
        ..Usage::default()
    });
    exchange.countersign(&end.receipt, true).await;
    let vectors = match dimensions {
        0 => vec![Vec::new(); count],
        _ => values.chunks(dimensions).map(<[f32]>::to_vec).collect(),
    };
    Ok(Embeddings {
        vectors,
        prompt_tokens: usage.prompt_tokens,
    })
}

fn add(values: &mut Vec<f32>, dimensions: &mut usize, frame: &Vectors) -> Result<(), Bad> {
    let (floats, rest) = frame.values.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Bad::new("vectors", "a number is cut"));
    }
    if *dimensions != frame.dimensions as usize && !values.is_empty() {
        return Err(Bad::new("vectors", "they are not of one length"));
    }
    *dimensions = frame.dimensions as usize;
    at_most(*dimensions, DIMENSIONS_MAX, "vectors")?;
    at_most((values.len() + floats.len()) * 4, VECTORS_MAX, "vectors")?;
    values.extend(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    Ok(())
}

pub(super) async fn tokenize(
    peer: &Arc<Peer>,
    model: ModelId,
    text: Tokenized,
) -> Result<TextTokens, BackendError> {
    let request = peer.request(model, NO_SCOPE, Wanted::Tokenize(text));
    let mut exchange = peer.open(request).await?;
    exchange.accepted().await?;
    let mut pieces = Pieces::default();
    let mut tokens = TextTokens {
        ids: Vec::new(),
        context: 0,
    };
    loop {
        match exchange.frame().await? {
            say::Kind::Tokens(frame) => {
                let length = tokens.ids.len() + frame.ids.len();
                let taken = pieces.next(frame.seq);
                let taken = taken.and_then(|()| at_most(length, IDS_MAX, "tokens"));
                taken.map_err(|bad| exchange.lied(&bad))?;
                tokens.ids.extend(frame.ids);
                tokens.context = frame.context;
            }
            other => {
                last(&mut exchange, other).await?;
                return Ok(tokens);
            }
        }
    }
}

pub(super) async fn detokenize(
    peer: &Arc<Peer>,
    model: ModelId,
    ids: Vec<u32>,
) -> Result<String, BackendError> {
    let request = peer.request(model, NO_SCOPE, Wanted::Detokenize(ids));
    let mut exchange = peer.open(request).await?;
    exchange.accepted().await?;
    let mut pieces = Pieces::default();
    let mut text = String::new();
    loop {
        match exchange.frame().await? {
            say::Kind::Detokenized(frame) => {
                let length = text.len() + frame.text.len();
                let taken = pieces.next(frame.seq);
                let taken = taken.and_then(|()| at_most(length, TEXT_MAX, "text"));
                taken.map_err(|bad| exchange.lied(&bad))?;
                text.push_str(&frame.text);
            }
            other => {
                last(&mut exchange, other).await?;
                return Ok(text);
            }
        }
    }
}

/// The end, which a frame that is no piece has to be.
async fn last(exchange: &mut Exchange, kind: say::Kind) -> Result<End, BackendError> {
    match kind {
        say::Kind::End(end) if !end.cut => Ok(end),
        say::Kind::Failed(failed) => {
            exchange.countersign(&failed.receipt, false).await;
            Err(exchange.error(failed.error))
        }
        _ => Err(exchange.out_of_turn()),
    }
}

/// Numbers of frames.
#[derive(Default)]
struct Pieces(u64);

impl Pieces {
    fn next(&mut self, seq: u64) -> Result<(), Bad> {
        let due = self.0;
        self.0 += 1;
        match seq == due {
            true => Ok(()),
            false => Err(Bad::new("seq", format!("frame {seq} where {due} was due"))),
        }
    }
}
