//! Anthropic's tools in the domain's words. Only tools that the client runs, with a schema of its own.

use kwaainet_core::{Tool, ToolChoice, ToolMode};
use kwaainet_openapi::{AnthropicTool, AnthropicToolChoice};
use serde_json::{Value, json};

use crate::door::ApiError;
use crate::door::tooling::{self, Function};
use crate::door::unsupported::{self, Neutral, Refusal};

const REFUSED: &[Refusal] = &[
    ("defer_loading", &[Neutral::False]),
    ("input_examples", &[Neutral::Empty]),
];

/// The tools.
pub(super) fn read(tools: Vec<AnthropicTool>) -> Result<Vec<Tool>, ApiError> {
    let functions = tools
        .into_iter()
        .enumerate()
        .map(|(index, tool)| function(tool, &at(index)))
        .collect::<Result<_, _>>()?;
    tooling::tools(functions, "tools", at)
}

fn at(index: usize) -> String {
    format!("tools[{index}]")
}

fn function(tool: AnthropicTool, at: &str) -> Result<Function, ApiError> {
    if let Some(kind) = tool.kind.filter(|kind| kind != "custom") {
        let param = format!("{at}.type");
        let known = "abcdefghijklmnopqrstuvwxyz0123456789_";
        let kind: String = kind
            .chars()
            .filter(|c| known.contains(*c))
            .take(64)
            .collect();
        let message = format!(
            "Unsupported '{param}': '{kind}' is a tool that Anthropic defines; this node takes \
             'custom' ones only."
        );
        return Err(ApiError::invalid(param, "unsupported_value", message));
    }
    unsupported::check(&tool.other, REFUSED, &format!("{at}."))?;
    let callers = tool.other.get("allowed_callers");
    if callers.is_some_and(|callers| !callers.is_null() && *callers != json!(["direct"])) {
        let param = format!("{at}.allowed_callers");
        let message = format!("Unsupported '{param}': only the model itself calls tools here.");
        return Err(ApiError::invalid(param, "unsupported_value", message));
    }
    let schema = tool.input_schema;
    if !matches!(&schema, Some(Value::Object(schema)) if schema.get("type") == Some(&json!("object")))
    {
        let param = format!("{at}.input_schema");
        let message = format!("Invalid '{param}': expected a JSON schema of type 'object'.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    Ok(Function {
        name: tool.name,
        description: tool.description,
        parameters: schema,
        strict: tool.strict,
    })
}

/// Which of them may be called, and whether several at once.
pub(super) fn choice(
    choice: Option<AnthropicToolChoice>,
    tools: &[Tool],
) -> Result<(ToolChoice, bool), ApiError> {
    let at = "tool_choice";
    let Some(choice) = choice else {
        return Ok((ToolChoice::default(), true));
    };
    let (mode, only) = match (choice.kind.as_deref(), choice.name) {
        (Some("auto"), _) => (ToolMode::Auto, None),
        (Some("any"), _) => (ToolMode::Required, None),
        (Some("none"), _) => (ToolMode::None, None),
        (Some("tool"), Some(name)) => (ToolMode::Required, Some(vec![name])),
        (Some("tool"), None) => return Err(ApiError::missing("tool_choice.name")),
        _ => {
            let param = "tool_choice.type";
            let message = format!("Invalid '{param}': it must be 'auto', 'any', 'tool' or 'none'.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
    };
    // A tool that is named is called once.
    let is_named = only.is_some();
    let parallel = !(is_named || choice.disable_parallel_tool_use.unwrap_or(false));
    Ok((tooling::choice(mode, only, tools, at)?, parallel))
}
