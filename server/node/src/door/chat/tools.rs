//! `tools` and their older form, `functions`: one offer to the model, and the form of its answer.

use kwaainet_core::{Tool, ToolChoice, ToolMode};
use kwaainet_openapi::{ChatRequest, ChatTool};
use serde_json::Value;

use super::super::ApiError;
use super::super::tooling::{self, Form, Function};

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
        return Ok(Offer {
            choice: Form::Nested.choice(tool_choice.as_ref(), &tools)?,
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
    let functions = functions.into_iter().map(Function::from).collect();
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
        Form::Nested.require_function(tool.kind.as_deref(), &format!("tools[{i}].type"))?;
        let missing = || ApiError::missing(format!("tools[{i}].function"));
        tool.function.map(Function::from).ok_or_else(missing)
    };
    let functions: Result<_, ApiError> = tools.into_iter().enumerate().map(read).collect();
    tooling::tools(functions?, "tools", |i| format!("tools[{i}].function"))
}

const AUTO: (ToolMode, Option<Vec<String>>) = (ToolMode::Auto, None);

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
            None => Err(ApiError::missing(format!("{AT}.name"))),
        },
    }
}

#[cfg(test)]
mod tests;
