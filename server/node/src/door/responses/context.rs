//! What the model is to read: what was said before, what comes in, and how it becomes a prompt that
//! fits.

use kwaainet_core::{
    BackendError, Conversation, JobError, Message, Principal, Role, TextTokens, Tokenized, ToolCall,
};
use kwaainet_openapi::{
    FileSearchResult, ItemStatus, MessagePart, MessageRole, ResponseItem, SearchStatus, Truncation,
};
use kwaainet_store::{History, HistoryLimits, Seeker};
use serde_json::json;

use super::items::{self, Given};
use super::kept::known;
use super::request::Asked;
use super::stored::seeker;
use super::tools::FILE_SEARCH;
use crate::door::{ApiError, App, conversations};

/// Responses that follow on each other.
const CHAIN_MAX: i64 = 1_000;
/// Bytes of everything that was said before.
const HISTORY_BYTES_MAX: i64 = 4 << 20;

/// What was said.
pub(super) struct Said {
    /// In earlier responses or in the conversation.
    pub(super) earlier: Vec<ResponseItem>,
    /// In this request.
    pub(super) input: Vec<ResponseItem>,
}

impl Said {
    /// In order.
    pub(super) fn all(&self) -> Vec<&ResponseItem> {
        self.earlier.iter().chain(&self.input).collect()
    }
}

/// Looks up everything that the request refers to.
pub(super) async fn gather(
    app: &App,
    principal: &Principal,
    asked: &mut Asked,
) -> Result<Said, ApiError> {
    let who = seeker(app, principal);
    let earlier = match (&asked.previous, &asked.conversation) {
        (Some(id), _) => history(app, who, id).await?,
        (None, Some(id)) => conversation(app, who, id, asked.input.len()).await?,
        (None, None) => Vec::new(),
    };
    let input = resolve(app, principal, std::mem::take(&mut asked.input)).await?;
    let said = Said { earlier, input };
    check(&said)?;
    Ok(said)
}

/// The items themselves in the place of references to them.
pub(in crate::door) async fn resolve(
    app: &App,
    principal: &Principal,
    given: Vec<Given>,
) -> Result<Vec<ResponseItem>, ApiError> {
    let who = seeker(app, principal);
    let mut items = Vec::with_capacity(given.len());
    for given in given {
        match given {
            Given::Item(item) => items.push(item),
            Given::Reference { id, at } => {
                let kept = app.store.kept_item(who, &id).await?;
                let kept = kept.ok_or_else(|| {
                    let message = format!("Item with id '{id}' not found.");
                    ApiError::not_found(at, "item_not_found", message)
                })?;
                items.push(items::renamed(known(&kept)?));
            }
        }
    }
    Ok(items)
}

async fn history(app: &App, who: Seeker<'_>, id: &str) -> Result<Vec<ResponseItem>, ApiError> {
    let param = "previous_response_id";
    let limits = HistoryLimits {
        responses_max: CHAIN_MAX,
        bytes_max: HISTORY_BYTES_MAX,
    };
    match app.store.history(who, id, limits).await? {
        History::Items(items) => items.iter().map(known).collect(),
        History::Missing(missing) => {
            let message = format!("Previous response with id '{missing}' not found.");
            let code = "previous_response_not_found";
            Err(ApiError::not_found(param, code, message))
        }
        History::Unfinished => {
            let message = format!("The response '{id}' is not over yet.");
            Err(ApiError::invalid(param, "response_not_finished", message))
        }
        History::InConversation(conversation) => {
            let message = format!(
                "The response '{id}' belongs to a conversation: follow it with 'conversation' \
                 '{conversation}'."
            );
            Err(ApiError::invalid(param, "invalid_value", message))
        }
        History::TooLong => {
            let message = format!(
                "What was said before '{id}' is more than {CHAIN_MAX} responses or \
                 {HISTORY_BYTES_MAX} bytes."
            );
            Err(ApiError::invalid(param, "context_length_exceeded", message))
        }
    }
}

