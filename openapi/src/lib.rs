//! The REST API's wire types, shaped as OpenAI's clients expect them.
//!
//! They know nothing of the node: the door in `server/node` converts them once, in and out.
//! Request types take unknown fields into `other`, so that the door can refuse what it knows and
//! cannot honour, and pass over what nobody knows.

mod anthropic;
mod audio;
mod audit;
mod batch;
mod carbon;
mod chat;
mod completion;
mod conversation;
mod couch;
mod doctor;
mod document;
mod embedding;
mod emissions;
mod error;
mod file;
mod format;
mod health;
mod identity;
mod kwaai;
mod model;
mod ollama;
mod peer;
mod rerank;
mod response;
mod response_event;
mod response_item;
mod rewards;
mod sign_in;
mod storage;
mod tokenize;
mod tool;
mod usage;
mod vector_store;
mod words;

pub use anthropic::{
    AnthropicBlock, AnthropicBlockDelta, AnthropicBlockParam, AnthropicContent,
    AnthropicCountRequest, AnthropicError, AnthropicErrorBody, AnthropicEvent, AnthropicFormatKind,
    AnthropicMessage, AnthropicMetadata, AnthropicOutputConfig, AnthropicOutputFormat,
    AnthropicRequest, AnthropicRole, AnthropicStop, AnthropicText, AnthropicTextBlock,
    AnthropicTokens, AnthropicTool, AnthropicToolChoice, AnthropicToolMode, AnthropicTurn,
    AnthropicUsage,
};
pub use audio::{
    SpeechText, SpeechUsage, Transcription, TranscriptionForm, TranscriptionSegment,
    TranslationForm, VerboseTranscription,
};
pub use audit::{
    AuditEntry, AuditEntryList, AuditOutcomeName, AuditSaid, PrivacyErased, PrivacyErasure,
    PrivacyExport, PrivacyHeld, PrivacyReceipt, PrivacyRequest,
};
pub use batch::{
    Batch, BatchCounts, BatchError, BatchErrors, BatchInputTokens, BatchLine, BatchList,
    BatchOutput, BatchOutputError, BatchOutputTokens, BatchRequest, BatchResponse, BatchUsage,
    ExpiresAfter,
};
pub use carbon::{
    BestWindow, CarbonCost, CarbonDay, CarbonEnergy, CarbonForecast, CarbonIntensity,
    CarbonMarginal, CarbonMatch, CarbonNode, CarbonPower, CarbonReport, CarbonRequestFigures,
    CarbonScore, CarbonSums, CarbonWindow, UsageFootprint,
};
pub use chat::{
    AssistantMessage, ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatContent,
    ChatDelta, ChatEvent, ChatLogprobs, ChatMessage, ChatRequest, ContentPart, TokenLogprob,
    TopLogprob,
};
pub use completion::{
    Completion, CompletionChoice, CompletionEvent, CompletionLogprobs, CompletionPrompt,
    CompletionRequest,
};
pub use conversation::{
    Conversation, ConversationItemsRequest, ConversationRequest, ConversationUpdate,
};
pub use couch::{
    CouchDatabase, CouchEdited, CouchError, CouchIndexMade, CouchOk, CouchPurged, CouchSizes,
    CouchVendor, CouchWelcome,
};
pub use doctor::{DoctorFinding, DoctorReport};
pub use document::JsonDocument;
pub use embedding::{
    Embedding, EmbeddingInput, EmbeddingList, EmbeddingRequest, EmbeddingUsage, EmbeddingVector,
    EncodingFormat,
};
pub use emissions::{
    AverageIntensity, AverageIntensityRequest, EmissionsData, EmissionsForecast,
    EmissionsForecastRequest, EmissionsPoint, ProblemDetails,
};
pub use error::{ErrorBody, ErrorObject};
pub use file::{Deleted, FileList, FileObject, FileUpload};
pub use format::{JsonSchemaFormat, Prediction, ResponseFormat, StructuredOutputs};
pub use health::{Health, Readiness};
pub use identity::{
    AudienceOptions, CredentialStatusRequest, DidDocumentMetadata, DidResolution,
    DidResolutionMetadata, Identity, IdentityLink, IdentityLinkList, IdentityTier, IssueOptions,
    IssueRequest, Issued, KeyChange, KeyChangeList, PrepareRequest, PresentRequest, Presented,
    ShowCredentialRequest, Verified, VerifyPresentationRequest, VerifyProblem, VerifyRequest,
};
pub use kwaai::{
    Kwaai, KwaaiDataClass, KwaaiPrefer, KwaaiRegions, KwaaiTier, ModelPlaces, RouteCandidate,
    RouteDropped, RouteEstimate, RoutePlace, RoutePlan, RouteRequest,
};
pub use model::{Model, ModelList};
pub use ollama::{
    OllamaCalled, OllamaChatAnswer, OllamaChatLine, OllamaChatRequest, OllamaDetails,
    OllamaEmbedRequest, OllamaEmbedding, OllamaEmbeddingRequest, OllamaEmbeddings, OllamaEnd,
    OllamaError, OllamaFormat, OllamaFunction, OllamaGenerateAnswer, OllamaGenerateLine,
    OllamaGenerateRequest, OllamaLogprob, OllamaMessage, OllamaModel, OllamaModelRequest,
    OllamaModels, OllamaOptions, OllamaProgress, OllamaPullLine, OllamaRole, OllamaSaid,
    OllamaShown, OllamaTokenLogprob, OllamaTool, OllamaToolCall, OllamaVersion,
};
pub use peer::{PeerList, PeerLoad, PeerModel, PeerObject};
pub use rerank::{
    RerankApiVersion, RerankDocument, RerankMeta, RerankRequest, RerankResult, RerankText,
    RerankTokens, RerankUsage, Reranked,
};
pub use response::{
    ConversationParam, ConversationRef, FileSearchTool, FunctionTool, IncompleteDetails,
    InputContent, InputItem, InputPart, InputTokens, InputTokensDetails, OutputTokensDetails,
    ReasoningConfig, ResponseError, ResponseInput, ResponseJsonSchema, ResponseObject,
    ResponseRequest, ResponseStatus, ResponseTool, ResponseToolChoice, ResponseUsage, TextConfig,
    TextFormat, TextRequest, Truncation,
};
pub use response_event::{
    AnnotationStep, ArgumentsDeltaStep, ArgumentsDoneStep, ItemStep, Lifecycle, PartStep,
    ResponseEvent, ResponseStep, SearchStep, TextDeltaStep, TextDoneStep,
};
pub use response_item::{
    Annotation, FileCitation, FileSearchCallItem, FileSearchResult, FunctionCallItem,
    FunctionCallOutputItem, ItemStatus, MessageItem, MessagePart, MessageRole, OutputLogprob,
    OutputText, OutputTopLogprob, ReasoningItem, ResponseItem, ResponseItemList, SearchStatus,
};
pub use rewards::{
    ConsistencyProof, InclusionProof, LedgerFormat, PendingTransferState, RewardsAccount,
    RewardsAccountList, RewardsAccountStatement, RewardsPrices, RewardsStatement,
    RewardsStatementLine, RewardsTariff, RewardsTransfer, RewardsTransferList,
};
pub use sign_in::{
    Capability, CapabilityRequest, Challenge, ChallengeRequest, PasskeyAnswer, PasskeyCeremony,
    PasskeyLoginRequest, PasskeyRegistrationRequest, RevokeCapabilityRequest, Revoked, Session,
    SessionList, SignedMessage,
};
pub use storage::{
    EraseRequest, Erased, ErasedReplica, ErasedReplicaState, NewStorageDatabase, NewStorageGrant,
    NewStorageReplication, NewUpload, StorageBlob, StorageBlobList, StorageDatabase,
    StorageDatabaseList, StorageDeleted, StorageDirection, StorageDocumentList, StorageGrant,
    StorageGrantAccess, StorageGrantList, StorageMode, StorageProof, StorageReplicated,
    StorageReplication, StorageReplicationList, StorageRevision, StorageUpload, StorageUsage,
};
pub use tokenize::{DetokenizeRequest, Detokenized, TokenizeRequest, Tokens};
pub use tool::{
    AllowedTools, AllowedToolsChoice, ChatTool, ChatToolCall, ChatToolCallDelta, ChatToolChoice,
    FunctionCall, FunctionCallChoice, FunctionCallDelta, FunctionDefinition, FunctionName,
    NamedTool, PastFunctionCall, PastToolCall,
};
pub use usage::{CompletionTokensDetails, PromptTokensDetails, Stop, StreamOptions, Usage};
pub use vector_store::{
    ChunkingStrategy, FileCounts, RankingOptions, StaticChunking, VectorSearchContent,
    VectorSearchQuery, VectorSearchRequest, VectorSearchResult, VectorSearchResults, VectorStore,
    VectorStoreExpiry, VectorStoreFile, VectorStoreFileBatch, VectorStoreFileBatchRequest,
    VectorStoreFileContent, VectorStoreFileError, VectorStoreFileList, VectorStoreFileRequest,
    VectorStoreFileUpdate, VectorStoreList, VectorStoreRequest, VectorStoreUpdate,
};
pub use words::{
    ActivityAnchor, AllowedKind, AllowedMode, Attributes, BatchEndpoint, BatchWindow, ChatRole,
    ExpiryAnchor, FilePurpose, FormatKind, FunctionKind, FunctionMode, InputItemKind,
    InputPartKind, ListOrder, ListedStatus, LogitBias, Metadata, PredictionKind, Ranker,
    ResponseInclude, ServiceTier, TextKind, ToolMode, Verbosity,
};

/// Fields that a request carries and its type does not name.
pub type Other = serde_json::Map<String, serde_json::Value>;

/// Tells a field that is null from one that is not there.
fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: serde::Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
