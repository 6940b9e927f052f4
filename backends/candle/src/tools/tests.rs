//! Calls as families of models write them: read, rendered and forced.

mod forced;
mod reading;
mod rendering;

use kwaainet_core::{Conversation, Message, Role, Tool, ToolCall};
use serde_json::json;

/// Two functions, one of them strict.
fn tools() -> Vec<Tool> {
    vec![
        Tool {
            name: "weather".into(),
            description: Some("Today's weather.".into()),
            parameters: Some(json!({
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
                "required": ["city"],
            })),
            strict: true,
        },
        Tool {
            name: "now".into(),
            description: None,
            parameters: None,
            strict: false,
        },
    ]
}

/// A question about two cities, two calls, and their results, the second first.
fn exchange() -> Conversation {
    let call = |id: &str, city: &str| ToolCall {
        id: id.into(),
        name: "weather".into(),
        arguments: json!({"city": city}).to_string(),
    };
    let mut calls = Message::new(Role::Assistant, "");
    calls.tool_calls = vec![call("call_1", "Rome"), call("call_2", "Oslo")];
    let result = |id: &str, text: &str| {
        let mut result = Message::new(Role::Tool, text);
        result.tool_call_id = Some(id.into());
        result
    };
    Conversation {
        messages: vec![
            Message::new(Role::System, "Be brief."),
            Message::new(Role::User, "How is it in Rome and in Oslo?"),
            calls,
            result("call_2", "snow"),
            result("call_1", "sun"),
            Message::new(Role::User, "And now?"),
        ],
        tools: tools(),
        parallel_calls: true,
        ..Conversation::default()
    }
}
