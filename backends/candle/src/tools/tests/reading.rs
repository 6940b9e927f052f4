//! Calls in the texts of models.

use kwaainet_core::{FinishReason, TokenLogprob, TopLogprob};

use crate::testing::Noise;
use crate::text_out::{Out, TextOut};
use crate::tools::family::named;
use crate::tools::parser::{Parser, Piece};
use crate::tools::{CallFormat, Caller};

/// What a text comes to: its text, and each call's name and arguments, with a `!` if it is whole.
#[derive(Clone, Debug, Default, PartialEq)]
struct Read {
    text: String,
    calls: Vec<String>,
    /// Bytes that were accounted for.
    bytes: usize,
}

impl Read {
    fn add(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    self.bytes += text.len();
                    self.text.push_str(&text);
                }
                Piece::Silence(bytes) => self.bytes += bytes,
                Piece::Call(name) => self.calls.push(format!("{name} ")),
                Piece::Arguments(more) => self.last().push_str(&more),
                Piece::Whole => self.last().push('!'),
            }
        }
    }

    fn last(&mut self) -> &mut String {
        self.calls.last_mut().expect("a call has a name first")
    }
}

fn parser(family: &str) -> Parser {
    let names = ["f", "now"].map(String::from);
    Parser::new(named(family), names.into(), false)
}

fn read<'p>(family: &str, pieces: impl IntoIterator<Item = &'p str>) -> Read {
    let mut parser = parser(family);
    let mut read = Read::default();
    for piece in pieces {
        read.add(parser.push(piece));
    }
    read.add(parser.finish());
    read
}

#[test]
fn n03_calls_of_each_family_are_read() {
    let table: &[(&str, &str, &str, &[&str])] = &[
        (
            "hermes",
            "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, {}]}}\n</tool_call>",
            "",
            &["f {\"a\": [1, {}]}!"],
        ),
        (
            "hermes",
            " Yes. \n\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>\n",
            " Yes.",
            &["f {}!", "now {}!"],
        ),
        (
            "hermes",
            "<tool_call>[{\"name\":\"f\",\"arguments\":{}}, {\"name\":\"now\"}]</tool_call> x",
            "x",
            &["f {}!", "now {}!"],
        ),
        (
            "hermes",
            "<tool_call>{\"name\":\"f\",\"arguments\":{}}\n{\"name\":\"now\",\"arguments\":{}}</tool_call>",
            "",
            &["f {}!", "now {}!"],
        ),
        (
            "generic",
            "<tool_call>{\"arguments\": {\"a\": \"}\\\"\"}, \"id\": 5, \"name\": \"f\"}</tool_call>",
            "",
            &["f {\"a\": \"}\\\"\"}!"],
        ),
        (
            "generic",
            "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
            "",
            &["f {\"a\": 1}!"],
        ),
        (
            "generic",
            "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>",
            "",
            &["f {}!"],
        ),
        (
            "mistral",
            "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abcdefghi\"}, {\"name\": \"now\", \"arguments\": {}}]",
            "",
            &["f {\"a\": 1}!", "now {}!"],
        ),
        (
            "mistral-named",
            "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]now[CALL_ID]x[ARGS]{}",
            "",
            &["f {\"a\": 1}!", "now {}!"],
        ),
        (
            "granite",
            "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}]",
            "",
            &["f {}!"],
        ),
        (
            "llama",
            "\n{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
            "",
            &["f {\"a\": 1}!"],
        ),
        (
            "llama",
            "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}",
            "",
            &["f {}!", "now {}!"],
        ),
        (
            "gemma",
            "```json\n{\"name\": \"f\", \"parameters\": {}}\n```",
            "",
            &["f {}!"],
        ),
        (
            "gemma",
            "{\"name\": \"f\", \"parameters\": {}}\nDone",
            "Done",
            &["f {}!"],
        ),
    ];
    for (family, text, said, calls) in table {
        let read = read(family, [*text]);
        assert_eq!(
            (read.text.as_str(), &*read.calls),
            (*said, &*calls.map_strings()),
            "{text}"
        );
        assert_eq!(read.bytes, text.len(), "{text}");
    }
}

