//! Tells a kept response again: the same events with the same numbers, in the same pieces.

use kwaainet_core::CallStart;
use kwaainet_openapi::{
    Annotation, ItemStatus, MessagePart, ResponseEvent, ResponseItem, ResponseObject,
    ResponseStatus, SearchStatus,
};

use super::writer::{Cut, Writer};

/// All events of a response that is over, or those so far of one that nobody makes any more.
pub(super) fn replay(object: ResponseObject, cuts: &[Cut]) -> Vec<ResponseEvent> {
    let ids: Vec<String> = object
        .output
        .iter()
        .map(|item| item.id().to_owned())
        .collect();
    let mut writer = Writer::new(beginning(&object)).with_ids(ids);
    writer.created();
    if object.status == ResponseStatus::Queued {
        return writer.take();
    }
    writer.in_progress();
    if !object.status.is_over() {
        return writer.take();
    }
    let was_broken_off = matches!(
        object.status,
        ResponseStatus::Failed | ResponseStatus::Cancelled
    );
    let mut cuts = cuts.iter().copied();
    for item in &object.output {
        let status = tell(&mut writer, item, &mut cuts);
        if !(was_broken_off && status == ItemStatus::Incomplete) {
            writer.close(status);
        }
    }
    let mut events = writer.take();
    let mut ending = Writer::new(object);
    ending.last();
    let number = events.len() as u64;
    events.extend(ending.take().into_iter().map(|event| ResponseEvent {
        sequence_number: number,
        ..event
    }));
    events
}

/// The response before anything was said.
fn beginning(object: &ResponseObject) -> ResponseObject {
    ResponseObject {
        status: if object.background {
            ResponseStatus::Queued
        } else {
            ResponseStatus::InProgress
        },
        completed_at: None,
        error: None,
        incomplete_details: None,
        output: Vec::new(),
        usage: None,
        ..object.clone()
    }
}

fn tell(
    writer: &mut Writer,
    item: &ResponseItem,
    cuts: &mut impl Iterator<Item = Cut>,
) -> ItemStatus {
    match item {
        ResponseItem::Message(message) => {
            writer.begin_message();
            if let Some(MessagePart::OutputText(part)) = message.content.first() {
                writer.forget_sources();
                for Annotation::FileCitation(source) in &part.annotations {
                    writer.rests_on(&source.file_id, &source.filename);
                }
                let mut logprobs = part.logprobs.iter().cloned();
                for (piece, Cut(_, count)) in pieces(&part.text, cuts) {
                    let its_own = logprobs.by_ref().take(count as usize).collect();
                    writer.text(piece, its_own);
                }
                writer.hold(logprobs.collect());
            }
            message.status
        }
        ResponseItem::FunctionCall(call) => {
            writer.begin_call(CallStart {
                id: call.call_id.clone(),
                name: call.name.clone(),
            });
            for (piece, _) in pieces(&call.arguments, cuts) {
                writer.arguments(piece);
            }
            call.status
        }
        ResponseItem::FileSearchCall(search) => {
            writer.begin_search(search.queries.clone());
            if search.status == SearchStatus::Incomplete {
                return ItemStatus::Incomplete;
            }
            writer.end_search(search.status, search.results.clone());
            ItemStatus::Completed
        }
        ResponseItem::FunctionCallOutput(item) => item.status,
        ResponseItem::Reasoning(_) => ItemStatus::Completed,
    }
}

/// A text in the pieces in which it was told. What no cut speaks of is one last piece.
fn pieces<'a>(text: &'a str, cuts: &mut impl Iterator<Item = Cut>) -> Vec<(&'a str, Cut)> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let whole = Cut(rest.len() as u32, 0);
        let cut = cuts.next().unwrap_or(whole);
        let at = cut.0 as usize;
        let (piece, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        pieces.push((piece, cut));
        rest = after;
    }
    pieces
}
