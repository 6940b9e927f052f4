//! Items as clients send them, checked, in the form in which the node keeps them and gives them back.
//! Every item gets an id of the node's own: what clients call them cannot clash with anything.

use kwaainet_core::random_id;
use kwaainet_openapi::{
    FileSearchCallItem, FileSearchResult, FunctionCallItem, FunctionCallOutputItem, ItemStatus,
    MessageItem, MessagePart, MessageRole, OutputText, ReasoningItem, ResponseItem, SearchStatus,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::door::objects::Objects;
use crate::door::{ApiError, tooling};

/// Items of one request; OpenAI has no limit in its document.
const ITEMS_MAX: usize = 4_096;
const CALL_ID_BYTES_MAX: usize = 256;
/// Results of one search, as many as the node itself gives.
const RESULTS_MAX: usize = 50;

/// An item of a request.
#[derive(Debug, PartialEq)]
pub(in crate::door) enum Given {
    /// Whole.
    Item(ResponseItem),
    /// One that is kept; `at` is the path of its id.
    Reference { id: String, at: String },
}

/// What a response answers to: a text of the user's, or items.
pub(super) fn input(input: Option<Value>) -> Result<Vec<Given>, ApiError> {
    match input {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => {
            let content = vec![MessagePart::InputText { text }];
            Ok(vec![Given::Item(message(MessageRole::User, content))])
        }
        Some(Value::Array(items)) => read(items, "input"),
        Some(_) => {
            let message = "Invalid type for 'input': expected a string or an array of items.";
            Err(ApiError::invalid("input", "invalid_type", message))
        }
    }
}

/// A list of items; `at` is its path.
pub(in crate::door) fn read(items: Vec<Value>, at: &str) -> Result<Vec<Given>, ApiError> {
    if items.len() > ITEMS_MAX {
        let message = format!("Invalid '{at}': more than {ITEMS_MAX} items.");
        return Err(ApiError::invalid(at, "array_above_max_length", message));
    }
    let items = items.into_iter().enumerate();
    items
        .map(|(i, item)| one(item, &format!("{at}[{i}]")))
        .collect()
}

/// An id that no other item has.
pub(in crate::door) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", random_id())
}

/// The same item under an id of its own.
pub(super) fn renamed(mut item: ResponseItem) -> ResponseItem {
    match &mut item {
        ResponseItem::Message(item) => item.id = new_id("msg"),
        ResponseItem::FunctionCall(item) => item.id = new_id("fc"),
        ResponseItem::FunctionCallOutput(item) => item.id = new_id("fco"),
        ResponseItem::FileSearchCall(item) => item.id = new_id("fs"),
        ResponseItem::Reasoning(item) => item.id = new_id("rs"),
    }
    item
}

fn message(role: MessageRole, content: Vec<MessagePart>) -> ResponseItem {
    ResponseItem::Message(MessageItem {
        id: new_id("msg"),
        status: ItemStatus::Completed,
        role,
        content,
    })
}

fn one(item: Value, at: &str) -> Result<Given, ApiError> {
    let Value::Object(fields) = item else {
        let message = format!("Invalid type for '{at}': expected an item, an object.");
        return Err(ApiError::invalid(at, "invalid_type", message));
    };
    let item = Fields { fields, at };
    let kind = item.text("type")?;
    let has = |name| item.fields.contains_key(name);
    let item = match kind {
        Some("message") => item.message()?,
        Some("function_call") => item.function_call()?,
        Some("function_call_output") => item.function_call_output()?,
        Some("file_search_call") => item.file_search_call()?,
        Some("reasoning") => item.reasoning(),
        Some("item_reference") => return item.reference(),
        None if has("role") => item.message()?,
        None if has("id") => return item.reference(),
        None => return Err(item.missing("type")),
        Some(_) => {
            let param = item.path("type");
            let message = format!(
                "Unsupported '{param}': this node knows 'message', 'function_call', \
                 'function_call_output', 'file_search_call', 'reasoning' and 'item_reference'."
            );
            return Err(ApiError::invalid(param, "unsupported_value", message));
        }
    };
    Ok(Given::Item(item))
}

/// The fields of one item, read one by one, so that an error names its own.
struct Fields<'a> {
    fields: Map<String, Value>,
    at: &'a str,
}