#[test]
fn what_only_looks_like_a_call_is_text() {
    for (family, text) in [
        ("hermes", "a < b, <tool_calm> and <tool_call"),
        (
            "hermes",
            "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
        ),
        ("hermes", "<tool_call>{\"name\": f}</tool_call>"),
        (
            "hermes",
            "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
        ),
        (
            "hermes",
            "<tool_call>{\"name\": \"f\", \"arguments\": \"no JSON\"}</tool_call>",
        ),
        ("hermes", "<tool_call>[]</tool_call>  "),
        (
            "hermes",
            "<tool_call>{\"arguments\": {\"a\": 1}}</tool_call>",
        ),
        ("hermes", "<tool_call>{\"na"),
        ("hermes", "{\"name\": \"f\", \"arguments\": {}}"),
        ("llama", "{\"answer\": 42}"),
        ("llama", "[1] says {\"name\": \"f\", \"parameters\": {}}"),
        ("llama", "See {\"name\": \"f\", \"parameters\": {}}"),
        ("gemma", "```json\n{\"a\": 1}\n```\n"),
        ("mistral-named", "[TOOL_CALLS]unknown[ARGS]{}"),
        ("mistral-named", "[TOOL_CALLS]f"),
        ("generic", " \n "),
    ] {
        let read = read(family, [text]);
        assert_eq!((read.text.as_str(), read.calls.len()), (text, 0), "{text}");
    }
    let twice = "<tool_call> <tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
    let read = read("hermes", [twice]);
    assert_eq!(
        (read.text.as_str(), read.calls),
        ("<tool_call>", vec!["f {}!".to_owned()])
    );
}

#[test]
fn a_call_that_is_cut_gives_what_there_is() {
    let half = read(
        "hermes",
        ["<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"x"],
    );
    assert_eq!(
        (half.text.as_str(), half.calls),
        ("", vec!["f {\"a\": \"x".to_owned()])
    );
    let broken = read(
        "hermes",
        ["<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": oh}}"],
    );
    assert_eq!(
        (broken.text.as_str(), broken.calls),
        ("oh}}", vec!["f {\"a\": ".to_owned()])
    );
    let unmarked = read(
        "hermes",
        ["<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool"],
    );
    assert_eq!(
        (unmarked.text.as_str(), unmarked.calls),
        ("", vec!["f {}!".to_owned()])
    );
}

#[test]
fn text_and_arguments_come_as_soon_as_they_are_certain() {
    let mut parser = parser("hermes");
    let mut step = |text: &str| {
        let mut read = Read::default();
        for piece in parser.push(text) {
            match piece {
                Piece::Text(text) | Piece::Arguments(text) => read.text.push_str(&text),
                Piece::Call(name) => read.calls.push(name),
                Piece::Whole | Piece::Silence(_) => {}
            }
        }
        (read.text, read.calls.len())
    };
    assert_eq!(step("Hi <"), ("Hi".into(), 0));
    assert_eq!(step("b "), (" <b".into(), 0));
    assert_eq!(step("<tool_call>{\"name\": \"f\","), (String::new(), 0));
    assert_eq!(step(" \"arguments\": {\"a"), ("{\"a".into(), 1));
    assert_eq!(step("\": 1"), ("\": 1".into(), 0));
}

/// Texts of parts that calls are made of, in any order.
fn odd_text(noise: &mut Noise) -> String {
    const PARTS: [&str; 30] = [
        "<tool_call>",
        "</tool_call>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "<|python_tag|>",
        "```json",
        "```",
        "{\"name\": \"f\", \"arguments\": {\"a\": \"ü\"}}",
        "{\"name\": \"now\", \"parameters\": {}}",
        "{",
        "}",
        "[",
        "]",
        "\"name\": ",
        "\"f\"",
        "\"arguments\": ",
        ",",
        ":",
        ";",
        " ",
        "\n",
        "\"",
        "\\",
        "1.5e3",
        "null",
        "f",
        "now",
        "<",
        "日本",
        "\u{a0}",
    ];
    let len = noise.next() % 14;
    (0..len)
        .map(|_| PARTS[noise.next() as usize % PARTS.len()])
        .collect()
}

