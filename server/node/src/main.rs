//! The binary `kwaainet`.

use std::process::ExitCode;

use clap::Parser;
use kwaainet::commands::Cli;
use kwaainet::terminal;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::note(format!("error: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(cli.run()) {
        Ok(code) => code,
        Err(error) => {
            terminal::note(format!("error: {}", sentence(&error)));
            ExitCode::FAILURE
        }
    };
    // Work that cannot be interrupted, like reading a model, must not hold up the end.
    runtime.shutdown_background();
    code
}

/// An error and its causes in one line; many of ours already tell their cause themselves.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if sentence.is_empty() {
            sentence = cause;
        } else if !sentence.contains(&cause) {
            sentence = format!("{sentence}: {cause}");
        }
    }
    sentence
}
