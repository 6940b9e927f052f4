use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A turn of a conversation, as the node keeps it and gives it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseItem {
    /// Something said.
    Message(MessageItem),
    /// A function that the model calls.
    FunctionCall(FunctionCallItem),
    /// What a function gave.
    FunctionCallOutput(FunctionCallOutputItem),
    /// A search in files, which the node makes itself.
    FileSearchCall(FileSearchCallItem),
    /// Thoughts of another model. They are kept and never shown to this one.
    Reasoning(ReasoningItem),
}

impl ResponseItem {
    /// Told apart from all other items by this.
    pub fn id(&self) -> &str {
        match self {
            Self::Message(item) => &item.id,
            Self::FunctionCall(item) => &item.id,
            Self::FunctionCallOutput(item) => &item.id,
            Self::FileSearchCall(item) => &item.id,
            Self::Reasoning(item) => &item.id,
        }
    }
}

/// Whether an item is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It is being made.
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut.
    Incomplete,
}

/// Something said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MessageItem {
    /// Starts with `msg_`.
    pub id: String,
    /// Whether it is whole.
    pub status: ItemStatus,
    /// Who speaks.
    pub role: MessageRole,
    /// What is said, in parts.
    pub content: Vec<MessagePart>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageRole {
    /// The person.
    User,
    /// Instructions.
    System,
    /// Instructions, under their newer name.
    Developer,
    /// The model.
    Assistant,
}

/// A part of what is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MessagePart {
    /// Text for the model.
    InputText {
        /// The text.
        text: String,
    },
    /// Text of the model.
    OutputText(OutputText),
    /// The model's refusal, as other servers tell it apart.
    Refusal {
        /// Its text.
        refusal: String,
    },
}

impl MessagePart {
    /// Its text.
    pub fn text(&self) -> &str {
        match self {
            Self::InputText { text } => text,
            Self::OutputText(part) => &part.text,
            Self::Refusal { refusal } => refusal,
        }
    }
}

/// Text of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutputText {
    /// The text.
    pub text: String,
    /// The files that the model was given pieces of before it said this; empty in what comes in.
    pub annotations: Vec<Annotation>,
    /// One for each token, if asked for.
    pub logprobs: Vec<OutputLogprob>,
}

/// What a text rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Annotation {
    /// A file.
    FileCitation(FileCitation),
}

/// A file that a text rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileCitation {
    /// Which file.
    pub file_id: String,
    /// Its name.
    pub filename: String,
    /// Where the citation belongs: so many characters into the text, which is its end.
    pub index: u32,
}

/// One token that was chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutputLogprob {
    /// Its text; bytes that are no whole character are replaced.
    pub token: String,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The most probable tokens there, best first.
    pub top_logprobs: Vec<OutputTopLogprob>,
}

/// One token that could have been chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OutputTopLogprob {
    /// Its text; bytes that are no whole character are replaced.
    pub token: String,
    /// Natural logarithm of its probability under the model.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A function that the model calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionCallItem {
    /// Starts with `fc_`.
    pub id: String,
    /// Whether it is whole.
    pub status: ItemStatus,
    /// What its output refers to.
    pub call_id: String,
    /// Which function.
    pub name: String,
    /// JSON, an object, unless it was cut.
    pub arguments: String,
}

/// What a function gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionCallOutputItem {
    /// Starts with `fco_`.
    pub id: String,
    /// Whether it is whole.
    pub status: ItemStatus,
    /// Which call.
    pub call_id: String,
    /// The text.
    pub output: String,
}

/// A search in files, which the node makes itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileSearchCallItem {
    /// Starts with `fs_`.
    pub id: String,
    /// How far it is.
    pub status: SearchStatus,
    /// What was looked for.
    pub queries: Vec<String>,
    /// The pieces that the model was given, nearest first, if `include` asks for them; else null.
    pub results: Option<Vec<FileSearchResult>>,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchStatus {
    /// It is asked for.
    InProgress,
    /// It is being made.
    Searching,
    /// It is over.
    Completed,
    /// It was cut.
    Incomplete,
    /// It could not be made, and the model was told so.
    Failed,
}

/// A piece of a file that the model was given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FileSearchResult {
    /// Which file.
    pub file_id: String,
    /// Its name.
    pub filename: String,
    /// From 0 to 1.
    pub score: f32,
    /// The file's attributes.
    #[schema(value_type = Option<Object>)]
    pub attributes: Option<Value>,
    /// The piece.
    pub text: String,
}

/// Thoughts of another model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReasoningItem {
    /// Starts with `rs_`.
    pub id: String,
    /// As it was given.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub summary: Vec<Value>,
}

/// A page of items.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ResponseItemList {
    /// `list`.
    pub object: &'static str,
    /// The items.
    pub data: Vec<ResponseItem>,
    /// The first one's id; null on an empty page.
    pub first_id: Option<String>,
    /// The last one's id, which asks for the next page as `after`.
    pub last_id: Option<String>,
    /// Whether there is a next page.
    pub has_more: bool,
}
