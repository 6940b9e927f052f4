//! `tools` and their older form, `functions`: one offer to the model, and the form of its answer.

use kwaainet_core::{Tool, ToolChoice, ToolMode};
use kwaainet_openapi::{ChatRequest, ChatTool, FunctionDefinition};
use serde_json::Value;

use super::super::tooling::{self, Function};
use super::super::{ApiError, params};

/// What the model may call.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) tools: Vec<Tool>,
    pub(super) choice: ToolChoice,
    pub(super) parallel: bool,
    pub(super) form: CallForm,
}

/// How calls are written in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallForm {
    /// `tool_calls`.
    Tools,
    /// `function_call`, at most one.
    Function,
}

/// The offer of a request.
pub(super) fn offer(request: &mut ChatRequest) -> Result<Offer, ApiError> {
    let offered = request.tools.take().unwrap_or_default();
    let functions = request.functions.take().unwrap_or_default();
    let tool_choice = request.tool_choice.take().filter(|value| !value.is_null());
    let function_call = request.function_call.take();
    let function_call = function_call.filter(|value| !value.is_null());
    if functions.is_empty() {
        refuse_unless_idle(function_call.as_ref(), "function_call", "functions")?;
        let tools = tools(offered)?;
        // A tool that is named is called once.
        let named = tool_choice
            .as_ref()
            .is_some_and(|c| c["type"] == "function");
        let (mode, only) = tool_choice.map_or(Ok(AUTO), read_tool_choice)?;
        return Ok(Offer {
            choice: tooling::choice(mode, only, &tools, "tool_choice")?,
            tools,
            parallel: !named && request.parallel_tool_calls.unwrap_or(true),
            form: CallForm::Tools,
        });
    }
    if !offered.is_empty() {
        let message = "Give either 'tools' or 'functions', not both.";
        return Err(ApiError::invalid("functions", "invalid_value", message));
    }
    refuse_unless_idle(tool_choice.as_ref(), "tool_choice", "tools")?;
    let functions = functions.into_iter().map(function).collect();
    let tools = tooling::tools(functions, "functions", |i| format!("functions[{i}]"))?;
    let (mode, only) = function_call.map_or(Ok(AUTO), read_function_call)?;
    Ok(Offer {
        choice: tooling::choice(mode, only, &tools, "function_call")?,
        tools,
        parallel: false,
        form: CallForm::Function,
    })
}

/// The tools of a request, without a choice among them.
pub(crate) fn tools(tools: Vec<ChatTool>) -> Result<Vec<Tool>, ApiError> {
    let read = |(i, tool): (usize, ChatTool)| {
        require_function(tool.kind.as_deref(), &format!("tools[{i}].type"))?;
        let at = format!("tools[{i}].function");
        let missing = || {
            let message = format!("Missing required parameter: '{at}'.");
            ApiError::invalid(at.clone(), "missing_required_parameter", message)
        };
        tool.function.map(function).ok_or_else(missing)
    };
    let functions: Result<_, ApiError> = tools.into_iter().enumerate().map(read).collect();
    tooling::tools(functions?, "tools", |i| format!("tools[{i}].function"))
}

/// Of all kinds of tools, functions are the one that can be called.
pub(super) fn require_function(kind: Option<&str>, param: &str) -> Result<(), ApiError> {
    let (code, message) = match kind {
        Some("function") => return Ok(()),
        None => (
            "missing_required_parameter",
            format!("Missing required parameter: '{param}'."),
        ),
        Some("custom") => (
            "unsupported_value",
            format!(
                "Unsupported '{param}': this node's models call tools of type 'function' only."
            ),
        ),
        Some(_) => (
            "invalid_value",
            format!("Invalid '{param}': expected 'function'."),
        ),
    };
    Err(ApiError::invalid(param, code, message))
}

const AUTO: (ToolMode, Option<Vec<String>>) = (ToolMode::Auto, None);

fn function(definition: FunctionDefinition) -> Function {
    Function {
        name: definition.name,
        description: definition.description,
        parameters: definition.parameters,
        strict: definition.strict,
    }
}

