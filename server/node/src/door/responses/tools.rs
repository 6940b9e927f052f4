//! `tools` and `tool_choice`: functions, in the flat shape that this API has for them, and the search in
//! files, which the model sees as one more function.

use std::collections::HashSet;

use kwaainet_core::{Tool, ToolChoice};
use kwaainet_openapi::{
    FileSearchTool, FunctionDefinition, FunctionTool, RankingOptions, ResponseTool,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::door::tooling::{self, Form, Function};
use crate::door::vector_stores::search::Wanted;
use crate::door::{ApiError, body};

/// The name under which the model calls the search in files.
pub(super) const FILE_SEARCH: &str = "file_search";
const STORES_MAX: usize = 16;
const FORM: Form = Form::Flat(&[FILE_SEARCH]);

/// What may be called.
#[derive(Debug)]
pub(super) struct Tools {
    /// As the model is told of it.
    pub(super) tools: Vec<Tool>,
    /// Where and how the node searches, if it is to.
    pub(super) search: Option<FileSearch>,
    /// As it is echoed.
    pub(super) echo: Vec<ResponseTool>,
}

/// A search in files, but for its queries.
#[derive(Clone, Debug)]
pub(super) struct FileSearch {
    /// The ids of the vector stores.
    pub(super) stores: Vec<String>,
    pub(super) wanted: Wanted,
    /// The path of the tool in the request.
    pub(super) at: String,
}

/// Reads the tools of a request.
pub(super) fn read(tools: Option<Vec<Value>>) -> Result<Tools, ApiError> {
    let mut functions = Vec::new();
    let mut search = None;
    // What is echoed in the place of each function: the search, or the function itself.
    let mut instead = Vec::new();
    for (i, tool) in tools.unwrap_or_default().into_iter().enumerate() {
        let at = format!("tools[{i}]");
        if tool.get("type").and_then(Value::as_str) != Some(FILE_SEARCH) {
            functions.push(function(tool, &at)?);
            instead.push(None);
            continue;
        }
        if search.is_some() {
            let message = format!("Invalid '{at}': there is a 'file_search' already.");
            return Err(ApiError::invalid(at, "invalid_value", message));
        }
        let (wanted, echo) = file_search(tool, at)?;
        search = Some(wanted);
        functions.push(as_function());
        instead.push(Some(ResponseTool::FileSearch(echo)));
    }
    let tools = tooling::tools(functions, "tools", |index| format!("tools[{index}]"))?;
    let echo = tools.iter().zip(instead);
    let echo = echo.map(|(tool, search)| search.unwrap_or_else(|| echo_of(tool)));
    Ok(Tools {
        echo: echo.collect(),
        tools,
        search,
    })
}

/// A search as it comes in.
#[derive(Deserialize)]
struct WireSearch {
    vector_store_ids: Option<Vec<String>>,
    max_num_results: Option<i64>,
    filters: Option<Value>,
    ranking_options: Option<RankingOptions>,
}

fn function(tool: Value, at: &str) -> Result<Function, ApiError> {
    let kind = tool.get("type").and_then(Value::as_str);
    FORM.require_function(kind, &format!("{at}.type"))?;
    let definition: Result<FunctionDefinition, _> = body::from_value(tool);
    Ok(definition.map_err(|error| error.within(at))?.into())
}

fn file_search(tool: Value, at: String) -> Result<(FileSearch, FileSearchTool), ApiError> {
    let wire = body::from_value(tool).map_err(|error| error.within(&at));
    let wire: WireSearch = wire?;
    let param = format!("{at}.vector_store_ids");
    let Some(mut stores) = wire.vector_store_ids else {
        return Err(ApiError::missing(param));
    };
    if !(1..=STORES_MAX).contains(&stores.len()) {
        let message = format!("Invalid '{param}': expected 1 to {STORES_MAX} ids.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    let (filters, ranking) = (wire.filters, wire.ranking_options);
    let wanted = Wanted::parse(wire.max_num_results, filters.as_ref(), ranking.as_ref());
    let wanted = wanted.map_err(|error| error.within(&at))?;
    let echo = FileSearchTool {
        vector_store_ids: stores.clone(),
        max_num_results: Some(wanted.limit as i64),
        filters,
        ranking_options: Some(RankingOptions {
            ranker: Some("auto".to_owned()),
            score_threshold: Some(ranking.and_then(|r| r.score_threshold).unwrap_or(0.0)),
            ..RankingOptions::default()
        }),
    };
    // Each store once, in the order in which they are named.
    let mut seen = HashSet::new();
    stores.retain(|id| seen.insert(id.clone()));
    let search = FileSearch { stores, wanted, at };
    Ok((search, echo))
}

/// What the model is told of the search.
fn as_function() -> Function {
    let description = "Searches the user's files for the pieces nearest in meaning to a query.";
    Function {
        name: Some(FILE_SEARCH.to_owned()),
        description: Some(description.to_owned()),
        parameters: Some(json!({
            "type": "object",
            "properties": {"query": {"type": "string", "description": "What to look for."}},
            "required": ["query"],
            "additionalProperties": false,
        })),
        strict: Some(true),
    }
}

fn echo_of(tool: &Tool) -> ResponseTool {
    ResponseTool::Function(FunctionTool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
        strict: tool.strict,
    })
}

/// Which tools may be called.
#[derive(Debug)]
pub(super) struct Choice {
    /// As it is enforced.
    pub(super) choice: ToolChoice,
    /// Whether the node searches before it asks the model.
    pub(super) searches_first: bool,
    /// As it is echoed.
    pub(super) echo: Value,
}

/// Reads the choice among these tools.
pub(super) fn choice(wanted: Option<Value>, tools: &Tools) -> Result<Choice, ApiError> {
    let wanted = wanted.filter(|value| !value.is_null());
    let wanted = wanted.unwrap_or_else(|| json!("auto"));
    let searches_first = wanted.get("type").and_then(Value::as_str) == Some(FILE_SEARCH);
    if searches_first && tools.search.is_none() {
        let at = "tool_choice";
        let message = format!("Invalid '{at}': there is no 'file_search' among 'tools'.");
        return Err(ApiError::invalid(at, "invalid_value", message));
    }
    let choice = match searches_first {
        true => ToolChoice::default(),
        false => FORM.choice(Some(&wanted), &tools.tools)?,
    };
    Ok(Choice {
        choice,
        searches_first,
        echo: wanted,
    })
}
