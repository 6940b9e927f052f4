//! `kwaai-load`: puts load on an OpenAI-compatible server and says how it answered.
//!
//! It asks as many at once as it is told, in a closed loop: a stream that ends makes room for the
//! next. [`cli`] reads what is wanted, [`load`] sends it round by round, [`chat`] and [`embed`] do
//! one request each, [`tally`] counts, [`report`] writes. It never sends anything to another
//! machine unless `--remote` is given. [`fake`] is the server that costs nothing, to measure what
//! stands before it.

mod chat;
mod cli;
mod embed;
mod fake;
mod histogram;
mod load;
mod outcome;
mod prompt;
mod random;
mod report;
mod sse;
mod tally;
mod target;
mod terminal;
mod time;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // One thread: the server needs the cores, and the times of all streams are read in one order.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(cli.run()),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::note(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
