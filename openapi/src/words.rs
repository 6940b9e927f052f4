//! Words that a field may hold and maps with limits, as the document states them. The door reads such
//! fields itself, so that a refusal names the field; it must take what stands here and nothing else.

use serde::Deserialize;
use utoipa::openapi::schema::{AdditionalProperties, AnyOfBuilder, Object, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Who speaks.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChatRole {
    /// Instructions.
    System,
    /// Instructions, under their newer name.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a call.
    Tool,
    /// The same in the older form.
    Function,
}

/// What kind of part this is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TextKind {
    /// Text.
    Text,
}

/// What kind of tool this is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FunctionKind {
    /// A function.
    Function,
}

/// Whether a tool has to be called.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolMode {
    /// Never.
    None,
    /// As the model likes it.
    Auto,
    /// At least one.
    Required,
}

/// Whether one of some tools has to be called.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllowedMode {
    /// As the model likes it.
    Auto,
    /// At least one.
    Required,
}

/// A choice of some tools.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllowedKind {
    /// Some of the tools.
    AllowedTools,
}

/// Whether a function has to be called, in the older form.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FunctionMode {
    /// Never.
    None,
    /// As the model likes it.
    Auto,
}

/// What a text has to be.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormatKind {
    /// Any text.
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema,
}

/// What a prediction is of.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PredictionKind {
    /// The text.
    Content,
}

/// What an item is; without it, a message if there is a `role`.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputItemKind {
    /// Something said.
    Message,
    /// A function that the model called.
    FunctionCall,
    /// What a function gave.
    FunctionCallOutput,
    /// A search in files.
    FileSearchCall,
    /// Thoughts.
    Reasoning,
    /// An item that is kept.
    ItemReference,
}

/// What kind of part this is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputPartKind {
    /// Text.
    InputText,
    /// Text of the assistant.
    OutputText,
    /// A refusal of the assistant.
    Refusal,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verbosity {
    /// As the model likes it.
    Medium,
}

/// How soon an answer comes.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceTier {
    /// There is one tier.
    Auto,
    /// The same.
    Default,
}

/// More to put into an answer.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub enum ResponseInclude {
    /// The log-probabilities of the text's tokens.
    #[serde(rename = "message.output_text.logprobs")]
    Logprobs,
    /// What searches found.
    #[serde(rename = "file_search_call.results")]
    SearchResults,
    /// There is none.
    #[serde(rename = "code_interpreter_call.outputs")]
    CodeOutputs,
    /// There is none.
    #[serde(rename = "computer_call_output.output.image_url")]
    ComputerImages,
    /// There is none.
    #[serde(rename = "message.input_image.image_url")]
    InputImages,
    /// There is none.
    #[serde(rename = "reasoning.encrypted_content")]
    EncryptedReasoning,
    /// There is none.
    #[serde(rename = "web_search_call.action.sources")]
    WebSources,
    /// There is none.
    #[serde(rename = "web_search_call.results")]
    WebResults,
}

/// Where the lines of a batch go.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub enum BatchEndpoint {
    /// Chats.
    #[serde(rename = "/v1/chat/completions")]
    Chat,
    /// Continuations.
    #[serde(rename = "/v1/completions")]
    Completions,
    /// Vectors.
    #[serde(rename = "/v1/embeddings")]
    Embeddings,
    /// Responses.
    #[serde(rename = "/v1/responses")]
    Responses,
}

/// When a batch is given up.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub enum BatchWindow {
    /// After a day.
    #[serde(rename = "24h")]
    Day,
}

/// From when time is counted.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryAnchor {
    /// From the beginning.
    CreatedAt,
}

/// From when time is counted.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActivityAnchor {
    /// From the last time that something was put in or searched.
    LastActiveAt,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FilePurpose {
    /// The lines of a batch.
    Batch,
    /// To be searched.
    Assistants,
    /// Whatever its owner likes.
    UserData,
}

/// How results are ranked.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ranker {
    /// By the score alone.
    Auto,
    /// The same.
    None,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListOrder {
    /// The oldest first.
    Asc,
    /// The newest first.
    Desc,
}

/// How far a file is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListedStatus {
    /// Not yet read.
    InProgress,
    /// To be found.
    Completed,
    /// Not to be read.
    Failed,
    /// Called off.
    Cancelled,
}

/// Up to 16 pairs of texts: names of at most 64 characters, values of at most 512.
#[derive(Clone, Copy, Debug)]
pub struct Metadata;

impl PartialSchema for Metadata {
    fn schema() -> RefOr<Schema> {
        pairs(text(512))
    }
}

impl ToSchema for Metadata {}

/// Up to 16 pairs: names of at most 64 characters; texts of at most 512, numbers or booleans.
#[derive(Clone, Copy, Debug)]
pub struct Attributes;

impl PartialSchema for Attributes {
    fn schema() -> RefOr<Schema> {
        let of = |kind| ObjectBuilder::new().schema_type(kind);
        let values = AnyOfBuilder::new()
            .item(text(512))
            .item(of(Type::Number))
            .item(of(Type::Boolean));
        pairs(values.build())
    }
}

impl ToSchema for Attributes {}

/// Token ids, each with a number from -100 to 100.
#[derive(Clone, Copy, Debug)]
pub struct LogitBias;

impl PartialSchema for LogitBias {
    fn schema() -> RefOr<Schema> {
        let id = ObjectBuilder::new().schema_type(Type::String);
        let bias = ObjectBuilder::new().schema_type(Type::Number);
        let bias = bias.minimum(Some(-100)).maximum(Some(100)).build();
        map(id.pattern(Some("^[0-9]{1,10}$")).build(), bias).into()
    }
}

impl ToSchema for LogitBias {}

fn pairs(values: impl Into<Schema>) -> RefOr<Schema> {
    map(text(64), values).max_properties(Some(16)).into()
}

fn map(names: Object, values: impl Into<Schema>) -> ObjectBuilder {
    let values = AdditionalProperties::RefOr(RefOr::T(values.into()));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(names))
        .additional_properties(Some(values))
}

fn text(length_max: usize) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.max_length(Some(length_max)).build()
}
