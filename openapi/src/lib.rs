//! The REST API's wire types, shaped as OpenAI's clients expect them.
//!
//! They know nothing of the node: the door in `server/node` converts them once, in and out.
//! Request types take unknown fields into `other`, so that the door can refuse what it knows and
//! cannot honour, and pass over what nobody knows.

mod chat;
mod completion;
mod conversation;
mod embedding;
mod error;
mod health;
mod model;
mod response;
mod response_event;
mod response_item;
mod tokenize;
mod usage;

pub use chat::{
    AssistantMessage, ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatContent,
    ChatDelta, ChatLogprobs, ChatMessage, ChatRequest, ContentPart, TokenLogprob, TopLogprob,
};
pub use completion::{
    Completion, CompletionChoice, CompletionLogprobs, CompletionPrompt, CompletionRequest,
};
pub use conversation::{
    Conversation, ConversationDeleted, ConversationItemsRequest, ConversationRequest,
    ConversationUpdate,
};
pub use embedding::{
    Embedding, EmbeddingInput, EmbeddingList, EmbeddingRequest, EmbeddingUsage, EmbeddingVector,
    EncodingFormat,
};
pub use error::{ErrorBody, ErrorObject};
pub use health::{Health, Readiness};
pub use model::{Model, ModelList};
pub use response::{
    ConversationParam, ConversationRef, FunctionTool, IncompleteDetails, InputContent, InputItem,
    InputTokens, InputTokensDetails, JsonSchemaFormat, OutputTokensDetails, ReasoningConfig,
    ResponseDeleted, ResponseError, ResponseInput, ResponseObject, ResponseRequest, ResponseStatus,
    ResponseToolChoice, ResponseUsage, TextConfig, TextFormat, TextRequest, Truncation,
};
pub use response_event::{
    ArgumentsDeltaStep, ArgumentsDoneStep, ItemStep, Lifecycle, PartStep, ResponseEvent,
    ResponseStep, TextDeltaStep, TextDoneStep,
};
pub use response_item::{
    FunctionCallItem, FunctionCallOutputItem, ItemStatus, MessageItem, MessagePart, MessageRole,
    OutputLogprob, OutputText, OutputTopLogprob, ReasoningItem, ResponseItem, ResponseItemList,
};
pub use tokenize::{DetokenizeRequest, Detokenized, TokenizeRequest, Tokens};
pub use usage::{CompletionTokensDetails, PromptTokensDetails, Stop, StreamOptions, Usage};

/// Fields that a request carries and its type does not name.
pub type Other = serde_json::Map<String, serde_json::Value>;
