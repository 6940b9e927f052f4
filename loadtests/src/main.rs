//! `kwaai-load`: the command line of the load generator. What it does is the library's.

mod cli;

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
            kwaainet_loadtests::note(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
