//! A model's chat template: how a conversation becomes one text.
//!
//! Templates are written for Hugging Face's Jinja environment and come with the model file, so they
//! are run with the same settings and helpers, and with bounds on their time and output. They see
//! the messages and nothing else of this machine, except today's date if they ask for it. Errors
//! never repeat the words of a message, unless the template itself does.

mod helpers;

use std::borrow::Cow;
use std::error::Error as _;
use std::io;

use kwaainet_core::Tool;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::json;

use crate::tokenizer::TextError;

/// The template languages' longest known programs have some 20 KB.
const SOURCE_BYTES_MAX: usize = 1 << 20;
/// Steps of one rendering. A message takes some fifty, so that thousands of them pass.
const STEPS_MAX: u64 = 10_000_000;
/// The name under which the environment keeps the template; no other exists to be included.
const NAME: &str = "chat";

/// A compiled template.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

/// A message as templates see it.
#[derive(Serialize)]
pub(crate) struct Turn<'m> {
    pub(crate) role: &'static str,
    pub(crate) content: Cow<'m, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<Cow<'m, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<CallView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_call_id: Option<String>,
}

/// A call of a tool as templates see it.
#[derive(Serialize)]
pub(crate) struct CallView {
    pub(crate) id: String,
    pub(crate) r#type: &'static str,
    pub(crate) function: CalledView,
}

/// What was called.
#[derive(Serialize)]
pub(crate) struct CalledView {
    pub(crate) name: String,
    /// An object; a text where it is no JSON.
    pub(crate) arguments: serde_json::Value,
}

/// A tool as templates see it, and in this order.
#[derive(Serialize)]
pub(crate) struct ToolView {
    pub(crate) r#type: &'static str,
    pub(crate) function: FunctionView,
}

/// What a tool does.
#[derive(Serialize)]
pub(crate) struct FunctionView {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) parameters: serde_json::Value,
}

impl FunctionView {
    pub(crate) fn new(tool: &Tool) -> Self {
        let none = || json!({"type": "object", "properties": {}});
        Self {
            name: tool.name.clone(),
            description: tool.description.clone(),
            parameters: tool.parameters.clone().unwrap_or_else(none),
        }
    }
}

/// What a template is given of a conversation.
pub(crate) struct View<'m> {
    pub(crate) turns: Vec<Turn<'m>>,
    pub(crate) tools: Vec<ToolView>,
}

/// JSON as templates write it.
pub(crate) fn spaced_json(value: &(impl Serialize + ?Sized)) -> Option<String> {
    helpers::spaced(value)
}

impl ChatTemplate {
    /// Compiles a template; `bos` and `eos` are how the model spells its start and end token.
    ///
    /// # Errors
    /// [`TextError::BadTemplate`] where it does not compile.
    pub(crate) fn parse(source: &str, bos: &str, eos: &str) -> Result<Self, TextError> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(TextError::BadTemplate("it is longer than 1 MiB".to_owned()));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| TextError::BadTemplate(error.to_string()))?);
        environment.set_fuel(Some(STEPS_MAX));
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_filter("tojson", helpers::tojson);
        environment.add_test("iterable", helpers::is_iterable);
        environment.add_function("raise_exception", helpers::raise_exception);
        environment.add_function("strftime_now", helpers::strftime_now);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| TextError::BadTemplate(error.to_string()))?;
        Ok(Self {
            environment,
            source: source.to_owned(),
            bos: bos.to_owned(),
            eos: eos.to_owned(),
        })
    }

    /// The template as it was written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as one text that ends where the model's answer begins.
    ///
    /// # Errors
    /// [`TextError::Template`] with the template's own words if it refuses the messages;
    /// [`TextError::TooLong`] if that takes more than `bytes_max` or too many steps;
    /// [`TextError::BadTemplate`] if it fails.
    pub(crate) fn render(&self, view: &View<'_>, bytes_max: usize) -> Result<String, TextError> {
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|error| TextError::BadTemplate(error.to_string()))?;
        let tools = if view.tools.is_empty() {
            Value::from(())
        } else {
            Value::from(Serde(&view.tools))
        };
        let context = context! {
            messages => Serde(&view.turns),
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            add_generation_prompt => true,
            tools,
            documents => Value::from(()),
        };
        let mut out = Bounded {
            bytes: Vec::new(),
            bytes_max,
        };
        template
            .render_captured_to(context, &mut out)
            .map_err(|error| explain(&error))?;
        String::from_utf8(out.bytes)
            .map_err(|_| TextError::BadTemplate("it cut a character".into()))
    }
}

