//! Grammars of forced calls, tried on a vocabulary of bytes.

use kwaainet_core::{GrammarKind, Tool};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::ApproximateTokEnv;
use llguidance::{Matcher, ParserFactory};
use serde_json::json;

use super::tools;
use crate::tools::family::named;
use crate::tools::forced::{Forced, Otherwise};

fn lark(family: &str, parallel: bool, otherwise: Otherwise<'_>, tools: &[Tool]) -> String {
    let forced = Forced {
        family: named(family),
        tools: tools.iter().collect(),
        parallel,
        only_strict: false,
    };
    forced.lark(otherwise, &|_| None).expect("it goes together")
}

/// Whether each text belongs to the grammar.
fn check(lark: &str, cases: &[(&str, bool)]) {
    let factory = ParserFactory::new_simple(&ApproximateTokEnv::single_byte_env());
    let factory = factory.expect("the vocabulary is sound");
    let grammar = TopLevelGrammar::from_lark(lark.to_owned());
    let fresh = Matcher::new(factory.create_parser(grammar));
    for (text, belongs) in cases {
        let mut matcher = fresh.deep_clone();
        let goes_on = text
            .bytes()
            .all(|byte| matcher.consume_token(u32::from(byte)).is_ok());
        let accepted = goes_on && matcher.is_accepting().unwrap_or(false);
        assert_eq!(
            accepted,
            *belongs,
            "{text}\n{lark}\n{:?}",
            matcher.get_error()
        );
    }
}

#[test]
fn n04_a_required_call_is_all_there_is() {
    let call = "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\":\"Rome\"}}</tool_call>";
    let now = "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
    let both = format!("{call}\n{now}");
    let wrong = call.replace("Rome", "Bonn");
    let more = call.replace("\"Rome\"", "\"Rome\",\"a\":1");
    let cases = |parallel| {
        [
            (call, true),
            (now, true),
            (&both, parallel),
            (&wrong, false),
            (&more, false),
            ("Hello", false),
            ("", false),
        ]
    };
    check(
        &lark("generic", false, Otherwise::Nothing, &tools()),
        &cases(false),
    );
    check(
        &lark("generic", true, Otherwise::Nothing, &tools()),
        &cases(true),
    );
}

#[test]
fn families_write_their_own_calls() {
    let rome = "{\"city\":\"Rome\"}";
    let table = [
        (
            "hermes",
            format!("<tool_call>\n{{\"name\": \"weather\", \"arguments\": {rome}}}\n</tool_call>"),
        ),
        (
            "llama",
            format!("{{\"name\": \"weather\", \"parameters\": {rome}}}"),
        ),
        (
            "gemma",
            format!("{{\"name\": \"weather\", \"parameters\": {rome}}}"),
        ),
        (
            "mistral",
            format!("[TOOL_CALLS][{{\"name\": \"weather\", \"arguments\": {rome}}}]"),
        ),
        ("mistral-named", format!("[TOOL_CALLS]weather[ARGS]{rome}")),
        (
            "granite",
            format!("<|tool_call|>[{{\"name\": \"weather\", \"arguments\": {rome}}}]"),
        ),
    ];
    for (family, call) in table {
        let lark = lark(family, true, Otherwise::Nothing, &tools());
        check(
            &lark,
            &[(&call, true), (&call.replace("Rome", "Bonn"), false)],
        );
    }
}

#[test]
fn text_is_free_until_a_call_begins() {
    let call = "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
    let behind = format!("Let me see. < {call}");
    let twice = format!("{behind}{call}");
    check(
        &lark("generic", false, Otherwise::Text, &tools()),
        &[
            ("Hello <tool_", true),
            ("", true),
            (call, true),
            (&behind, true),
            (&twice, false),
            ("Hm. <tool_call>Hello", false),
            ("<tool_call>{\"name\": \"then\"", false),
        ],
    );
    check(
        &lark("llama", false, Otherwise::Text, &tools()),
        &[
            ("Hello {", true),
            (" ", true),
            ("{\"name\": \"now\", \"parameters\": {}}", true),
            (" {\"a\": 1}", false),
            ("[1]", false),
        ],
    );
}

#[test]
fn an_answer_may_have_a_format_of_its_own() {
    let schema =
        GrammarKind::JsonSchema(json!({"type": "object", "properties": {"a": {"const": 1}},
        "required": ["a"], "additionalProperties": false}));
    let call = "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
    check(
        &lark("generic", false, Otherwise::Format(&schema), &tools()),
        &[
            ("{\"a\":1}", true),
            (call, true),
            ("Hello", false),
            ("{\"a\":2}", false),
        ],
    );
    let regex = GrammarKind::Regex("a/b+".into());
    check(
        &lark("generic", false, Otherwise::Format(&regex), &tools()),
        &[("a/bb", true), (call, true), ("a", false)],
    );
    let choice = GrammarKind::Choice(vec!["yes".into(), "no \"n\"".into()]);
    check(
        &lark("generic", false, Otherwise::Format(&choice), &tools()),
        &[
            ("yes", true),
            ("no \"n\"", true),
            (call, true),
            ("a", false),
        ],
    );
}

#[test]
fn schemas_of_others_than_the_strict_may_be_left_out() {
    let mut tools = tools();
    tools[1].parameters = Some(json!({"type": "object", "properties": {"b": {"const": 2}}}));
    let forced = |only_strict| {
        let forced = Forced {
            family: named("generic"),
            tools: tools.iter().collect(),
            parallel: false,
            only_strict,
        };
        forced
            .lark(Otherwise::Nothing, &|_| None)
            .expect("it goes together")
    };
    let free = "<tool_call>{\"name\": \"now\", \"arguments\": {\"z\":1}}</tool_call>";
    let bound = "<tool_call>{\"name\": \"weather\", \"arguments\": {\"z\":1}}</tool_call>";
    check(&forced(false), &[(free, false), (bound, false)]);
    check(&forced(true), &[(free, true), (bound, false)]);
}

#[test]
fn marks_may_be_control_tokens() {
    let forced = Forced {
        family: named("mistral-named"),
        tools: Vec::new(),
        parallel: false,
        only_strict: false,
    };
    let control = |mark: &str| (mark == "[TOOL_CALLS]").then_some(5);
    let lark = forced
        .lark(Otherwise::Text, &control)
        .expect("it goes together");
    assert!(lark.contains("start: text | text <[5]> body"), "{lark}");
}
