//! Tools in the domain's words, whichever door they came through: each door reads its own wire format
//! (OpenAI's two are in [`wire`]) and hands over the parts. `at` is the path of the field in the request, for the refusal.

mod wire;

use kwaainet_core::{Tool, ToolChoice, ToolMode};
use serde_json::Value;

use super::ApiError;
pub(crate) use wire::Form;

/// OpenAI's limit.
const TOOLS_MAX: usize = 128;
/// OpenAI's limit for a function's name.
const NAME_MAX: usize = 64;

/// A function as the client describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Function {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Value>,
    pub(crate) strict: Option<bool>,
}

/// The tools, each in itself and all together as they have to be. `name_at` gives the path of the
/// function at an index.
pub(crate) fn tools(
    functions: Vec<Function>,
    at: &str,
    name_at: impl Fn(usize) -> String,
) -> Result<Vec<Tool>, ApiError> {
    if functions.len() > TOOLS_MAX {
        let message = format!("Invalid '{at}': more than {TOOLS_MAX}.");
        return Err(ApiError::invalid(at, "array_above_max_length", message));
    }
    let mut tools: Vec<Tool> = Vec::with_capacity(functions.len());
    for (index, function) in functions.into_iter().enumerate() {
        let tool = tool(function, &name_at(index))?;
        if tools.iter().any(|other| other.name == tool.name) {
            let param = format!("{}.name", name_at(index));
            let message = format!("Invalid '{param}': two functions have this name.");
            return Err(ApiError::invalid(param, "invalid_value", message));
        }
        tools.push(tool);
    }
    Ok(tools)
}

fn tool(function: Function, at: &str) -> Result<Tool, ApiError> {
    let param = format!("{at}.name");
    let Some(name) = function.name else {
        return Err(ApiError::missing(param));
    };
    check_name(&name, &param)?;
    if !matches!(&function.parameters, None | Some(Value::Object(_))) {
        let param = format!("{at}.parameters");
        let message = format!("Invalid type for '{param}': expected a JSON schema, an object.");
        return Err(ApiError::invalid(param, "invalid_type", message));
    }
    Ok(Tool {
        name,
        description: function.description,
        parameters: function.parameters,
        strict: function.strict.unwrap_or(false),
    })
}

/// Whether this can be a function's name.
pub(crate) fn check_name(name: &str, param: &str) -> Result<(), ApiError> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(is_known) {
        return Ok(());
    }
    let message =
        format!("Invalid '{param}': expected 1 to {NAME_MAX} letters, digits, '_' or '-'.");
    Err(ApiError::invalid(param, "invalid_value", message))
}

/// Which of the tools may be called. `at` is the path of the choice, `only` the names it gives.
pub(crate) fn choice(
    mode: ToolMode,
    only: Option<Vec<String>>,
    tools: &[Tool],
    at: &str,
) -> Result<ToolChoice, ApiError> {
    if mode == ToolMode::Required && tools.is_empty() {
        let message = format!("Invalid '{at}': there are no tools to call.");
        return Err(ApiError::invalid(at, "invalid_value", message));
    }
    if let Some(names) = &only {
        let is_known = |name: &String| tools.iter().any(|tool| tool.name == *name);
        if names.is_empty() || !names.iter().all(is_known) {
            let message = format!("Invalid '{at}': it names no function of 'tools'.");
            return Err(ApiError::invalid(at, "invalid_value", message));
        }
    }
    Ok(ToolChoice { mode, only })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn named(name: &str) -> Function {
        Function {
            name: Some(name.to_owned()),
            ..Function::default()
        }
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (String, String) {
        let error = result.expect_err("it is refused").body().error;
        (
            error.param.unwrap_or_default(),
            error.code.unwrap_or_default(),
        )
    }

    fn read(functions: Vec<Function>) -> Result<Vec<Tool>, ApiError> {
        tools(functions, "tools", |index| {
            format!("tools[{index}].function")
        })
    }

    fn at(param: &str, code: &str) -> (String, String) {
        (param.to_owned(), code.to_owned())
    }

    #[test]
    fn functions_have_a_name_of_their_own_and_an_object_for_a_schema() {
        let two = read(vec![named("a"), named("b-2_C")]).expect("they are sound");
        assert_eq!(two.len(), 2);
        assert_eq!(
            refused(read(vec![Function::default()])),
            at("tools[0].function.name", "missing_required_parameter")
        );
        for name in ["", "a b", "é", &"a".repeat(65)] {
            assert_eq!(
                refused(read(vec![named(name)])),
                at("tools[0].function.name", "invalid_value")
            );
        }
        assert_eq!(
            refused(read(vec![named("a"), named("a")])),
            at("tools[1].function.name", "invalid_value")
        );
        let list = Function {
            parameters: Some(json!([])),
            ..named("a")
        };
        assert_eq!(
            refused(read(vec![list])),
            at("tools[0].function.parameters", "invalid_type")
        );
        let many = (0..129).map(|i| named(&format!("f{i}"))).collect();
        assert_eq!(refused(read(many)), at("tools", "array_above_max_length"));
    }

    #[test]
    fn a_choice_is_among_the_tools() {
        let tools = read(vec![named("a"), named("b")]).expect("they are sound");
        let choose = |mode, only: Option<&[&str]>| {
            let only = only.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            choice(mode, only, &tools, "tool_choice")
        };
        assert!(choose(ToolMode::Required, Some(&["b"])).is_ok());
        assert!(choose(ToolMode::Auto, None).is_ok());
        let unknown = choose(ToolMode::Required, Some(&["c"]));
        assert_eq!(refused(unknown), at("tool_choice", "invalid_value"));
        assert!(choose(ToolMode::Auto, Some(&[])).is_err());
        let nothing = choice(ToolMode::Required, None, &[], "tool_choice");
        assert_eq!(refused(nothing), at("tool_choice", "invalid_value"));
    }
}
