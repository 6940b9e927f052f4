//! A conversation, its tools and its format in OpenAI's words.

use kwaainet_core::{
    BackendError, Conversation, Grammar, GrammarKind, Message, Role, Tool, ToolCall, ToolMode,
};
use serde_json::{Map, Value, json};

/// The fields of the body that a conversation fills.
pub(crate) fn fields(chat: &Conversation) -> Map<String, Value> {
    let messages: Vec<Value> = chat.messages.iter().map(message).collect();
    let mut fields = Map::from_iter([("messages".to_owned(), Value::from(messages))]);
    let tools: Vec<Value> = offered(chat).map(tool).collect();
    if tools.is_empty() {
        return fields;
    }
    fields.insert("tools".to_owned(), Value::from(tools));
    if let Some(choice) = tool_choice(chat) {
        fields.insert("tool_choice".to_owned(), choice);
    }
    if !chat.parallel_calls {
        fields.insert("parallel_tool_calls".to_owned(), Value::from(false));
    }
    fields
}

/// The tools that may be called. Only they are sent: a choice among several is known to few servers.
fn offered(chat: &Conversation) -> impl Iterator<Item = &Tool> {
    let only = chat.tool_choice.only.as_ref();
    chat.tools
        .iter()
        .filter(move |tool| only.is_none_or(|names| names.contains(&tool.name)))
}

fn tool(tool: &Tool) -> Value {
    let mut function = json!({"name": tool.name});
    if let Some(description) = &tool.description {
        function["description"] = Value::from(description.as_str());
    }
    if let Some(parameters) = &tool.parameters {
        function["parameters"] = parameters.clone();
    }
    if tool.strict {
        function["strict"] = Value::from(true);
    }
    json!({"type": "function", "function": function})
}

fn tool_choice(chat: &Conversation) -> Option<Value> {
    let only = chat.tool_choice.only.as_deref();
    match (chat.tool_choice.mode, only) {
        (ToolMode::Auto, _) => None,
        (ToolMode::None, _) => Some(Value::from("none")),
        (ToolMode::Required, Some([name])) => {
            Some(json!({"type": "function", "function": {"name": name}}))
        }
        (ToolMode::Required, _) => Some(Value::from("required")),
    }
}

fn message(message: &Message) -> Value {
    let mut wire = json!({"role": message.role.as_str(), "content": message.content});
    if let Some(name) = &message.name {
        wire["name"] = Value::from(name.as_str());
    }
    if let Some(id) = message.tool_call_id.as_ref() {
        wire["tool_call_id"] = Value::from(id.as_str());
    }
    if message.role == Role::Assistant && !message.tool_calls.is_empty() {
        let calls: Vec<Value> = message.tool_calls.iter().map(call).collect();
        wire["tool_calls"] = Value::from(calls);
        if message.content.is_empty() {
            wire["content"] = Value::Null;
        }
    }
    wire
}

fn call(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    json!({"id": call.id, "type": "function", "function": function})
}

/// The field `response_format`.
///
/// # Errors
/// For languages that OpenAI has no field for: another server might not notice the one that we sent.
pub(crate) fn response_format(grammar: &Grammar) -> Result<Value, BackendError> {
    match &grammar.kind {
        GrammarKind::JsonObject => Ok(json!({"type": "json_object"})),
        GrammarKind::JsonSchema(schema) => {
            let wrapped = json!({"name": "answer", "strict": true, "schema": schema});
            Ok(json!({"type": "json_schema", "json_schema": wrapped}))
        }
        GrammarKind::Regex(_) | GrammarKind::Lark(_) | GrammarKind::Choice(_) => {
            Err(BackendError::Unsupported {
                param: grammar.param,
                reason: "the upstream server is only asked for JSON, not for other languages"
                    .into(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::ToolChoice;

    fn named(name: &str) -> Tool {
        Tool {
            name: name.to_owned(),
            description: None,
            parameters: None,
            strict: false,
        }
    }

    fn conversation(mode: ToolMode, only: Option<&[&str]>) -> Conversation {
        Conversation {
            messages: vec![Message::new(Role::User, "hi")],
            tools: vec![named("a"), named("b"), named("c")],
            tool_choice: ToolChoice {
                mode,
                only: only.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            },
            parallel_calls: true,
        }
    }

    #[test]
    fn calls_and_their_results_stand_in_the_messages() {
        let calls = vec![ToolCall {
            id: "call_1".into(),
            name: "a".into(),
            arguments: "{}".into(),
        }];
        let asked = Message {
            tool_calls: calls,
            ..Message::new(Role::Assistant, "")
        };
        let answered = Message {
            tool_call_id: Some("call_1".into()),
            ..Message::new(Role::Tool, "42")
        };
        let fields = fields(&vec![asked, answered].into());
        let expected = json!({"messages": [
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "a", "arguments": "{}"}}]},
            {"role": "tool", "content": "42", "tool_call_id": "call_1"},
        ]});
        assert_eq!(Value::from(fields), expected);
    }

    #[test]
    fn tools_are_sent_with_what_is_said_of_them() {
        let mut chat = conversation(ToolMode::Auto, Some(&["a"]));
        chat.tools[0] = Tool {
            description: Some("adds".into()),
            parameters: Some(json!({"type": "object"})),
            strict: true,
            ..named("a")
        };
        chat.parallel_calls = false;
        let fields = fields(&chat);
        let function = json!({"name": "a", "description": "adds", "strict": true,
            "parameters": {"type": "object"}});
        assert_eq!(
            fields["tools"],
            json!([{"type": "function", "function": function}])
        );
        assert_eq!(fields["parallel_tool_calls"], false);
        assert!(!fields.contains_key("tool_choice"));
    }

    #[test]
    fn a_choice_among_tools_leaves_the_others_out() {
        let choice = |mode, only| {
            let fields = fields(&conversation(mode, only));
            let tools = fields["tools"].as_array().map_or(0, Vec::len);
            (fields.get("tool_choice").cloned(), tools)
        };
        let required = Value::from("required");
        assert_eq!(
            choice(ToolMode::Required, None),
            (Some(required.clone()), 3)
        );
        assert_eq!(
            choice(ToolMode::Required, Some(&["a", "c"])),
            (Some(required), 2)
        );
        let one = json!({"type": "function", "function": {"name": "b"}});
        assert_eq!(choice(ToolMode::Required, Some(&["b"])), (Some(one), 1));
        assert_eq!(choice(ToolMode::None, None), (Some("none".into()), 3));
        assert_eq!(choice(ToolMode::Auto, Some(&["b", "c"])), (None, 2));
    }

    #[test]
    fn only_json_is_asked_for() {
        let asked = |kind| {
            response_format(&Grammar {
                kind,
                param: "response_format",
            })
        };
        assert_eq!(
            asked(GrammarKind::JsonObject),
            Ok(json!({"type": "json_object"}))
        );
        let schema = asked(GrammarKind::JsonSchema(json!({"type": "null"})));
        let schema = schema.expect("it is JSON");
        assert_eq!(schema["json_schema"]["schema"], json!({"type": "null"}));
        let refused = asked(GrammarKind::Regex("a+".into()));
        assert!(matches!(
            refused,
            Err(BackendError::Unsupported {
                param: "response_format",
                ..
            })
        ));
    }
}
