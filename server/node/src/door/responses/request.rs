//! `POST /v1/responses` in the domain's words: every field checked, before anything is looked up.

use kwaainet_core::{
    Constraints, Conversation, GenerateParams, ModelId, Priority, Tool, ToolChoice,
};
use kwaainet_openapi::{
    ConversationRef, ReasoningConfig, ResponseObject, ResponseRequest, ResponseStatus, Truncation,
};
use serde_json::Value;

use super::fields;
use super::items::{self, Given};
use super::tools::{self, FileSearch};
use crate::door::ApiError;
use crate::door::constraints::Demands;
use crate::door::params::{self, sampling_fields};

/// OpenAI's limits.
const SAFETY_IDENTIFIER_MAX: usize = 64;
const PROMPT_CACHE_KEY_MAX: usize = 64;
const ID_MAX: usize = 128;
/// Searches of one response.
const SEARCHES_MAX: usize = 16;

/// A checked request.
pub(super) struct Asked {
    pub(super) model: ModelId,
    pub(super) instructions: Option<String>,
    pub(super) input: Vec<Given>,
    pub(super) previous: Option<String>,
    pub(super) conversation: Option<String>,
    pub(super) tools: Vec<Tool>,
    pub(super) tool_choice: ToolChoice,
    /// Where the node searches, if it is to.
    pub(super) search: Option<FileSearch>,
    /// Whether it searches before it asks the model.
    pub(super) searches_first: bool,
    /// Whether the client wants to see what is found.
    pub(super) shows_results: bool,
    /// How often the node may search.
    pub(super) searches_max: usize,
    pub(super) parallel_calls: bool,
    pub(super) params: GenerateParams,
    /// Where its jobs may be done.
    pub(super) constraints: Constraints,
    pub(super) truncation: Truncation,
    pub(super) stream: bool,
}

impl Asked {
    /// Checks every field. Gives the answer too, as far as it is known by now; `now_ms` is its time.
    pub(super) fn parse(
        mut request: ResponseRequest,
        demands: Demands,
        now_ms: i64,
    ) -> Result<(Self, ResponseObject), ApiError> {
        fields::check_other(&request.other)?;
        let model = params::model(request.model.take())?;
        let constraints = demands.with(request.kwaai.take())?;
        let input = items::input(request.input.take())?;
        let tools = tools::read(request.tools.take())?;
        let choice = tools::choice(request.tool_choice.take(), &tools)?;
        let (text, grammar) = fields::text(request.text.take())?;
        let include = fields::include(request.include.as_deref(), request.top_logprobs)?;
        let max_tokens_param = "max_output_tokens";
        let params = GenerateParams {
            max_tokens: params::max_tokens(request.max_output_tokens, max_tokens_param)?,
            max_tokens_param,
            logprobs: include.logprobs,
            sampling: sampling_fields!(request).check()?,
            grammar,
            priority: Priority::Interactive,
            ..GenerateParams::default()
        };
        let max_calls = params::integer(request.max_tool_calls, "max_tool_calls", (1, i64::MAX))?;
        fields::service_tier(request.service_tier.as_deref())?;
        let previous = id(request.previous_response_id.take(), "previous_response_id")?;
        let conversation = conversation_id(request.conversation.take())?;
        let (store, background) = keeping(&request, &previous, &conversation)?;
        let parallel_calls = request.parallel_tool_calls.unwrap_or(true);
        let truncation = request.truncation.unwrap_or_default();
        let instructions = request.instructions.take();
        let object = ResponseObject {
            id: items::new_id("resp"),
            object: "response".into(),
            created_at: now_ms / 1_000,
            completed_at: None,
            status: if background {
                ResponseStatus::Queued
            } else {
                ResponseStatus::InProgress
            },
            background,
            error: None,
            incomplete_details: None,
            instructions: instructions.clone(),
            max_output_tokens: request.max_output_tokens,
            max_tool_calls: request.max_tool_calls,
            metadata: params::metadata(request.metadata.take())?,
            model: model.to_string(),
            output: Vec::new(),
            parallel_tool_calls: parallel_calls,
            previous_response_id: previous.clone(),
            conversation: conversation.clone().map(|id| ConversationRef { id }),
            prompt_cache_key: params::label(
                request.prompt_cache_key.take(),
                "prompt_cache_key",
                PROMPT_CACHE_KEY_MAX,
            )?,
            reasoning: ReasoningConfig::default(),
            safety_identifier: params::label(
                request.safety_identifier.take(),
                "safety_identifier",
                SAFETY_IDENTIFIER_MAX,
            )?,
            service_tier: "default".into(),
            store,
            temperature: request.temperature.unwrap_or(1.0),
            text,
            tool_choice: choice.echo,
            tools: tools.echo,
            top_logprobs: request.top_logprobs.unwrap_or(0),
            top_p: request.top_p.unwrap_or(1.0),
            truncation,
            usage: None,
            user: params::label(request.user.take(), "user", params::LABEL_BYTES_MAX)?,
        };
        let asked = Self {
            model,
            instructions,
            input,
            previous,
            conversation,
            tools: tools.tools,
            tool_choice: choice.choice,
            search: tools.search,
            searches_first: choice.searches_first,
            shows_results: include.search_results,
            searches_max: max_calls.map_or(SEARCHES_MAX, |max| {
                usize::try_from(max).map_or(SEARCHES_MAX, |max| max.min(SEARCHES_MAX))
            }),
            parallel_calls,
            params,
            constraints,
            truncation,
            stream: fields::streaming(request.stream, request.stream_options.take())?,
        };
        Ok((asked, object))
    }

