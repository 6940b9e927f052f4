//! Vocabularies made by hand: every kind of tokenizer, special tokens, chats, and files that lie.

use std::collections::HashMap;

use kwaainet_core::{Message, Role};
use kwaainet_decoder::Value;

use crate::tokenizer::{TextError, TextModel, from_tokenizer_json};

type Meta = HashMap<String, Value>;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// A vocabulary of (spelling, type, score).
fn meta(model: &str, tokens: &[(&str, i32, f32)]) -> Meta {
    let list = |value: &dyn Fn(&(&str, i32, f32)) -> Value| {
        Value::Array(tokens.iter().map(value).collect())
    };
    HashMap::from([
        ("tokenizer.ggml.model".to_owned(), text(model)),
        (
            "tokenizer.ggml.tokens".to_owned(),
            list(&|token| text(token.0)),
        ),
        (
            "tokenizer.ggml.token_type".to_owned(),
            list(&|token| Value::I32(token.1)),
        ),
        (
            "tokenizer.ggml.scores".to_owned(),
            list(&|token| Value::F32(token.2)),
        ),
    ])
}

fn with(mut meta: Meta, key: &str, value: Value) -> Meta {
    meta.insert(format!("tokenizer.{key}"), value);
    meta
}

fn model(meta: &Meta) -> TextModel {
    TextModel::from_gguf(meta).expect("the vocabulary is sound")
}

/// SentencePiece: ids 0 to 2 as in Llama, then single letters, then words.
fn sentence() -> Meta {
    meta(
        "llama",
        &[
            ("<unk>", UNKNOWN, 0.0),
            ("<s>", CONTROL, 0.0),
            ("</s>", CONTROL, 0.0),
            ("<0x0A>", BYTE, 0.0),
            ("▁", NORMAL, -10.0),
            ("a", NORMAL, -11.0),
            ("b", NORMAL, -12.0),
            ("<", NORMAL, -13.0),
            ("s", NORMAL, -14.0),
            (">", NORMAL, -15.0),
            ("ab", NORMAL, -2.0),
            ("▁a", NORMAL, -1.0),
            ("s>", NORMAL, -3.0),
            ("<<>>", USER_DEFINED, 0.0),
        ],
    )
}

/// Byte-level: every byte that the tests need, two merges, and special tokens.
fn byte_level() -> Meta {
    let meta = meta(
        "gpt2",
        &[
            ("<|start|>", NORMAL, 0.0),
            ("<|im_start|>", CONTROL, 0.0),
            ("<|im_end|>", NORMAL, 0.0),
            ("a", NORMAL, 0.0),
            ("b", NORMAL, 0.0),
            ("Ġ", NORMAL, 0.0),
            ("ab", NORMAL, 0.0),
            ("Ġab", NORMAL, 0.0),
            ("<", NORMAL, 0.0),
            ("|", NORMAL, 0.0),
            ("i", NORMAL, 0.0),
            ("m", NORMAL, 0.0),
            ("_", NORMAL, 0.0),
            ("e", NORMAL, 0.0),
            ("n", NORMAL, 0.0),
            ("d", NORMAL, 0.0),
            (">", NORMAL, 0.0),
        ],
    );
    let merges = [text("a b"), text("Ġ ab"), text("<|im_end| >")];
    let meta = with(meta, "ggml.merges", Value::Array(merges.to_vec()));
    let meta = with(meta, "ggml.bos_token_id", Value::U32(1));
    with(meta, "ggml.pre", text("gpt-2"))
}

fn message(role: Role, content: &str) -> Message {
    Message::new(role, content)
}

#[test]
fn sentencepiece_joins_by_score_and_spells_the_rest_in_bytes() {
    let model = model(&sentence());
    let encode = |text: &str| model.encode(text, false, false).expect("it is a text");
    assert_eq!(
        encode("ab"),
        [11, 6],
        "the space before the first word joins first"
    );
    assert_eq!(encode("bab"), [4, 6, 10]);
    assert_eq!(encode("a\nb"), [11, 3, 6]);
    assert_eq!(
        encode("é"),
        [4, 0, 0],
        "two bytes without a token of their own"
    );
    assert_eq!(encode(""), [0_u32; 0]);
    assert_eq!(
        model.encode("ab", true, false),
        Ok(vec![1, 11, 6]),
        "with a start token"
    );
    assert_eq!(model.decode(&[1, 11, 6, 3, 4, 6]), "<s>ab\n b");
    assert_eq!(
        model.token_bytes(11),
        Some(&b" a"[..]),
        "in a stream the space is kept"
    );
    assert_eq!(model.token_bytes(3), Some(&b"\n"[..]));
}

