//! How OpenAI's endpoints write a tool and the choice of one. What they mean is the same; where a name
//! stands is not.

use kwaainet_core::{Tool, ToolChoice, ToolMode};
use kwaainet_openapi::FunctionDefinition;
use serde_json::Value;

use super::Function;
use crate::door::ApiError;

/// The field of a choice.
const AT: &str = "tool_choice";

/// One of the two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Of chat: what there is to say of a tool lies in a field that is called as its type.
    Nested,
    /// Of responses: it stands beside the type. Tools of types other than `function` may have no other
    /// name, and those that are there have these types.
    Flat(&'static [&'static str]),
}

impl Form {
    /// Whether this node has tools of a type.
    pub(crate) fn require_function(self, kind: Option<&str>, param: &str) -> Result<(), ApiError> {
        let (code, message) = match (kind, self) {
            (Some("function"), _) => return Ok(()),
            (None, _) => return Err(ApiError::missing(param)),
            (Some("custom"), Self::Nested) | (Some(_), Self::Flat(_)) => (
                "unsupported_value",
                format!("Unsupported '{param}': this node has no tools but {self}."),
            ),
            (Some(_), Self::Nested) => (
                "invalid_value",
                format!("Invalid '{param}': expected {self}."),
            ),
        };
        Err(ApiError::invalid(param, code, message))
    }

    /// Which of the tools may be called; all of them where nothing is said.
    pub(crate) fn choice(
        self,
        choice: Option<&Value>,
        tools: &[Tool],
    ) -> Result<ToolChoice, ApiError> {
        let (mode, only) = match choice {
            None => (ToolMode::Auto, None),
            Some(Value::String(mode)) => (mode_of(mode)?, None),
            Some(choice @ Value::Object(_)) => match kind_of(choice) {
                Some("allowed_tools") => self.allowed(choice)?,
                _ => (ToolMode::Required, Some(vec![self.name(choice, AT)?])),
            },
            Some(_) => {
                let message = format!("Invalid type for '{AT}': expected a string or an object.");
                return Err(ApiError::invalid(AT, "invalid_type", message));
            }
        };
        super::choice(mode, only, tools, AT)
    }

    fn allowed(self, choice: &Value) -> Result<(ToolMode, Option<Vec<String>>), ApiError> {
        let (allowed, at) = match self {
            Self::Flat(_) => (choice, AT.to_owned()),
            Self::Nested => {
                let at = format!("{AT}.allowed_tools");
                let allowed = choice.get("allowed_tools");
                (allowed.ok_or_else(|| ApiError::missing(&at))?, at)
            }
        };
        let mode = match allowed.get("mode").and_then(Value::as_str) {
            Some("auto") => ToolMode::Auto,
            Some("required") => ToolMode::Required,
            _ => {
                let param = format!("{at}.mode");
                let message = format!("Invalid '{param}': expected 'auto' or 'required'.");
                return Err(ApiError::invalid(param, "invalid_value", message));
            }
        };
        let Some(Value::Array(tools)) = allowed.get("tools") else {
            let param = format!("{at}.tools");
            let message = format!("Invalid type for '{param}': expected an array of tools.");
            return Err(ApiError::invalid(param, "invalid_type", message));
        };
        let tools = tools.iter().enumerate();
        let names = tools.map(|(i, tool)| self.name(tool, &format!("{at}.tools[{i}]")));
        Ok((mode, Some(names.collect::<Result<_, _>>()?)))
    }

    /// What the model knows a tool by.
    fn name(self, tool: &Value, at: &str) -> Result<String, ApiError> {
        let kind = kind_of(tool);
        let (place, field) = match self {
            Self::Nested => ("/function/name", "function.name"),
            Self::Flat(others) => {
                if let Some(kind) = kind.filter(|kind| others.contains(kind)) {
                    return Ok(kind.to_owned());
                }
                ("/name", "name")
            }
        };
        self.require_function(kind, &format!("{at}.type"))?;
        let name = tool.pointer(place).and_then(Value::as_str);
        let missing = || ApiError::missing(format!("{at}.{field}"));
        name.map(str::to_owned).ok_or_else(missing)
    }
}

/// The types of tools that there are.
impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("'function'")?;
        match self {
            Self::Nested => Ok(()),
            Self::Flat(others) => others
                .iter()
                .try_for_each(|kind| write!(f, " and '{kind}'")),
        }
    }
}

impl From<FunctionDefinition> for Function {
    fn from(definition: FunctionDefinition) -> Self {
        Self {
            name: definition.name,
            description: definition.description,
            parameters: definition.parameters,
            strict: definition.strict,
        }
    }
}

fn kind_of(tool: &Value) -> Option<&str> {
    tool.get("type").and_then(Value::as_str)
}

fn mode_of(mode: &str) -> Result<ToolMode, ApiError> {
    match mode {
        "none" => Ok(ToolMode::None),
        "auto" => Ok(ToolMode::Auto),
        "required" => Ok(ToolMode::Required),
        _ => {
            let message = format!("Invalid '{AT}': expected 'none', 'auto' or 'required'.");
            Err(ApiError::invalid(AT, "invalid_value", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<Tool> {
        let named = |name: &str| Function {
            name: Some(name.to_owned()),
            ..Function::default()
        };
        let functions = vec![named("a"), named("b"), named("search")];
        super::super::tools(functions, "tools", |_| String::new()).expect("they are sound")
    }

    #[test]
    fn both_forms_say_the_same() {
        let tools = tools();
        let flat = Form::Flat(&["search"]);
        let [a, b] = ["a", "b"].map(|name| json!({"type": "function", "name": name}));
        let [nested_a, nested_b] =
            ["a", "b"].map(|name| json!({"type": "function", "function": {"name": name}}));
        for (mode, only, written, nested) in [
            (ToolMode::None, None, json!("none"), json!("none")),
            (
                ToolMode::Required,
                Some(vec!["a"]),
                a.clone(),
                nested_a.clone(),
            ),
            (
                ToolMode::Auto,
                Some(vec!["a", "b"]),
                json!({"type": "allowed_tools", "mode": "auto", "tools": [a, b]}),
                json!({"type": "allowed_tools", "allowed_tools": {
                    "mode": "auto", "tools": [nested_a, nested_b]}}),
            ),
        ] {
            for (form, choice) in [(flat, written), (Form::Nested, nested)] {
                let read = form.choice(Some(&choice), &tools).expect("it is sound");
                let only = only.as_ref();
                let only = only.map(|only| only.iter().map(|&name| name.to_owned()).collect());
                assert_eq!(read, ToolChoice { mode, only }, "{choice}");
            }
        }
        let search = json!({"type": "search"});
        let read = flat.choice(Some(&search), &tools).expect("it is there");
        assert_eq!(read.only, Some(vec!["search".to_owned()]));
        let refused = Form::Nested.choice(Some(&search), &tools);
        let refused = refused.expect_err("chat has no such tools").body().error;
        assert_eq!(refused.param.as_deref(), Some("tool_choice.type"));
    }
}