    /// The conversation around these messages.
    pub(super) fn around(&self, messages: Vec<kwaainet_core::Message>) -> Conversation {
        Conversation {
            messages,
            tools: self.tools.clone(),
            tool_choice: self.tool_choice.clone(),
            parallel_calls: self.parallel_calls,
        }
    }
}

/// Whether the response is kept, and whether it is made without the client.
fn keeping(
    request: &ResponseRequest,
    previous: &Option<String>,
    conversation: &Option<String>,
) -> Result<(bool, bool), ApiError> {
    let store = request.store.unwrap_or(true);
    let background = request.background.unwrap_or(false);
    if background && !store {
        let message = "A background response is kept: 'background' needs 'store' to be true.";
        return Err(ApiError::invalid("store", "invalid_value", message));
    }
    if conversation.is_some() && !store {
        let message = "A conversation is kept: 'conversation' needs 'store' to be true.";
        return Err(ApiError::invalid("store", "invalid_value", message));
    }
    if conversation.is_some() && previous.is_some() {
        let message = "Give either 'previous_response_id' or 'conversation', not both.";
        let param = "previous_response_id";
        let code = "mutually_exclusive_parameters";
        return Err(ApiError::invalid(param, code, message));
    }
    Ok((store, background))
}

fn conversation_id(conversation: Option<Value>) -> Result<Option<String>, ApiError> {
    match conversation {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => id(Some(text), "conversation"),
        Some(Value::Object(mut fields)) => match fields.remove("id") {
            Some(Value::String(text)) => id(Some(text), "conversation.id"),
            _ => Err(ApiError::missing("conversation.id")),
        },
        Some(_) => {
            let message = "Invalid type for 'conversation': expected an id or an object with one.";
            Err(ApiError::invalid("conversation", "invalid_type", message))
        }
    }
}

fn id(id: Option<String>, param: &'static str) -> Result<Option<String>, ApiError> {
    match &id {
        Some(text) if text.is_empty() || text.len() > ID_MAX => {
            let message = format!("Invalid '{param}': an id has 1 to {ID_MAX} bytes.");
            Err(ApiError::invalid(param, "invalid_value", message))
        }
        _ => Ok(id),
    }
}
