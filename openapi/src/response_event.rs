use serde::Serialize;
use utoipa::ToSchema;

use crate::{Annotation, MessagePart, OutputLogprob, ResponseItem, ResponseObject};

/// A step of a streamed response.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResponseEvent {
    /// What happens.
    #[serde(flatten)]
    pub step: ResponseStep,
    /// Counts the events of a response from 0.
    pub sequence_number: u64,
}

/// What happens in a step of a streamed response.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type")]
pub enum ResponseStep {
    /// It exists.
    #[serde(rename = "response.created")]
    Created(Lifecycle),
    /// It waits for its turn.
    #[serde(rename = "response.queued")]
    Queued(Lifecycle),
    /// It is being made.
    #[serde(rename = "response.in_progress")]
    InProgress(Lifecycle),
    /// It is whole.
    #[serde(rename = "response.completed")]
    Completed(Lifecycle),
    /// It was cut.
    #[serde(rename = "response.incomplete")]
    Incomplete(Lifecycle),
    /// It failed or was cancelled.
    #[serde(rename = "response.failed")]
    Failed(Lifecycle),
    /// An item begins.
    #[serde(rename = "response.output_item.added")]
    ItemAdded(ItemStep),
    /// An item is whole, or cut.
    #[serde(rename = "response.output_item.done")]
    ItemDone(ItemStep),
    /// A part of a message begins.
    #[serde(rename = "response.content_part.added")]
    PartAdded(PartStep),
    /// A part of a message is over.
    #[serde(rename = "response.content_part.done")]
    PartDone(PartStep),
    /// More text.
    #[serde(rename = "response.output_text.delta")]
    TextDelta(TextDeltaStep),
    /// All text of a part.
    #[serde(rename = "response.output_text.done")]
    TextDone(TextDoneStep),
    /// A text rests on something.
    #[serde(rename = "response.output_text.annotation.added")]
    AnnotationAdded(AnnotationStep),
    /// A search in files is asked for.
    #[serde(rename = "response.file_search_call.in_progress")]
    SearchInProgress(SearchStep),
    /// It is being made.
    #[serde(rename = "response.file_search_call.searching")]
    SearchSearching(SearchStep),
    /// It is over.
    #[serde(rename = "response.file_search_call.completed")]
    SearchCompleted(SearchStep),
    /// More of a call's arguments.
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta(ArgumentsDeltaStep),
    /// All of a call's arguments.
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone(ArgumentsDoneStep),
}

impl ResponseStep {
    /// The event's name, which is its type.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "response.created",
            Self::Queued(_) => "response.queued",
            Self::InProgress(_) => "response.in_progress",
            Self::Completed(_) => "response.completed",
            Self::Incomplete(_) => "response.incomplete",
            Self::Failed(_) => "response.failed",
            Self::ItemAdded(_) => "response.output_item.added",
            Self::ItemDone(_) => "response.output_item.done",
            Self::PartAdded(_) => "response.content_part.added",
            Self::PartDone(_) => "response.content_part.done",
            Self::TextDelta(_) => "response.output_text.delta",
            Self::TextDone(_) => "response.output_text.done",
            Self::AnnotationAdded(_) => "response.output_text.annotation.added",
            Self::SearchInProgress(_) => "response.file_search_call.in_progress",
            Self::SearchSearching(_) => "response.file_search_call.searching",
            Self::SearchCompleted(_) => "response.file_search_call.completed",
            Self::ArgumentsDelta(_) => "response.function_call_arguments.delta",
            Self::ArgumentsDone(_) => "response.function_call_arguments.done",
        }
    }
}

/// The response as it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Lifecycle {
    /// All of it.
    pub response: ResponseObject,
}

/// An item begins or ends.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ItemStep {
    /// Its place in the output.
    pub output_index: u32,
    /// The item as it stands.
    pub item: ResponseItem,
}

/// A part of a message begins or ends.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartStep {
    /// The message.
    pub item_id: String,
    /// The message's place in the output.
    pub output_index: u32,
    /// The part's place in the message.
    pub content_index: u32,
    /// The part as it stands.
    pub part: MessagePart,
}

/// More text.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TextDeltaStep {
    /// The message.
    pub item_id: String,
    /// The message's place in the output.
    pub output_index: u32,
    /// The part's place in the message.
    pub content_index: u32,
    /// To be appended.
    pub delta: String,
    /// One for each token, if asked for.
    pub logprobs: Vec<OutputLogprob>,
}

/// All text of a part.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TextDoneStep {
    /// The message.
    pub item_id: String,
    /// The message's place in the output.
    pub output_index: u32,
    /// The part's place in the message.
    pub content_index: u32,
    /// The text.
    pub text: String,
    /// One for each token, if asked for.
    pub logprobs: Vec<OutputLogprob>,
}

/// A text rests on something.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnnotationStep {
    /// The message.
    pub item_id: String,
    /// The message's place in the output.
    pub output_index: u32,
    /// The part's place in the message.
    pub content_index: u32,
    /// The annotation's place in the part.
    pub annotation_index: u32,
    /// On what.
    pub annotation: Annotation,
}

/// A step of a search in files.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SearchStep {
    /// The search.
    pub item_id: String,
    /// Its place in the output.
    pub output_index: u32,
}

/// More of a call's arguments.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ArgumentsDeltaStep {
    /// The call.
    pub item_id: String,
    /// The call's place in the output.
    pub output_index: u32,
    /// To be appended.
    pub delta: String,
}

/// All of a call's arguments.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ArgumentsDoneStep {
    /// The call.
    pub item_id: String,
    /// The call's place in the output.
    pub output_index: u32,
    /// JSON, an object, unless it was cut.
    pub arguments: String,
}
