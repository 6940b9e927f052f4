use std::fs;

use super::*;
use crate::EntryKind;

const SUM: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// An entry of one file, as text.
fn entry(name: &str, file: &str, source: &str) -> String {
    format!(
        "[[model]]
name = \"{name}\"
architecture = \"llama\"
kind = \"generate\"
context = 64
licence = \"MIT\"
description = \"a model\"
[[model.file]]
name = \"{file}\"
sha256 = \"{SUM}\"
bytes = 7
[[model.file.source]]
{source}
"
    )
}

fn load(text: &str) -> Result<Catalogue, CatalogueError> {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let path = dir.path().join("mine.toml");
    fs::write(&path, text).expect("the folder can be written");
    Catalogue::load(Some(&path))
}

#[test]
fn the_built_in_models_are_pinned() {
    let catalogue = Catalogue::builtin();
    let facts: Vec<_> = catalogue
        .iter()
        .map(|e| {
            (
                e.name(),
                e.architecture(),
                e.kind(),
                e.context(),
                e.licence(),
                e.bytes(),
            )
        })
        .collect();
    let expected = [
        (
            "smollm2-135m-instruct",
            "llama",
            EntryKind::Generate,
            8_192,
            "Apache-2.0",
            98_362_432,
        ),
        (
            "gemma3-270m",
            "gemma3",
            EntryKind::Generate,
            32_768,
            "gemma",
            253_113_024,
        ),
        (
            "all-minilm-l6-v2",
            "bert",
            EntryKind::Embed,
            256,
            "Apache-2.0",
            91_335_827,
        ),
    ];
    assert_eq!(facts, expected);
    assert_eq!(catalogue.default_model().name(), "smollm2-135m-instruct");

    let sums: Vec<_> = catalogue
        .iter()
        .flat_map(|e| e.files())
        .map(|file| (file.name(), file.sha256().to_string()[..8].to_owned()))
        .collect();
    let expected = [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "b179c952"),
        ("gemma-3-270m-q4_k_m.gguf", "a5fd3b62"),
        ("model.safetensors", "53aa5117"),
        ("config.json", "953f9c0d"),
        ("tokenizer.json", "be50c362"),
        ("modules.json", "84e40c8e"),
        ("sentence_bert_config.json", "fc1993fd"),
        ("1_Pooling/config.json", "4be450dd"),
    ];
    assert_eq!(sums, expected.map(|(name, sum)| (name, sum.to_owned())));
}

#[test]
fn every_built_in_file_can_be_had_as_a_wheel() {
    for file in Catalogue::builtin().iter().flat_map(|e| e.files()) {
        let last = file.sources().last().expect("at least one");
        assert!(
            last.to_string().starts_with("wheel"),
            "{}: {last}",
            file.name()
        );
    }
}

#[test]
fn the_users_file_replaces_appends_and_chooses() {
    let text = format!(
        "default = \"mine\"\n{}{}",
        entry("mine", "m.gguf", "path = \"here/m.gguf\""),
        entry("gemma3-270m", "other.gguf", "path = \"/there/m.gguf\""),
    );
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let path = dir.path().join("mine.toml");
    fs::write(&path, text).expect("the folder can be written");
    let catalogue = Catalogue::load(Some(&path)).expect("the file is good");

    let names: Vec<_> = catalogue.iter().map(Entry::name).collect();
    let expected = [
        "smollm2-135m-instruct",
        "gemma3-270m",
        "all-minilm-l6-v2",
        "mine",
    ];
    assert_eq!(names, expected);
    assert_eq!(catalogue.default_model().name(), "mine");
    let replaced = catalogue.get("gemma3-270m").expect("it is there");
    assert_eq!(replaced.files()[0].name(), "other.gguf");
    assert_eq!(
        replaced.files()[0].sources()[0].to_string(),
        "file /there/m.gguf"
    );
    let mine = catalogue.get("mine").expect("it is there");
    let beside = dir.path().join("here/m.gguf").display().to_string();
    assert_eq!(
        mine.files()[0].sources()[0].to_string(),
        format!("file {beside}")
    );
    assert!(catalogue.get("no-such-model").is_none());
}