/// A choice among what is not offered may still say that nothing is to be called.
fn refuse_unless_idle(
    choice: Option<&Value>,
    param: &'static str,
    offer: &str,
) -> Result<(), ApiError> {
    match choice.map(Value::as_str) {
        None | Some(Some("none" | "auto")) => Ok(()),
        Some(_) => {
            let message = format!("'{param}' is only allowed where '{offer}' are given.");
            Err(ApiError::invalid(param, "invalid_value", message))
        }
    }
}

fn read_tool_choice(choice: Value) -> Result<(ToolMode, Option<Vec<String>>), ApiError> {
    const AT: &str = "tool_choice";
    match &choice {
        Value::String(mode) => match mode.as_str() {
            "none" => Ok((ToolMode::None, None)),
            "auto" => Ok(AUTO),
            "required" => Ok((ToolMode::Required, None)),
            _ => {
                let message = format!("Invalid '{AT}': expected 'none', 'auto' or 'required'.");
                Err(ApiError::invalid(AT, "invalid_value", message))
            }
        },
        Value::Object(fields) => match fields.get("type").and_then(Value::as_str) {
            Some("allowed_tools") => allowed_tools(fields.get("allowed_tools")),
            kind => {
                require_function(kind, &format!("{AT}.type"))?;
                let name = function_name(&choice, AT)?;
                Ok((ToolMode::Required, Some(vec![name])))
            }
        },
        _ => {
            let message = format!("Invalid type for '{AT}': expected a string or an object.");
            Err(ApiError::invalid(AT, "invalid_type", message))
        }
    }
}

fn allowed_tools(allowed: Option<&Value>) -> Result<(ToolMode, Option<Vec<String>>), ApiError> {
    const AT: &str = "tool_choice.allowed_tools";
    let allowed = params::required(allowed, AT)?;
    let mode = match allowed.get("mode").and_then(Value::as_str) {
        Some("auto") => ToolMode::Auto,
        Some("required") => ToolMode::Required,
        _ => {
            let param = format!("{AT}.mode");
            let message = format!("Invalid '{param}': expected 'auto' or 'required'.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
    };
    let Some(Value::Array(tools)) = allowed.get("tools") else {
        let param = format!("{AT}.tools");
        let message = format!("Invalid type for '{param}': expected an array of tools.");
        return Err(ApiError::invalid(param, "invalid_type", message));
    };
    let name = |(i, tool): (usize, &Value)| {
        let at = format!("{AT}.tools[{i}]");
        require_function(
            tool.get("type").and_then(Value::as_str),
            &format!("{at}.type"),
        )?;
        function_name(tool, &at)
    };
    let names: Result<_, ApiError> = tools.iter().enumerate().map(name).collect();
    Ok((mode, Some(names?)))
}

fn function_name(tool: &Value, at: &str) -> Result<String, ApiError> {
    let name = tool.pointer("/function/name").and_then(Value::as_str);
    name.map(str::to_owned).ok_or_else(|| {
        let param = format!("{at}.function.name");
        let message = format!("Missing required parameter: '{param}'.");
        ApiError::invalid(param, "missing_required_parameter", message)
    })
}

fn read_function_call(choice: Value) -> Result<(ToolMode, Option<Vec<String>>), ApiError> {
    const AT: &str = "function_call";
    match choice.as_str() {
        Some("none") => Ok((ToolMode::None, None)),
        Some("auto") => Ok(AUTO),
        Some(_) => {
            let message = format!("Invalid '{AT}': expected 'none', 'auto' or a function's name.");
            Err(ApiError::invalid(AT, "invalid_value", message))
        }
        None => match choice.get("name").and_then(Value::as_str) {
            Some(name) => Ok((ToolMode::Required, Some(vec![name.to_owned()]))),
            None => {
                let param = format!("{AT}.name");
                let message = format!("Missing required parameter: '{param}'.");
                Err(ApiError::invalid(
                    param,
                    "missing_required_parameter",
                    message,
                ))
            }
        },
    }
}

#[cfg(test)]
mod tests;
