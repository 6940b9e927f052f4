//! Grammars on a vocabulary of bytes and a few words.

use std::io::{BufRead, Write};

use serde_json::json;

use super::*;
use crate::testing::{END, Noise, Tiny};

fn grammars() -> Grammars {
    Grammars::new(Tiny::new("llama").text())
}

fn compile_in(grammars: &Grammars, kind: GrammarKind) -> Result<Compiled, BackendError> {
    let grammar = Grammar {
        kind,
        param: "response_format",
    };
    grammars.compile(&grammar, &PrincipalId::operator())
}

/// What a walk came to.
struct Walk {
    text: String,
    ended: bool,
}

/// A text of tokens that are drawn from each mask at random, those that bring an end near more often.
fn walk(grammars: &Grammars, compiled: &Compiled, seed: u64, most: usize) -> Walk {
    let text = &grammars.text;
    let mut noise = Noise(seed);
    let mut matching = compiled.start();
    let mut bytes = Vec::new();
    let mut ended = false;
    for step in 0..most {
        let mask = matching.masks(&[]).expect("the grammar goes on").remove(0);
        let is_set = |id: &u32| {
            let word = mask.bits().get(*id as usize / 32);
            word.is_some_and(|word| word >> (id % 32) & 1 == 1)
        };
        let allowed: Vec<u32> = (0..text.vocab_len() as u32).filter(is_set).collect();
        let closing = |id: &&u32| {
            let bytes = text.token_bytes(**id).unwrap_or_default();
            **id == END || matches!(bytes, b"\"" | b"}" | b"]")
        };
        let near: Vec<u32> = allowed.iter().filter(closing).copied().collect();
        let hurry = noise.next() % 100 < 15 + (step as u64) / 8;
        let among = if hurry && !near.is_empty() {
            &near
        } else {
            &allowed
        };
        let token = among[noise.next() as usize % among.len()];
        if token == END {
            ended = true;
            break;
        }
        bytes.extend_from_slice(text.token_bytes(token).unwrap_or_default());
        if matching.push(token).expect("the mask allowed it") {
            ended = true;
            break;
        }
    }
    Walk {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        ended,
    }
}

/// All texts of some walks that ended.
fn texts(kind: GrammarKind) -> Vec<String> {
    let grammars = grammars();
    let compiled = compile_in(&grammars, kind).expect("it can be enforced");
    let walks = (0..40).map(|seed| walk(&grammars, &compiled, seed, 2_000));
    walks
        .filter(|walk| walk.ended)
        .map(|walk| walk.text)
        .collect()
}

