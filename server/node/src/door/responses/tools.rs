//! `tools` and `tool_choice`: functions, in the flat shape that this API has for them.

use kwaainet_core::{Tool, ToolChoice, ToolMode};
use kwaainet_openapi::FunctionTool;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::door::ApiError;
use crate::door::tooling::{self, Function};

/// The functions that may be called.
pub(super) fn read(tools: Option<Vec<Value>>) -> Result<Vec<Tool>, ApiError> {
    let tools = tools.unwrap_or_default().into_iter().enumerate();
    let functions: Result<Vec<Function>, ApiError> =
        tools.map(|(i, tool)| function(tool, i)).collect();
    tooling::tools(functions?, "tools", |index| format!("tools[{index}]"))
}

/// A function as it comes in.
#[derive(Deserialize)]
struct Wire {
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Value>,
    strict: Option<bool>,
}

fn function(tool: Value, index: usize) -> Result<Function, ApiError> {
    let kind = tool.get("type").and_then(Value::as_str);
    if kind != Some("function") {
        let param = format!("tools[{index}].type");
        let (code, message) = match kind {
            None => ("missing_required_parameter", format!("Missing '{param}'.")),
            Some(_) => (
                "unsupported_value",
                format!("Unsupported '{param}': this node has no tools but 'function'."),
            ),
        };
        return Err(ApiError::invalid(param, code, message));
    }
    let wire: Wire = serde_path_to_error::deserialize(tool).map_err(|error| {
        let param = format!("tools[{index}].{}", error.path());
        let message = format!("Invalid type for '{param}'.");
        ApiError::invalid(param, "invalid_type", message)
    })?;
    Ok(Function {
        name: wire.name,
        description: wire.description,
        parameters: wire.parameters,
        strict: wire.strict,
    })
}

/// A tool as it is echoed.
pub(super) fn echo(tool: &Tool) -> FunctionTool {
    FunctionTool {
        kind: "function".into(),
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
        strict: tool.strict,
    }
}

/// Which tools may be called, as it is echoed and as it is enforced.
pub(super) fn choice(
    wanted: Option<Value>,
    tools: &[Tool],
) -> Result<(Value, ToolChoice), ApiError> {
    let at = "tool_choice";
    let wanted = wanted.filter(|value| !value.is_null());
    let wanted = wanted.unwrap_or_else(|| json!("auto"));
    let (mode, only) = match &wanted {
        Value::String(mode) => (mode_of(mode, at)?, None),
        Value::Object(choice) => match choice.get("type").and_then(Value::as_str) {
            Some("function") => (ToolMode::Required, Some(vec![named(&wanted, at)?])),
            Some("allowed_tools") => {
                let mode = choice.get("mode").and_then(Value::as_str).unwrap_or("");
                let mode = match mode_of(mode, "tool_choice.mode")? {
                    ToolMode::None => return Err(wrong_choice("tool_choice.mode")),
                    mode => mode,
                };
                (mode, Some(allowed(choice.get("tools"))?))
            }
            Some(_) => {
                let param = "tool_choice.type";
                let message =
                    format!("Unsupported '{param}': expected 'function' or 'allowed_tools'.");
                return Err(ApiError::invalid(param, "unsupported_value", message));
            }
            None => return Err(wrong_choice("tool_choice.type")),
        },
        _ => return Err(wrong_choice(at)),
    };
    let choice = tooling::choice(mode, only, tools, at)?;
    Ok((wanted, choice))
}

fn mode_of(mode: &str, param: &str) -> Result<ToolMode, ApiError> {
    match mode {
        "auto" => Ok(ToolMode::Auto),
        "required" => Ok(ToolMode::Required),
        "none" => Ok(ToolMode::None),
        _ => Err(wrong_choice(param)),
    }
}

fn wrong_choice(param: &str) -> ApiError {
    let message = format!(
        "Invalid '{param}': expected 'auto', 'required', 'none', a function, or allowed tools."
    );
    ApiError::invalid(param, "invalid_value", message)
}

fn allowed(tools: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let at = "tool_choice.tools";
    let tools = tools.and_then(Value::as_array);
    let tools = tools.ok_or_else(|| wrong_choice(at))?.iter().enumerate();
    tools
        .map(|(i, tool)| {
            let at = format!("{at}[{i}]");
            match tool.get("type").and_then(Value::as_str) {
                Some("function") => named(tool, &at),
                _ => Err(wrong_choice(&format!("{at}.type"))),
            }
        })
        .collect()
}

fn named(tool: &Value, at: &str) -> Result<String, ApiError> {
    let name = tool.get("name").and_then(Value::as_str);
    name.map(str::to_owned).ok_or_else(|| {
        let param = format!("{at}.name");
        let message = format!("Missing required parameter: '{param}'.");
        ApiError::invalid(param, "missing_required_parameter", message)
    })
}