/// Only the kind of an error and its place: details could quote a message.
fn explain(error: &minijinja::Error) -> TextError {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(helpers::Refusal(words)) = inner.downcast_ref() {
            return TextError::Template(words.clone());
        }
        cause = inner.source();
    }
    // The bounds are far above what a sound template needs for a few messages.
    if let ErrorKind::OutOfFuel | ErrorKind::WriteFailure = error.kind() {
        return TextError::TooLong;
    }
    let what = error.kind().to_string();
    TextError::BadTemplate(match error.line() {
        Some(line) => format!("{what} in line {line}"),
        None => what,
    })
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str) -> Result<String, TextError> {
        let turn = |role, content| Turn {
            role,
            content: Cow::Borrowed(content),
            name: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
        };
        let view = View {
            turns: vec![turn("user", " Hi\n"), turn("assistant", "Hello")],
            tools: Vec::new(),
        };
        ChatTemplate::parse(source, "<s>", "</s>")?.render(&view, 1_000)
    }

    #[test]
    fn settings_and_methods_are_those_of_hugging_face() {
        let source = concat!(
            "{{ bos_token }}\n",
            "{% for m in messages %}\n",
            "    {% if true %}\n",
            "[{{ m['role'].upper() }}]{{ m.content.strip() }}\n",
            "    {% endif %}\n",
            "{% endfor %}\n",
            "{{ 'A:' if add_generation_prompt }}",
        );
        assert_eq!(
            render(source).expect("it renders"),
            "<s>\n[USER]Hi\n[ASSISTANT]Hello\nA:"
        );
        let nothing =
            "{{ tools is none }}{{ messages[0].name is defined }}{{ messages[1:] | length }}";
        assert_eq!(render(nothing).expect("it renders"), "TrueFalse1");
        let kinds = "{{ 'a' is iterable }} {{ [] is iterable }} {{ tools is iterable }}";
        assert_eq!(render(kinds).expect("it renders"), "True True False");
        assert_eq!(
            render("a\n").expect("it renders"),
            "a",
            "the last line end is dropped"
        );
        assert_eq!(
            render("{{ '<&>' }}").expect("it renders"),
            "<&>",
            "nothing is escaped"
        );
    }

    #[test]
    fn a_refusal_comes_in_the_templates_own_words() {
        let refused =
            render("{% if messages %}{{ raise_exception('Roles must alternate!') }}{% endif %}");
        assert_eq!(
            refused,
            Err(TextError::Template("Roles must alternate!".to_owned()))
        );
    }

    #[test]
    fn a_faulty_template_is_told_from_a_refusal() {
        let faulty = |source| match render(source) {
            Err(TextError::BadTemplate(why)) => why,
            other => panic!("{source}: {other:?}"),
        };
        assert!(faulty("{% for %}").contains("syntax error"));
        assert_eq!(
            faulty("\n{{ messages[0].content + 1 }}"),
            "invalid operation in line 2"
        );
        assert!(faulty("{% include 'other' %}").contains("template not found"));
        assert!(faulty(&"x".repeat(2 << 20)).contains("1 MiB"));
    }

    #[test]
    fn time_and_output_are_bounded() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert_eq!(render(loops), Err(TextError::TooLong));
        let long = render("{% for a in range(9999) %}xx{% endfor %}");
        assert_eq!(long, Err(TextError::TooLong));
    }
}