/// A conversation's items, if there is room for so many more and an answer.
async fn conversation(
    app: &App,
    who: Seeker<'_>,
    id: &str,
    more: usize,
) -> Result<Vec<ResponseItem>, ApiError> {
    let Some(found) = app.store.conversation(who, id).await? else {
        return Err(conversations::missing(id, "conversation"));
    };
    let limits = conversations::LIMITS;
    if found.items + more as i64 >= limits.items_max || found.bytes >= limits.bytes_max {
        return Err(conversations::full("conversation"));
    }
    let items = app.store.conversation_items(id).await?;
    items.iter().map(known).collect()
}

/// There is something to answer, and no output without its call.
fn check(said: &Said) -> Result<(), ApiError> {
    let all = said.all();
    if all.is_empty() {
        return Err(ApiError::missing("input"));
    }
    let mut calls: Vec<&str> = Vec::new();
    for item in all {
        match item {
            ResponseItem::FunctionCall(call) => calls.push(&call.call_id),
            ResponseItem::FunctionCallOutput(output)
                if !calls.contains(&output.call_id.as_str()) =>
            {
                let id = &output.call_id;
                let message =
                    format!("No tool call found for function call output with call_id {id}.");
                return Err(ApiError::invalid("input", "invalid_value", message));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The prompt; with `truncation: auto`, without as many of the oldest items as it takes to fit.
pub(super) async fn prompt(
    app: &App,
    principal: &Principal,
    asked: &Asked,
    all: &[&ResponseItem],
) -> Result<Conversation, ApiError> {
    let whole = whole(asked, all);
    if asked.truncation == Truncation::Disabled {
        return Ok(whole);
    }
    if fits(app, principal, asked, whole.clone()).await? {
        return Ok(whole);
    }
    // The fewest that have to go; the last item always stays.
    let (mut low, mut high) = (1, all.len().saturating_sub(1));
    let without = |dropped: usize| {
        let left = complete(&all[dropped..]);
        self::whole(asked, &left)
    };
    while low < high {
        let middle = low.midpoint(high);
        if fits(app, principal, asked, without(middle)).await? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(without(high))
}

/// The prompt of all these items.
pub(super) fn whole(asked: &Asked, items: &[&ResponseItem]) -> Conversation {
    asked.around(messages(asked.instructions.as_deref(), items))
}

/// Whether there is room for the prompt and the answer that is asked for, or some answer.
async fn fits(
    app: &App,
    principal: &Principal,
    asked: &Asked,
    chat: Conversation,
) -> Result<bool, ApiError> {
    let room = asked.params.max_tokens.unwrap_or(1);
    match count(app, principal, asked, chat).await? {
        Ok(tokens) => {
            let context = tokens.context as usize;
            Ok(tokens.ids.len().saturating_add(room as usize) <= context)
        }
        Err(BackendError::InputTooLong { .. } | BackendError::ContextOverflow { .. }) => Ok(false),
        Err(BackendError::Unsupported { .. }) => {
            let message = "This model's tokens cannot be counted, so nothing can be left out.";
            Err(ApiError::invalid(
                "truncation",
                "unsupported_value",
                message,
            ))
        }
        Err(error) => Err(refused(error.into())),
    }
}

/// How many tokens the prompt has, by the model's own tokenizer.
pub(super) async fn length(
    app: &App,
    principal: &Principal,
    asked: &Asked,
    chat: Conversation,
) -> Result<u32, ApiError> {
    let counted = count(app, principal, asked, chat).await?;
    let tokens = counted.map_err(|error| refused(error.into()))?;
    Ok(u32::try_from(tokens.ids.len()).unwrap_or(u32::MAX))
}

/// The tokens of a prompt, or why the backend does not count them.
pub(super) async fn count(
    app: &App,
    principal: &Principal,
    asked: &Asked,
    chat: Conversation,
) -> Result<Result<TextTokens, BackendError>, ApiError> {
    let (backend, _permit) = app
        .hallway
        .question(principal, &asked.model, &asked.constraints)?;
    let text = Tokenized::Chat(chat);
    Ok(backend.tokenize(asked.model.clone(), text).await)
}

/// What became of a job, with the field's name that this endpoint has for the prompt.
pub(super) fn refused(mut error: JobError) -> ApiError {
    if let JobError::Backend(
        BackendError::ContextOverflow { param, .. }
        | BackendError::InputTooLong { param, .. }
        | BackendError::Unsupported { param, .. }
        | BackendError::Invalid { param, .. },
    ) = &mut error
        && *param == "messages"
    {
        *param = "input";
    }
    error.into()
}

/// Without outputs whose calls are not among these items.
fn complete<'a>(items: &[&'a ResponseItem]) -> Vec<&'a ResponseItem> {
    let calls: Vec<&str> = items
        .iter()
        .filter_map(|item| match item {
            ResponseItem::FunctionCall(call) => Some(call.call_id.as_str()),
            _ => None,
        })
        .collect();
    let stays = |item: &&&ResponseItem| match item {
        ResponseItem::FunctionCallOutput(output) => calls.contains(&output.call_id.as_str()),
        _ => true,
    };
    items.iter().filter(stays).copied().collect()
}

/// Items as the model's chat template knows them: calls are part of the assistant's turn.
fn messages(instructions: Option<&str>, items: &[&ResponseItem]) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::with_capacity(items.len() + 1);
    messages.extend(instructions.map(|text| Message::new(Role::System, text)));
    for item in items {
        match item {
            ResponseItem::Message(message) => {
                let role = match message.role {
                    MessageRole::User => Role::User,
                    MessageRole::System | MessageRole::Developer => Role::System,
                    MessageRole::Assistant => Role::Assistant,
                };
                let text: String = message.content.iter().map(MessagePart::text).collect();
                messages.push(Message::new(role, text));
            }
            ResponseItem::FunctionCall(call) => {
                // A call that was cut and that nobody answered is no JSON and leads nowhere.
                if call.status == ItemStatus::Incomplete && !is_answered(&call.call_id, items) {
                    continue;
                }
                let call = ToolCall {
                    id: call.call_id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                };
                add_call(&mut messages, call);
            }
            ResponseItem::FileSearchCall(search) => {
                // One that a client tells of without its results; what was said of them is in the text.
                let Some(results) = &search.results else {
                    continue;
                };
                let query = search.queries.join(" ");
                let call = ToolCall {
                    id: search.id.clone(),
                    name: FILE_SEARCH.to_owned(),
                    arguments: json!({"query": query}).to_string(),
                };
                add_call(&mut messages, call);
                messages.push(Message {
                    tool_call_id: Some(search.id.clone()),
                    ..Message::new(Role::Tool, findings(search.status, results))
                });
            }
            ResponseItem::FunctionCallOutput(output) => messages.push(Message {
                tool_call_id: Some(output.call_id.clone()),
                ..Message::new(Role::Tool, output.output.clone())
            }),
            ResponseItem::Reasoning(_) => {}
        }
    }
    messages
}

/// Adds a call to the assistant's turn.
fn add_call(messages: &mut Vec<Message>, call: ToolCall) {
    match messages.last_mut() {
        Some(last) if last.role == Role::Assistant => last.tool_calls.push(call),
        _ => messages.push(Message {
            tool_calls: vec![call],
            ..Message::new(Role::Assistant, "")
        }),
    }
}

/// What a search found, as the model reads it.
fn findings(status: SearchStatus, results: &[FileSearchResult]) -> String {
    if status == SearchStatus::Failed {
        return "The search failed.".to_owned();
    }
    if results.is_empty() {
        return "Nothing was found.".to_owned();
    }
    let pieces = results.iter();
    let pieces = pieces.map(|result| format!("From {}:\n{}", result.filename, result.text));
    pieces.collect::<Vec<_>>().join("\n\n")
}

fn is_answered(call_id: &str, items: &[&ResponseItem]) -> bool {
    items.iter().any(|item| {
        matches!(item, ResponseItem::FunctionCallOutput(output) if output.call_id == call_id)
    })
}