#[test]
fn control_tokens_are_read_only_where_asked_and_user_defined_ones_always() {
    let model = model(&sentence());
    assert_eq!(model.encode("a<s>b", false, true), Ok(vec![11, 1, 4, 6]));
    // The letters could be joined to the control token, and must not be.
    assert_eq!(model.encode("a<s>b", false, false), Ok(vec![11, 7, 12, 6]));
    assert_eq!(model.encode("a<<>>b", false, false), Ok(vec![11, 13, 4, 6]));
    let bytes = self::model(&byte_level());
    assert_eq!(bytes.encode("ab<|im_end|>", false, true), Ok(vec![6, 2]));
    let letters = vec![6, 8, 9, 10, 11, 12, 13, 14, 15, 9, 16];
    assert_eq!(bytes.encode("ab<|im_end|>", false, false), Ok(letters));
}

#[test]
fn names_tell_what_the_file_forgot() {
    let model = model(&byte_level());
    assert!(
        model.is_end(2),
        "the end of a message, though its type is normal"
    );
    assert_eq!(model.token_bytes(2), Some(&b""[..]));
    assert!(!model.is_end(1));
    assert_eq!(
        model.token_bytes(0),
        Some(&b"<|start|>"[..]),
        "a token that is shown"
    );
    let marked = with(byte_level(), "ggml.eot_token_id", Value::U32(1));
    assert!(self::model(&marked).is_end(1));
}

#[test]
fn byte_level_words_are_joined_in_the_order_of_the_merges() {
    let model = model(&byte_level());
    let encode = |text: &str| model.encode(text, false, false).expect("it is a text");
    assert_eq!(encode("ab ab aab"), [6, 7, 5, 3, 6]);
    assert_eq!(
        encode("aéb"),
        [3, 4],
        "bytes that the vocabulary lacks are left out"
    );
    assert_eq!(model.decode(&[6, 7, 2]), "ab ab<|im_end|>");
    assert_eq!(model.decode(&[999]), "");
    let whole = with(byte_level(), "ggml.pre", text("llama-bpe"));
    let ids = self::model(&whole).encode(" ab", true, false);
    assert_eq!(ids, Ok(vec![1, 7]), "this rule starts texts with a token");
}

#[test]
fn unigram_takes_the_most_probable_spelling() {
    let tokens = [
        ("<pad>", CONTROL, 0.0),
        ("</s>", CONTROL, 0.0),
        ("<unk>", UNKNOWN, 0.0),
        ("▁", NORMAL, -3.0),
        ("a", NORMAL, -2.0),
        ("b", NORMAL, -2.0),
        ("ab", NORMAL, -3.0),
        ("aba", NORMAL, -9.0),
        ("X", USER_DEFINED, -50.0),
    ];
    let meta = with(meta("t5", &tokens), "ggml.eos_token_id", Value::U32(1));
    let meta = with(meta, "ggml.unknown_token_id", Value::U32(2));
    let model = model(&meta);
    let encode = |text: &str| model.encode(text, false, false).expect("it is a text");
    assert_eq!(encode("aba"), [6, 4]);
    assert_eq!(encode("a b"), [4, 3, 5]);
    assert_eq!(encode("aézb"), [4, 2, 5], "one unknown token for a stretch");
    assert_eq!(encode("aX"), [4, 8]);
    assert_eq!(encode("</s>"), [2], "text does not become a control token");
    assert_eq!(
        model.encode("a", true, false),
        Ok(vec![4, 1]),
        "this kind ends its texts"
    );
    // A space is three bytes once it is spelled out.
    let spaces = " ".repeat(2 << 20);
    assert_eq!(model.encode(&spaces, false, false), Err(TextError::TooLong));
}

#[test]
fn a_special_token_of_a_novels_length_is_refused() {
    let long = "x".repeat(1_025);
    let mut tokens = vec![("<unk>", UNKNOWN, 0.0), (&long[1..], CONTROL, 0.0)];
    assert!(TextModel::from_gguf(&meta("llama", &tokens)).is_ok());
    for kind in [CONTROL, USER_DEFINED] {
        tokens[1] = (&long, kind, 0.0);
        let refused = TextModel::from_gguf(&meta("llama", &tokens)).err();
        assert_eq!(
            refused,
            Some(TextError::Vocabulary(
                "one of its special tokens is too long".to_owned()
            ))
        );
    }
}

const CHATML: &str = "{{ bos_token }}{% for m in messages %}{{ m.name }}{{ m.content | trim }}<|im_end|>{% endfor %}";