impl Fields<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => {
                let param = self.path(name);
                let message = format!("Invalid type for '{param}': expected a string.");
                Err(ApiError::invalid(param, "invalid_type", message))
            }
        }
    }

    fn required(&self, name: &str) -> Result<String, ApiError> {
        let text = self.text(name)?.map(str::to_owned);
        text.ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> ApiError {
        ApiError::missing(self.path(name))
    }

    fn wrong(&self, name: &str, expected: &str) -> ApiError {
        let param = self.path(name);
        let message = format!("Invalid '{param}': expected {expected}.");
        ApiError::invalid(param, "invalid_value", message)
    }

    fn status(&self) -> Result<ItemStatus, ApiError> {
        match self.text("status")? {
            None | Some("completed") => Ok(ItemStatus::Completed),
            Some("in_progress" | "incomplete") => Ok(ItemStatus::Incomplete),
            Some(_) => {
                let expected = "'in_progress', 'completed' or 'incomplete'";
                Err(self.wrong("status", expected))
            }
        }
    }

    fn call_id(&self) -> Result<String, ApiError> {
        let id = self.required("call_id")?;
        if (1..=CALL_ID_BYTES_MAX).contains(&id.len()) {
            Ok(id)
        } else {
            Err(self.wrong("call_id", &format!("1 to {CALL_ID_BYTES_MAX} bytes")))
        }
    }

    fn message(&self) -> Result<ResponseItem, ApiError> {
        let role = match self.required("role")?.as_str() {
            "user" => MessageRole::User,
            "system" => MessageRole::System,
            "developer" => MessageRole::Developer,
            "assistant" => MessageRole::Assistant,
            _ => return Err(self.wrong("role", "'user', 'assistant', 'system' or 'developer'")),
        };
        Ok(ResponseItem::Message(MessageItem {
            id: new_id("msg"),
            status: self.status()?,
            role,
            content: self.parts("content", role)?,
        }))
    }

    fn function_call(&self) -> Result<ResponseItem, ApiError> {
        let name = self.required("name")?;
        tooling::check_name(&name, &self.path("name"))?;
        Ok(ResponseItem::FunctionCall(FunctionCallItem {
            id: new_id("fc"),
            status: self.status()?,
            call_id: self.call_id()?,
            name,
            arguments: self.required("arguments")?,
        }))
    }

    fn function_call_output(&self) -> Result<ResponseItem, ApiError> {
        let parts = self.parts("output", MessageRole::User)?;
        Ok(ResponseItem::FunctionCallOutput(FunctionCallOutputItem {
            id: new_id("fco"),
            status: self.status()?,
            call_id: self.call_id()?,
            output: parts.iter().map(MessagePart::text).collect(),
        }))
    }

    fn file_search_call(&self) -> Result<ResponseItem, ApiError> {
        let status = match self.text("status")? {
            None | Some("completed") => SearchStatus::Completed,
            Some("in_progress" | "searching" | "incomplete") => SearchStatus::Incomplete,
            Some("failed") => SearchStatus::Failed,
            Some(_) => return Err(self.wrong("status", "the status of a search")),
        };
        let queries: Option<Vec<String>> = self.list("queries", "a list of strings")?;
        let results: Option<Vec<FileSearchResult>> =
            self.list("results", "a list of results, or null")?;
        if results
            .as_ref()
            .is_some_and(|results| results.len() > RESULTS_MAX)
        {
            return Err(self.wrong("results", &format!("at most {RESULTS_MAX} results")));
        }
        Ok(ResponseItem::FileSearchCall(FileSearchCallItem {
            id: new_id("fs"),
            status,
            queries: queries.ok_or_else(|| self.missing("queries"))?,
            results,
        }))
    }

    fn list<T: DeserializeOwned>(&self, name: &str, expected: &str) -> Result<Option<T>, ApiError> {
        let value = self.fields.get(name).unwrap_or(&Value::Null);
        Option::deserialize(Objects(value.clone())).map_err(|_| {
            let param = self.path(name);
            let message = format!("Invalid type for '{param}': expected {expected}.");
            ApiError::invalid(param, "invalid_type", message)
        })
    }

    fn reasoning(&self) -> ResponseItem {
        let summary = self.fields.get("summary").and_then(Value::as_array);
        ResponseItem::Reasoning(ReasoningItem {
            id: new_id("rs"),
            summary: summary.cloned().unwrap_or_default(),
        })
    }

    fn reference(&self) -> Result<Given, ApiError> {
        Ok(Given::Reference {
            id: self.required("id")?,
            at: self.path("id"),
        })
    }

    fn parts(&self, name: &str, role: MessageRole) -> Result<Vec<MessagePart>, ApiError> {
        let param = self.path(name);
        match self.fields.get(name) {
            Some(Value::String(text)) => Ok(vec![text_part(role, text.clone())]),
            Some(Value::Array(parts)) => parts
                .iter()
                .enumerate()
                .map(|(i, part)| one_part(part, role, &format!("{param}[{i}]")))
                .collect(),
            None | Some(Value::Null) => Err(self.missing(name)),
            Some(_) => {
                let message =
                    format!("Invalid type for '{param}': expected a string or an array of parts.");
                Err(ApiError::invalid(param, "invalid_type", message))
            }
        }
    }
}

fn text_part(role: MessageRole, text: String) -> MessagePart {
    match role {
        MessageRole::Assistant => MessagePart::OutputText(OutputText {
            text,
            ..OutputText::default()
        }),
        _ => MessagePart::InputText { text },
    }
}

fn one_part(part: &Value, role: MessageRole, at: &str) -> Result<MessagePart, ApiError> {
    let is_answer = role == MessageRole::Assistant;
    let field = |name| part.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = field("type");
    let read = match kind.as_deref() {
        Some("input_text") => field("text").map(|text| text_part(role, text)),
        Some("output_text") if is_answer => field("text").map(|text| text_part(role, text)),
        Some("refusal") if is_answer => {
            field("refusal").map(|refusal| MessagePart::Refusal { refusal })
        }
        Some("input_image" | "input_file" | "input_audio" | "computer_screenshot") => {
            let message = format!("Unsupported '{at}': this node's models read text only.");
            return Err(ApiError::invalid(at, "unsupported_value", message));
        }
        _ => None,
    };
    read.ok_or_else(|| {
        let kind = if is_answer {
            "output_text"
        } else {
            "input_text"
        };
        let message =
            format!("Invalid '{at}': expected {{\"type\": \"{kind}\", \"text\": \"…\"}}.");
        ApiError::invalid(at, "invalid_value", message)
    })
}

#[cfg(test)]
mod tests;