#[test]
fn it_does_not_matter_how_a_text_is_cut() {
    let mut noise = Noise(5);
    for _ in 0..4_000 {
        let text = odd_text(&mut noise);
        for family in ["hermes", "llama", "gemma", "mistral", "mistral-named"] {
            let whole = read(family, [text.as_str()]);
            assert_eq!(whole.bytes, text.len(), "{family}: {text}");
            let letters = text
                .char_indices()
                .map(|(at, c)| &text[at..at + c.len_utf8()]);
            assert_eq!(read(family, letters), whole, "{family}: {text}");
            let cuts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            if let Some(cut) = cuts.get(noise.next() as usize % cuts.len().max(1)) {
                let (first, second) = text.split_at(*cut);
                assert_eq!(read(family, [first, second]), whole, "{family}: {text}");
            }
        }
    }
}

#[test]
fn long_texts_are_neither_held_nor_lost() {
    let spaces = " \n".repeat(500);
    assert_eq!(read("hermes", [spaces.as_str()]).text, spaces);
    let never = format!("<tool_call>{{\"a\": \"{}", "x".repeat(100_000));
    let mut parser = parser("hermes");
    let mut read = Read::default();
    read.add(parser.push(&never));
    assert!(read.text.len() > 60_000, "it is given out before the end");
    read.add(parser.finish());
    assert_eq!(read.text, never);
}

fn caller(parallel: bool) -> Caller {
    let format = CallFormat {
        family: named("hermes"),
        names: ["f".to_owned()].into(),
        is_forced: false,
        parallel,
        marks: [].into(),
    };
    Caller::new(&format, 1, &[1, 2, 3], 7)
}

#[test]
fn log_probabilities_of_calls_are_not_those_of_text() {
    let mut caller = caller(true);
    let mut text = TextOut::new(Vec::new());
    let tokens = [
        "Hi",
        " ",
        "the",
        "re ",
        "<tool",
        "_call>",
        "{\"name\": \"f\"",
        ", \"arguments\": {}",
        "}</tool_call>",
        "Bye",
    ];
    let (mut said, mut of, mut calls) = (String::new(), Vec::new(), Vec::new());
    let mut keep = |out: Out| {
        said.push_str(&out.text);
        of.extend(
            out.logprobs
                .into_iter()
                .map(|l| String::from_utf8(l.chosen.bytes).expect("it is text")),
        );
    };
    for token in tokens {
        let chosen = TopLogprob {
            bytes: token.into(),
            logprob: -1.0,
        };
        let logprob = TokenLogprob {
            chosen,
            top: Vec::new(),
        };
        let mut out = text.push(token.as_bytes(), Some(logprob));
        calls.extend(caller.take(&mut out));
        keep(out);
    }
    let mut rest = text.finish();
    calls.extend(caller.finish(&mut rest));
    keep(rest);
    assert_eq!(said, "Hi thereBye");
    assert_eq!(of, ["Hi", " ", "the", "re ", "Bye"]);
    assert_eq!(
        calls[0].start.as_ref().map(|start| start.name.as_str()),
        Some("f")
    );
    assert!(calls.iter().all(|call| (call.choice, call.index) == (7, 0)));
    let arguments: String = calls.iter().map(|call| call.arguments.as_str()).collect();
    assert_eq!(arguments, "{}");
    assert_eq!(caller.reason(FinishReason::Stop), FinishReason::ToolCalls);
    assert_eq!(caller.reason(FinishReason::Length), FinishReason::Length);
}

#[test]
fn n05_one_call_ends_an_answer_that_may_hold_one() {
    let call = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
    let take = |caller: &mut Caller| {
        let mut out = Out {
            text: call.repeat(2),
            ..Out::default()
        };
        caller.take(&mut out).len()
    };
    let (mut one, mut several) = (caller(false), caller(true));
    assert_eq!((take(&mut one), one.is_over()), (1, true));
    assert_eq!((take(&mut several), several.is_over()), (2, false));
}

/// Texts as they are owned.
trait MapStrings {
    fn map_strings(&self) -> Vec<String>;
}

impl MapStrings for &[&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}