#[test]
fn a_chat_has_one_start_token_whoever_writes_it() {
    let meta = with(byte_level(), "ggml.add_bos_token", Value::Bool(true));
    let chat = |template: &str| {
        let model = model(&with(meta.clone(), "chat_template", text(template)));
        model.encode_messages(&[message(Role::User, " ab ")])
    };
    assert_eq!(chat(CHATML), Ok(vec![1, 6, 2]));
    assert_eq!(chat("{{ messages[0].content }}"), Ok(vec![1, 7, 5]));
}

#[test]
fn control_tokens_are_not_put_together_from_parts_of_messages() {
    let model = model(&with(byte_level(), "chat_template", text(CHATML)));
    let ends = |messages: &[Message]| {
        let ids = model.encode_messages(messages).expect("it is a chat");
        ids.iter().filter(|id| **id == 2).count()
    };
    let named = Message {
        name: Some("<|im_".to_owned()),
        ..message(Role::User, "end|>")
    };
    assert_eq!(ends(&[named]), 1);
    for content in [
        "<|im_end|>",
        "<<|im_end|>|im_end|>",
        "<",
        " <|im_end ",
        "\u{10_0000}<|im_end|>",
    ] {
        assert_eq!(ends(&[message(Role::User, content)]), 1, "{content:?}");
    }
}

#[test]
fn chats_that_cannot_be_rendered_say_why() {
    let plain = model(&byte_level());
    assert_eq!(plain.encode_messages(&[]), Err(TextError::NoTemplate));

    let refuses = "{{ raise_exception('Only users may speak.') }}";
    let refuses = model(&with(byte_level(), "chat_template", text(refuses)));
    let words = TextError::Template("Only users may speak.".to_owned());
    assert_eq!(
        refuses.encode_messages(&[message(Role::System, "a")]),
        Err(words)
    );

    let broken = model(&with(byte_level(), "chat_template", text("{% if %}")));
    assert!(matches!(
        broken.encode_messages(&[]),
        Err(TextError::BadTemplate(_))
    ));

    let every_guard: String = ('\u{10_0000}'..='\u{10_FFFD}').collect();
    let chatml = model(&with(byte_level(), "chat_template", text(CHATML)));
    let unguarded = chatml.encode_messages(&[message(Role::User, &every_guard)]);
    assert!(matches!(unguarded, Err(TextError::Text(_))));
    let long = "a".repeat((4 << 20) + 1);
    let long = chatml.encode_messages(&[message(Role::User, &long)]);
    assert_eq!(long, Err(TextError::TooLong));
    let repeats = "{% for n in range(9) %}{{ messages[0].content }}{% endfor %}";
    let repeats = model(&with(byte_level(), "chat_template", text(repeats)));
    let long = repeats.encode_messages(&[message(Role::User, &"a".repeat(1 << 20))]);
    assert_eq!(long, Err(TextError::TooLong), "once it is rendered");
}

#[test]
fn a_template_may_add_to_as_much_text_as_is_read() {
    let chatml = model(&with(byte_level(), "chat_template", text(CHATML)));
    let half = message(Role::User, &"a".repeat(2 << 20));
    assert!(chatml.encode_messages(&[half.clone(), half]).is_ok());
    let short: Vec<_> = (0..4_096).map(|_| message(Role::User, "a")).collect();
    assert!(chatml.encode_messages(&short).is_ok());
}

#[test]
fn files_that_contradict_themselves_are_refused_with_the_reason() {
    let refused = |meta: &Meta| match TextModel::from_gguf(meta) {
        Err(TextError::Vocabulary(reason)) => reason,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was taken"),
    };
    assert!(refused(&Meta::new()).contains("does not name its kind"));
    assert!(refused(&with(sentence(), "ggml.model", text("rwkv"))).contains("'rwkv'"));
    assert!(refused(&with(sentence(), "ggml.model", Value::U32(1))).contains("not text"));
    assert!(refused(&with(sentence(), "ggml.tokens", Value::U32(1))).contains("not a list"));
    let none = Value::Array(Vec::new());
    assert!(refused(&with(sentence(), "ggml.tokens", none.clone())).contains("0 tokens"));
    assert!(refused(&with(sentence(), "ggml.scores", none.clone())).contains("one score"));
    assert!(refused(&with(sentence(), "ggml.token_type", none)).contains("one type"));
    let twice = meta("llama", &[("a", NORMAL, 0.0), ("a", NORMAL, 0.0)]);
    assert!(refused(&twice).contains("there twice"));
    let no_score = meta("llama", &[("a", NORMAL, f32::NAN)]);
    assert!(refused(&no_score).contains("not a number"));
    let byte = meta("llama", &[("<0xZZ>", BYTE, 0.0)]);
    assert!(refused(&byte).contains("'<0xZZ>' is no byte token"));
    let bytes = with(byte_level(), "ggml.pre", text("surprise"));
    assert!(refused(&bytes).contains("'surprise'"));
    let merges = |merge: &str| with(byte_level(), "ggml.merges", Value::Array(vec![text(merge)]));
    assert!(refused(&merges("a")).contains("not a pair"));
    assert!(refused(&merges("a x")).contains("unknown token"));
    let unigram = with(
        meta("t5", &[("a", NORMAL, 0.0)]),
        "ggml.unknown_token_id",
        Value::U32(7),
    );
    assert!(refused(&unigram).contains("no unknown token"));
}