fn refusal(kind: GrammarKind) -> String {
    match compile_in(&grammars(), kind) {
        Err(BackendError::Invalid { param, reason }) => {
            assert_eq!(param, "response_format");
            reason
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is accepted"),
    }
}

#[test]
fn any_object_is_an_object() {
    let texts = texts(GrammarKind::JsonObject);
    assert!(texts.len() > 30);
    for text in texts {
        let value: Value = serde_json::from_str(&text).expect(&text);
        assert!(value.is_object());
        assert!(
            !text.contains(['\n', '\t']) && !text.contains("  \""),
            "{text}"
        );
    }
}

#[test]
fn a_regular_expression_is_for_the_whole_text() {
    let regex = regex::Regex::new("^(ab|c){2,3}d?$").expect("it is well-formed");
    for text in texts(GrammarKind::Regex("(ab|c){2,3}d?".into())) {
        assert!(regex.is_match(&text), "{text}");
    }
    assert!(refusal(GrammarKind::Regex("(".into())).contains("the regular expression"));
}

#[test]
fn a_choice_is_one_of_its_texts() {
    let choices = ["a.b", "a", "ü\n", ""].map(String::from);
    let said: std::collections::BTreeSet<_> = texts(GrammarKind::Choice(choices.clone().into()))
        .into_iter()
        .collect();
    assert_eq!(said, choices.into());
    assert!(refusal(GrammarKind::Choice(Vec::new())).contains("nothing to choose"));
}

#[test]
fn a_schema_within_a_grammar_is_enforced_as_any() {
    let lark = r#"
start: "<call>" call "</call>" // %json no schema
call: %json {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
"#;
    for text in texts(GrammarKind::Lark(lark.into())) {
        assert!(
            ["<call>{\"a\": 1}</call>", "<call>{\"a\": 2}</call>"].contains(&text.as_str()),
            "{text}"
        );
    }
    let lark = "start: %json {\"uniqueItems\": true}";
    assert!(refusal(GrammarKind::Lark(lark.into())).contains("'uniqueItems'"));
}

#[test]
fn special_tokens_are_found_by_name_and_number() {
    let grammars = grammars();
    for lark in ["start: <s> \"a\"", "start: <[1]> \"a\""] {
        let compiled = compile_in(&grammars, GrammarKind::Lark(lark.into()));
        let mut matching = compiled.expect("it can be enforced").start();
        assert_eq!(matching.may_follow(&[1]), 1, "{lark}");
        assert_eq!(matching.may_follow(&[3 + u32::from(b'<')]), 0);
        assert!(!matching.push(1).expect("it may follow"));
        assert!(matching.push(3 + u32::from(b'a')).expect("it may follow"));
    }
}

#[test]
fn hostile_grammars_neither_crash_nor_stay() {
    let deep = |open: &str, close: &str| open.repeat(20_000) + &close.repeat(20_000);
    for kind in [
        GrammarKind::Regex(deep("(", ")")),
        GrammarKind::Regex("((a{1000}){1000}){1000}b".into()),
        GrammarKind::Lark(format!("start: {}", deep("(", ")"))),
        GrammarKind::Lark("start: start \"a\"".into()),
        GrammarKind::Lark("start: start".into()),
        GrammarKind::Lark(String::new()),
        GrammarKind::Lark("start: %json".into()),
        GrammarKind::Lark("start: \"\u{0}".into()),
        GrammarKind::Lark("x".repeat(300 << 10)),
        GrammarKind::JsonSchema(json!({"$ref": "#"})),
        GrammarKind::JsonSchema(json!({"pattern": deep("(", ")")})),
        GrammarKind::JsonSchema(json!({"minLength": u64::MAX, "type": "string"})),
    ] {
        let shown: String = source(&kind).chars().take(60).collect();
        match compile_in(&grammars(), kind) {
            Ok(compiled) => {
                let _ = compiled.start().masks(&[]);
            }
            Err(BackendError::Invalid { reason, .. }) => {
                assert!(reason.len() < 400 && !reason.contains('\n'), "{reason}");
            }
            Err(other) => panic!("{shown}: {other}"),
        }
    }
}

#[test]
fn long_chains_of_references_are_followed() {
    let mut defs = serde_json::Map::new();
    for at in 0..3_000 {
        let next = format!("#/$defs/d{}", at + 1);
        defs.insert(
            format!("d{at}"),
            json!({"type": "array", "items": {"$ref": next}}),
        );
    }
    defs.insert("d3000".into(), json!({"type": "null"}));
    let schema = json!({"$ref": "#/$defs/d0", "$defs": defs});
    let compiled = compile_in(&grammars(), GrammarKind::JsonSchema(schema));
    assert!(matches!(
        compiled,
        Ok(_) | Err(BackendError::Invalid { .. })
    ));
}

#[test]
fn masks_follow_from_the_tokens_alone() {
    let grammars = grammars();
    let schema = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "sizes": {"type": "array", "items": {"type": "integer"}},
    }, "required": ["name", "sizes"]});
    let compiled = compile_in(&grammars, GrammarKind::JsonSchema(schema)).expect("it is enforced");
    let text = "{\"name\": \"wü\", \"sizes\": [1, 20]}";
    let tokens: Vec<u32> = text.bytes().map(|byte| 3 + u32::from(byte)).collect();
    let bits = |mask: &Mask| mask.bits().to_vec();
    let mut straight = compiled.start();
    let mut expected = Vec::new();
    for token in &tokens {
        expected.push(bits(&straight.masks(&[]).expect("it goes on")[0]));
        straight.push(*token).expect("it may follow");
    }
    // From any place, with guesses of any length, after forced bytes were asked for.
    for from in 0..tokens.len() {
        let mut resumed = compiled.start();
        for token in &tokens[..from] {
            resumed.push(*token).expect("it may follow");
        }
        let forced = resumed.forced_bytes();
        assert!(
            text.as_bytes()[from..].starts_with(&forced),
            "{from}: {forced:?}"
        );
        for len in [0, 1, 5, 40] {
            let guesses = &tokens[from..tokens.len().min(from + len)];
            assert_eq!(resumed.may_follow(guesses), guesses.len());
            let masks = resumed.masks(guesses).expect("it goes on");
            for (at, mask) in masks.iter().enumerate() {
                if let Some(expected) = expected.get(from + at) {
                    assert_eq!(bits(mask), *expected, "{from} {at}");
                }
            }
        }
    }
}

#[test]
fn owners_do_not_share_what_is_compiled() {
    let grammars = grammars();
    let grammar = Grammar {
        kind: GrammarKind::JsonObject,
        param: "response_format",
    };
    let compiled = |owner: &str| {
        let owner = PrincipalId::new(owner);
        grammars
            .compile(&grammar, &owner)
            .expect("it is enforced")
            .fresh
    };
    let (a, again, b) = (compiled("a"), compiled("a"), compiled("b"));
    assert!(Arc::ptr_eq(&a, &again));
    assert!(!Arc::ptr_eq(&a, &b));
}

#[test]
fn a_bounded_text_can_be_as_long_as_is_counted() {
    let grammars = grammars();
    let schema = json!({"type": "string", "minLength": 7_000, "maxLength": 20_000});
    let compiled = compile_in(&grammars, GrammarKind::JsonSchema(schema));
    let mut matching = compiled.expect("it can be enforced").start();
    let byte = |byte: u8| 3 + u32::from(byte);
    assert!(!matching.push(byte(b'"')).expect("it may follow"));
    for at in 0..8_000 {
        let mask = matching.masks(&[]).expect("it goes on").remove(0);
        let quote = byte(b'"');
        let may_end = mask.bits()[quote as usize / 32] >> (quote % 32) & 1 == 1;
        assert_eq!(may_end, at >= 7_000);
        matching.push(byte(b'a')).expect("it may follow");
    }
    assert_eq!(matching.may_follow(&[byte(b'a')]), 0);
    assert!(matching.push(byte(b'"')).expect("it may follow"));
}