#[test]
fn sources_are_named_as_people_would() {
    let hub = "hub = \"o/r\"\nrevision = \"main\"\nfile = \"a/b.gguf\"";
    let wheels = "wheel = [{ package = \"p\", version = \"1\", member = \"m\" }, \
                  { package = \"q\", version = \"2\", member = \"n\" }]";
    for (source, named) in [
        (hub, "hub o/r/a/b.gguf at main"),
        (wheels, "wheels p 1, q 2"),
        (
            "wheel = [{ package = \"p\", version = \"1\", member = \"m\" }]",
            "wheel p 1",
        ),
    ] {
        let catalogue = load(&entry("m", "f", source)).expect("the file is good");
        let entry = catalogue.get("m").expect("it is there");
        assert_eq!(entry.files()[0].sources()[0].to_string(), named);
    }
}

/// A good entry with one thing changed, the line of the mistake, and a part of the message.
#[test]
fn a_bad_catalogue_is_refused_with_its_line() {
    let good = entry("m", "f.gguf", "path = \"p\"");
    assert!(load(&good).is_ok());
    let twice = format!(
        "{good}[[model.file]]\nname = \"F.gguf\"\nsha256 = \"{SUM}\"\nbytes = 1\n[[model.file.source]]\npath = \"p\"\n"
    );
    let folder = twice.replace("F.gguf", "f.gguf/x");
    let cases = [
        (
            good.replace("licence", "license"),
            6,
            "unknown field `license`",
        ),
        (
            good.replace("bytes = 7", "bytes = 7\nsize = 7"),
            12,
            "unknown field `size`",
        ),
        (format!("{good}color = 1"), 14, "unknown field `color`"),
        (
            format!("defualt = \"m\"\n{good}"),
            1,
            "unknown field `defualt`",
        ),
        (
            good.replace("\"m\"", "\"../m\""),
            2,
            "'../m' is not a model name",
        ),
        (
            good.replace("f.gguf", "../f.gguf"),
            9,
            "'../f.gguf' is not a file name",
        ),
        (
            good.replace("f.gguf", "/etc/passwd"),
            9,
            "is not a file name",
        ),
        (good.replace(SUM, "abc"), 10, "is not a SHA-256"),
        (good.replace("bytes = 7", "bytes = 0"), 11, "nonzero"),
        (good.replace("bytes = 7", "bytes = -1"), 11, "-1"),
        (
            good.replace("context = 64", "context = \"big\""),
            5,
            "invalid type",
        ),
        (
            good.replace("generate", "chat"),
            4,
            "unknown variant `chat`",
        ),
        (
            good.replace("\"a model\"", "\"a\\nb\""),
            7,
            "is not one line",
        ),
        (
            good.replace("path = \"p\"", "revision = \"main\""),
            12,
            "exactly one of",
        ),
        (
            good.replace("path = \"p\"", "path = \"p\"\nfile = \"f\""),
            12,
            "belong to a hub",
        ),
        (
            good.replace("path = \"p\"", "hub = \"o/r\""),
            12,
            "needs 'revision' and 'file'",
        ),
        (
            good.replace("path = \"p\"", "wheel = []"),
            13,
            "at least one",
        ),
        (
            good.replace("path = \"p\"", "hub = \"o/r/x\""),
            13,
            "is not a hub repository",
        ),
        (twice, 1, "has the file 'F.gguf' twice"),
        (folder, 1, "is file and folder"),
        (format!("{good}{good}"), 14, "the model 'm' is here twice"),
        (
            format!("\ndefault = \"nope\"\n{good}"),
            2,
            "'nope' is not in the catalogue",
        ),
        (good.replace("kind = ", "kind "), 4, ""),
        ("[[model]]\nname = \"m\"\n".to_owned(), 1, "missing field"),
    ];
    for (text, line, part) in cases {
        let error = load(&text).expect_err(part);
        let CatalogueError::Bad {
            line: found,
            message,
            ..
        } = &error
        else {
            panic!("{part}: {error}");
        };
        assert_eq!(*found, line, "{error}\n{text}");
        assert!(message.contains(part), "{error} should say {part}");
        assert!(
            error
                .to_string()
                .contains(&format!("mine.toml, line {line}: ")),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_or_far_too_large_is_refused() {
    let missing = Catalogue::load(Some(Path::new("/nonexistent/mine.toml")));
    assert!(matches!(missing, Err(CatalogueError::Unreadable { .. })));
    let large = "#".repeat(FILE_BYTES_MAX as usize + 1);
    assert!(matches!(
        load(&large),
        Err(CatalogueError::Unreadable { .. })
    ));
}
