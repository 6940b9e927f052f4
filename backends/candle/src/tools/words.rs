//! Tools in plain words, for templates that know none: what there is to call and how, earlier calls as
//! the model's own text, and results as what it is told next.

use std::collections::HashMap;

use kwaainet_core::{Conversation, Message, Role, ToolMode};
use serde_json::Value;

use super::family::Family;
use super::shown;
use crate::template::{FunctionView, spaced_json};

/// The conversation without tools, but with all that was said of them in its messages.
pub(crate) fn in_words(chat: &Conversation, family: &Family) -> Vec<Message> {
    let mut said: Vec<Message> = Vec::new();
    // Whether the last message is made of results.
    let mut tells_results = false;
    let mut names = HashMap::new();
    for message in &chat.messages {
        let is_result = message.role == Role::Tool;
        for call in &message.tool_calls {
            names.insert(call.id.as_str(), call.name.as_str());
        }
        let plain = match message.role {
            Role::Tool => Message::new(Role::User, result(message, &names)),
            _ if message.tool_calls.is_empty() => message.clone(),
            _ => Message::new(message.role, with_calls(message, family)),
        };
        // Many templates want roles to alternate.
        match said.last_mut() {
            Some(last) if last.role == plain.role && (is_result || tells_results) => {
                last.content = join(&last.content, &plain.content);
            }
            _ => said.push(plain),
        }
        tells_results = is_result;
    }
    if !shown(chat).is_empty() {
        let words = instructions(chat, family);
        match said.first_mut() {
            Some(first) if first.role == Role::System => {
                first.content = join(&first.content, &words);
            }
            _ => said.insert(0, Message::new(Role::System, words)),
        }
    }
    said
}

/// For templates without a system role: its words are said by the user.
pub(crate) fn without_system(mut messages: Vec<Message>) -> Vec<Message> {
    if messages
        .first()
        .is_none_or(|first| first.role != Role::System)
    {
        return messages;
    }
    let mut system = messages.remove(0);
    match messages.first_mut() {
        Some(first) if first.role == Role::User => {
            first.content = join(&system.content, &first.content);
        }
        _ => {
            system.role = Role::User;
            messages.insert(0, system);
        }
    }
    messages
}

/// With each call in a turn of its own and its result behind it, for templates that know no more.
pub(crate) fn one_call_each(chat: &Conversation) -> Conversation {
    let mut messages: Vec<Message> = Vec::new();
    let mut rest = chat.messages.as_slice();
    while let Some((message, behind)) = rest.split_first() {
        rest = behind;
        if message.tool_calls.len() < 2 {
            messages.push(message.clone());
            continue;
        }
        let count = behind.iter().take_while(|m| m.role == Role::Tool).count();
        let (results, others) = behind.split_at(count);
        let mut left: Vec<&Message> = results.iter().collect();
        for (at, call) in message.tool_calls.iter().enumerate() {
            let mut turn = message.clone();
            turn.tool_calls = vec![call.clone()];
            if at > 0 {
                turn.content.clear();
            }
            messages.push(turn);
            let answers = |m: &&Message| m.tool_call_id.as_deref() == Some(call.id.as_str());
            let found = left.iter().position(answers);
            messages.extend(found.map(|at| left.remove(at).clone()));
        }
        messages.extend(left.into_iter().cloned());
        rest = others;
    }
    Conversation {
        messages,
        ..chat.clone()
    }
}

fn instructions(chat: &Conversation, family: &Family) -> String {
    let functions: Vec<String> = shown(chat)
        .iter()
        .filter_map(|tool| spaced_json(&FunctionView::new(tool)))
        .collect();
    let example = written(
        family,
        &[("FUNCTION", r#"{"ARGUMENT": "VALUE"}"#.to_owned())],
    );
    let mut words = format!(
        "You can call these functions:\n{}\n\nTo call a function, write only this, with its name and \
         its arguments as JSON:\n{example}\n",
        functions.join("\n")
    );
    if chat.parallel_calls {
        words.push_str("You may write several calls, one after the other.\n");
    }
    words.push_str(match chat.tool_choice.mode {
        ToolMode::Required => "You are told the result. Call a function now.",
        _ => "You are told the result. If no function is of use, answer without a call.",
    });
    words
}

fn result(message: &Message, names: &HashMap<&str, &str>) -> String {
    let known = message
        .tool_call_id
        .as_deref()
        .and_then(|id| names.get(id).copied());
    match known.or(message.name.as_deref()) {
        Some(name) => format!("The function {name} returned:\n{}", message.content),
        None => format!("The function returned:\n{}", message.content),
    }
}

fn with_calls(message: &Message, family: &Family) -> String {
    let calls: Vec<(&str, String)> = message
        .tool_calls
        .iter()
        .map(|call| (call.name.as_str(), arguments(&call.arguments)))
        .collect();
    let calls = written(family, &calls);
    if message.content.is_empty() {
        return calls;
    }
    format!("{}\n{calls}", message.content)
}

/// As the grammar of a forced call writes them; as they are where they are no JSON.
fn arguments(text: &str) -> String {
    let value: Option<Value> = serde_json::from_str(text).ok();
    value
        .and_then(|value| spaced_json(&value))
        .unwrap_or_else(|| text.to_owned())
}

/// Calls as the family writes them.
fn written(family: &Family, calls: &[(&str, String)]) -> String {
    let (open, close, inner) = (family.open(), family.close(), family.inner);
    let json = |(name, arguments): &(&str, String)| match family.named {
        Some(named) => format!("{name}{named}{arguments}"),
        None => {
            let name = spaced_json(name).unwrap_or_default();
            let key = family.arguments;
            format!("{{\"name\": {name}, \"{key}\": {arguments}}}")
        }
    };
    let calls: Vec<String> = calls.iter().map(json).collect();
    if family.list {
        return format!("{open}[{}]{close}", calls.join(", "));
    }
    let calls: Vec<String> = calls
        .iter()
        .map(|call| format!("{open}{inner}{call}{inner}{close}"))
        .collect();
    calls.join(family.between)
}

fn join(first: &str, second: &str) -> String {
    if first.is_empty() || second.is_empty() {
        return format!("{first}{second}");
    }
    format!("{first}\n\n{second}")
}