#[test]
fn an_ambiguous_grammar_gives_up_before_it_holds_anybody_up() {
    let grammars = grammars();
    let lark = "start: s\ns: s s | \"a\" | s s s | \"\"".to_owned();
    let compiled = compile_in(&grammars, GrammarKind::Lark(lark)).expect("it can be enforced");
    let mut matching = compiled.start();
    let gave_up = (0..2_000).find_map(|_| {
        let made = matching.masks(&[]).err();
        made.or_else(|| matching.push(3 + u32::from(b'a')).err())
    });
    let reason = gave_up.expect("it gives up").to_string();
    assert!(
        reason.starts_with("the grammar cannot be enforced any further"),
        "{reason}"
    );
}

/// Reads schemas, one a line, and writes what came of each: texts that were generated, or why it was
/// refused. `make schemas` has them checked by another validator.
#[test]
#[ignore = "reads schemas from its standard input; run by `make schemas` and `make schemas-tools`"]
fn walks() {
    let grammars = grammars();
    let mut out = std::io::stdout().lock();
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.expect("the input can be read");
        let mut case: Value = serde_json::from_str(&line).expect("each line is JSON");
        let schema = case["schema"].take();
        let result = match compile_in(&grammars, GrammarKind::JsonSchema(schema)) {
            Ok(compiled) => {
                let walks = (0..12).map(|seed| {
                    let walk = || walk(&grammars, &compiled, seed, 1_500);
                    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(walk));
                    match caught {
                        Ok(walk) => json!({"text": walk.text, "ended": walk.ended}),
                        Err(_) => json!({"fault": seed}),
                    }
                });
                json!({"number": number, "walks": walks.collect::<Vec<_>>()})
            }
            Err(error) => json!({"number": number, "refused": error.to_string()}),
        };
        writeln!(out, "{result}").expect("the output can be written");
    }
}

/// What masks cost with a real vocabulary: reads the path of a GGUF file, and writes microseconds.
#[test]
#[ignore = "a measurement; run by `echo FILE.gguf | cargo test -p kwaainet-candle --lib grammar::tests::costs -- --ignored --nocapture`"]
fn costs() {
    let mut path = String::new();
    let read = std::io::stdin().lock().read_line(&mut path);
    read.expect("the input can be read");
    let gguf = kwaainet_decoder::Gguf::open(std::path::Path::new(path.trim())).expect("a model");
    let text = Arc::new(TextModel::from_gguf(gguf.metadata()).expect("a vocabulary"));
    let clock = kwaainet_core::SystemClock::default();
    let now = || kwaainet_core::Clock::monotonic(&clock).as_secs_f64() * 1e6;
    let entry = json!({"type": "object", "properties": {
        "title": {"type": "string", "maxLength": 80},
        "kind": {"enum": ["bug", "feature", "question"]},
        "votes": {"type": "integer", "minimum": 0},
        "labels": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
        "owner": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
    }, "required": ["title", "kind", "votes", "labels", "owner"]});
    let said = "{\"title\": \"The list of shops is empty after a search\", \"kind\": \"bug\", \
        \"votes\": 12, \"labels\": [\"search\", \"new in the last version\"], \"owner\": \
        \"ann@example.org\"}";
    let said = format!("[{}]", [said; 8].join(", "));
    let begin = now();
    let grammars = Grammars::new(Arc::clone(&text));
    let schema = |least: u64| json!({"type": "array", "items": entry, "minItems": least});
    compile_in(&grammars, GrammarKind::JsonSchema(schema(0))).expect("it is enforced");
    let first = now();
    let compiled = compile_in(&grammars, GrammarKind::JsonSchema(schema(1)));
    let compiled = compiled.expect("it is enforced");
    let second = now();
    let mut matching = compiled.start();
    let started = now();
    let (mut masks, mut pushes, mut forced) = (Vec::new(), Vec::new(), Vec::new());
    for token in text.encode(&said, false, false).expect("a text") {
        if text.token_bytes(token) == Some(b" ") && masks.is_empty() {
            continue;
        }
        let (a, _) = (now(), matching.masks(&[]).expect("it goes on"));
        let b = now();
        matching.push(token).expect("it may follow");
        let c = now();
        matching.forced();
        masks.push(b - a);
        pushes.push(c - b);
        forced.push(now() - c);
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    let most = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
    let half = masks.len() / 2;
    let result = json!({
        "tokens": text.vocab_len(), "vocabulary_us": first - begin, "compile_us": second - first,
        "start_us": started - second, "masks": masks.len(), "mask_us": mean(&masks),
        "mask_us_max": most(&masks), "mask_us_later": mean(&masks[half..]),
        "push_us": mean(&pushes), "forced_us": mean(&forced),
    });
    writeln!(std::io::stdout().lock(), "{result}").expect("the output can be written");
}