#[test]
fn mutilated_files_are_refused_or_work_and_never_panic() {
    let garbage = [
        Value::U32(0),
        Value::U32(u32::MAX),
        Value::Bool(true),
        text("{{ messages }}{{ x.y }}"),
        Value::Array(Vec::new()),
        Value::Array(vec![text("a"), Value::F32(f32::INFINITY)]),
        Value::Array(vec![text(""); 17]),
        Value::Array(vec![Value::I32(CONTROL); 14]),
        Value::Array(vec![Value::I32(BYTE); 17]),
        Value::Array(vec![Value::F32(-1e38); 14]),
    ];
    let keys = [
        "ggml.model",
        "ggml.pre",
        "ggml.tokens",
        "ggml.token_type",
        "ggml.scores",
        "ggml.merges",
        "ggml.bos_token_id",
        "ggml.eos_token_id",
        "ggml.unknown_token_id",
        "ggml.add_bos_token",
        "ggml.add_space_prefix",
        "ggml.precompiled_charsmap",
        "chat_template",
    ];
    let unigram = with(sentence(), "ggml.model", text("t5"));
    let unigram = with(unigram, "ggml.unknown_token_id", Value::U32(0));
    let mut working = 0;
    for base in [sentence(), byte_level(), unigram] {
        for key in keys {
            for value in &garbage {
                let Ok(model) = TextModel::from_gguf(&with(base.clone(), key, value.clone()))
                else {
                    continue;
                };
                working += 1;
                let odd = "a <s>é\n<|im_end|>\u{FFFF}";
                for ids in [
                    model.encode(odd, true, true),
                    model.encode(odd, false, false),
                ] {
                    let ids = ids.expect("the vocabulary was taken, so it can spell");
                    assert!(ids.iter().all(|id| (*id as usize) < model.vocab_len()));
                    model.decode(&ids);
                }
                // Either outcome will do; it must come.
                drop(model.encode_messages(&[message(Role::User, odd)]));
            }
        }
    }
    assert!(working > 50, "some of it does no harm");
}

#[test]
fn a_tokenizer_file_neither_pads_nor_cuts() {
    let json = r#"{
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "a": 1, "b": 2}, "unk_token": "[PAD]"}
    }"#;
    let tokenizer = from_tokenizer_json(json.as_bytes()).expect("the file is sound");
    let encoding = tokenizer.encode("a b a", true).expect("it is a text");
    assert_eq!(encoding.get_ids(), [1, 2, 1]);
    assert!(matches!(
        from_tokenizer_json(b"{}"),
        Err(TextError::Vocabulary(_))
    ));
}

#[test]
fn every_byte_of_a_text_belongs_to_one_of_its_tokens() {
    let parts = |model: &TextModel, text: &str| {
        let ids = model.encode(text, true, true).expect("it is a text");
        let spelled = model.spelled_in(text, &ids);
        assert_eq!(spelled.len(), ids.len());
        let parts = (0..ids.len()).map(|at| spelled.token(at));
        assert_eq!(spelled.text(), text);
        parts
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect::<Vec<_>>()
    };
    let sentence = model(&sentence());
    assert_eq!(parts(&sentence, "ab"), ["", "a", "b"]);
    assert_eq!(parts(&sentence, " ab"), ["", " ", "a", "b"]);
    assert_eq!(parts(&sentence, "a<s>b"), ["", "a", "<s>", "", "b"]);
    assert_eq!(parts(&sentence, "a\u{2581}ab"), ["", "a", "\u{2581}a", "b"]);
    let bytes = model(&byte_level());
    assert_eq!(parts(&bytes, "ab<|im_end|>"), ["ab", "<|im_end|>"]);
    assert_eq!(parts(&bytes, "aéb"), ["a", "éb"]);
    assert_eq!(parts(&bytes, "abé"), ["abé"], "nobody comes after it");
    // As a text of their own.
    let own = sentence.spelled(&[1, 11, 6, 2]);
    assert_eq!(own.text(), "<s>ab</s>");
    assert_eq!((own.token(1), own.token(3)), (&b"a"[..], &b"</s>"[..]));
}
