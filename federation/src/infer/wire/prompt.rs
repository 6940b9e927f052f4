//! What a model continues, embeds or tokenizes.

use kwaainet_core::{
    Conversation, EmbedInput, Message, Prompt, Role, Tool, ToolCall, ToolChoice, ToolMode,
};

use super::asks::{self, input, prompt::Kind};
use super::{Bad, at_most, grammar, list, needed, one_of};

/// Turns of a conversation.
const MESSAGES_MAX: usize = 1 << 16;
/// Calls of one turn.
const CALLS_MAX: usize = 1_024;
const TOOLS_MAX: usize = 128;
const TOOL_NAME_MAX: usize = 64;

const ROLES: [Role; 4] = [Role::System, Role::User, Role::Assistant, Role::Tool];
const MODES: [ToolMode; 3] = [ToolMode::Auto, ToolMode::Required, ToolMode::None];

fn role_number(role: Role) -> u32 {
    match role {
        Role::System => 1,
        Role::User => 2,
        Role::Assistant => 3,
        Role::Tool => 4,
    }
}

fn mode_number(mode: ToolMode) -> u32 {
    match mode {
        ToolMode::Auto => 1,
        ToolMode::Required => 2,
        ToolMode::None => 3,
    }
}

pub(crate) fn write(prompt: Prompt) -> asks::Prompt {
    let kind = match prompt {
        Prompt::Chat(chat) => Kind::Chat(write_chat(chat)),
        Prompt::Text(text) => Kind::Text(text),
        Prompt::Infill { prefix, suffix } => Kind::Infill(asks::Infill { prefix, suffix }),
        Prompt::Tokens(ids) => Kind::Tokens(asks::Ids { ids }),
    };
    asks::Prompt { kind: Some(kind) }
}

pub(crate) fn read(prompt: asks::Prompt) -> Result<Prompt, Bad> {
    Ok(match needed(prompt.kind, "prompt")? {
        Kind::Chat(chat) => Prompt::Chat(read_chat(chat)?),
        Kind::Text(text) => Prompt::Text(text),
        Kind::Infill(asks::Infill { prefix, suffix }) => Prompt::Infill { prefix, suffix },
        Kind::Tokens(ids) => Prompt::Tokens(ids.ids),
    })
}

pub(crate) fn write_chat(chat: Conversation) -> asks::Conversation {
    asks::Conversation {
        messages: list::write(chat.messages.into_iter().map(write_message)),
        tools: list::write(chat.tools.into_iter().map(write_tool)),
        tool_mode: mode_number(chat.tool_choice.mode),
        tools_only: chat.tool_choice.only.map(list::write_texts),
        parallel_calls: chat.parallel_calls,
    }
}

pub(crate) fn read_chat(chat: asks::Conversation) -> Result<Conversation, Bad> {
    let messages = list::read(&chat.messages, MESSAGES_MAX, "messages")?;
    let tools = list::read(&chat.tools, TOOLS_MAX, "tools")?;
    let schemas = tools
        .iter()
        .filter_map(|tool: &asks::Tool| tool.parameters.as_deref());
    at_most(schemas.map(str::len).sum(), grammar::JSON_MAX, "tools")?;
    let tools: Vec<Tool> = tools.into_iter().map(read_tool).collect::<Result<_, _>>()?;
    let only = chat
        .tools_only
        .map(|names| list::read_texts(&names, TOOLS_MAX, "tool_choice"))
        .transpose()?;
    let is_tool = |name: &String| tools.iter().any(|tool| tool.name == *name);
    let names_tools = |only: &Vec<String>| !only.is_empty() && only.iter().all(is_tool);
    if !only.as_ref().is_none_or(names_tools) {
        return Err(Bad::new("tool_choice", "it names none of the tools"));
    }
    let mode = one_of(&MODES, mode_number, chat.tool_mode, "tool_choice")?;
    Ok(Conversation {
        messages: messages
            .into_iter()
            .map(read_message)
            .collect::<Result<_, _>>()?,
        tools,
        tool_choice: ToolChoice { mode, only },
        parallel_calls: chat.parallel_calls,
    })
}

fn write_message(message: Message) -> asks::Turn {
    let calls = message.tool_calls.into_iter().map(|call| asks::ToolCall {
        id: call.id,
        name: call.name,
        arguments: call.arguments,
    });
    asks::Turn {
        role: role_number(message.role),
        content: message.content,
        name: message.name,
        tool_calls: list::write(calls),
        tool_call_id: message.tool_call_id,
    }
}

fn read_message(turn: asks::Turn) -> Result<Message, Bad> {
    let calls = list::read(&turn.tool_calls, CALLS_MAX, "messages")?;
    let calls = calls.into_iter().map(|call: asks::ToolCall| ToolCall {
        id: call.id,
        name: call.name,
        arguments: call.arguments,
    });
    Ok(Message {
        role: one_of(&ROLES, role_number, turn.role, "messages")?,
        content: turn.content,
        name: turn.name,
        tool_calls: calls.collect(),
        tool_call_id: turn.tool_call_id,
    })
}

fn write_tool(tool: Tool) -> asks::Tool {
    asks::Tool {
        name: tool.name,
        description: tool.description,
        parameters: tool.parameters.map(|schema| schema.to_string()),
        strict: tool.strict,
    }
}

fn read_tool(tool: asks::Tool) -> Result<Tool, Bad> {
    let is_known = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    let length = 1..=TOOL_NAME_MAX;
    if !length.contains(&tool.name.len()) || !tool.name.bytes().all(is_known) {
        return Err(Bad::new("tools", "a tool's name is no name"));
    }
    let schema = tool
        .parameters
        .map(|schema| grammar::json(&schema, "tools"));
    Ok(Tool {
        name: tool.name,
        description: tool.description,
        parameters: schema.transpose()?,
        strict: tool.strict,
    })
}

pub(crate) fn write_input(input: EmbedInput) -> asks::Input {
    let kind = match input {
        EmbedInput::Text(text) => input::Kind::Text(text),
        EmbedInput::Tokens(ids) => input::Kind::Tokens(asks::Ids { ids }),
    };
    asks::Input { kind: Some(kind) }
}

pub(crate) fn read_input(input: asks::Input) -> Result<EmbedInput, Bad> {
    Ok(match needed(input.kind, "input")? {
        input::Kind::Text(text) => EmbedInput::Text(text),
        input::Kind::Tokens(ids) => EmbedInput::Tokens(ids.ids),
    })
}
