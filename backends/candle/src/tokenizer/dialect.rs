//! How a template goes about tools: found out by showing it some.

use kwaainet_core::{Conversation, Message, Role, Tool, ToolCall};

use super::TextError;
use super::chat::{Rendered, Renderer};
use crate::tools::{Family, concerns, in_words, one_call_each, without_system};

/// Of one template.
pub(super) struct Dialect {
    family: &'static Family,
    /// It tells the model of tools, and shows calls and results, in a way whose answers are read here.
    is_native: bool,
}

const FUNCTION: &str = "look_up_quince";
const ARGUMENT: &str = "marmalade";
const RESULT: &str = "seventeen jars";

impl Dialect {
    pub(super) fn of(renderer: Renderer<'_>) -> Self {
        let family = Family::of(renderer.template.source());
        let renderer = Renderer {
            id_len: family.id_len(),
            ..renderer
        };
        let shows = |chat: &Conversation, words: &[&str]| {
            let text = renderer
                .render(chat)
                .map(|rendered| rendered.raw().to_owned());
            text.is_ok_and(|text| words.iter().all(|word| text.contains(word)))
        };
        let [question, call, result] = exchange();
        let asked = Conversation {
            tools: vec![tool()],
            ..vec![question.clone()].into()
        };
        let answered = vec![question, call, result].into();
        let is_native = family.is_known()
            && shows(&asked, &[FUNCTION])
            && shows(&answered, &[FUNCTION, ARGUMENT, RESULT]);
        tracing::debug!(
            family = family.name(),
            is_native,
            "how the model goes about tools"
        );
        Self { family, is_native }
    }
}

/// Renders a conversation: as the template has it, or in words that any template can carry.
///
/// # Errors
/// What the template says to the form that suits it best.
pub(super) fn render<'d>(
    chat: &Conversation,
    renderer: Renderer<'_>,
    dialect: impl FnOnce() -> &'d Dialect,
) -> Result<Rendered, TextError> {
    if !concerns(chat) {
        return renderer.render(chat);
    }
    let dialect = dialect();
    let words = || Conversation::from(in_words(chat, dialect.family));
    let folded = || Conversation::from(without_system(in_words(chat, dialect.family)));
    if !dialect.is_native {
        return first(renderer, &[&words, &folded]);
    }
    let renderer = Renderer {
        id_len: dialect.family.id_len(),
        ..renderer
    };
    let as_it_is = || chat.clone();
    let apart = || one_call_each(chat);
    first(renderer, &[&as_it_is, &apart, &words, &folded])
}

/// The first form that the template takes.
fn first(
    renderer: Renderer<'_>,
    forms: &[&dyn Fn() -> Conversation],
) -> Result<Rendered, TextError> {
    let mut refusal = None;
    for form in forms {
        match renderer.render(&form()) {
            Err(error @ (TextError::Template(_) | TextError::BadTemplate(_))) => {
                refusal.get_or_insert(error);
            }
            outcome => return outcome,
        }
    }
    Err(refusal.unwrap_or(TextError::NoTemplate))
}

fn tool() -> Tool {
    Tool {
        name: FUNCTION.to_owned(),
        description: None,
        parameters: None,
        strict: false,
    }
}

/// A question, a call, and its result.
fn exchange() -> [Message; 3] {
    let id = "call_0".to_owned();
    let mut call = Message::new(Role::Assistant, "");
    call.tool_calls = vec![ToolCall {
        id: id.clone(),
        name: FUNCTION.to_owned(),
        arguments: format!("{{\"what\": \"{ARGUMENT}\"}}"),
    }];
    let mut result = Message::new(Role::Tool, RESULT);
    result.tool_call_id = Some(id);
    result.name = Some(FUNCTION.to_owned());
    [Message::new(Role::User, "?"), call, result]
}
