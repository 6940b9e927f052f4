//! How many threads the engine computes with.
//!
//! candle reads that number once, from its own variable, so a node that is told another number
//! starts itself anew with the variable set: same process id, same open files, nothing begun yet.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::config::{Config, Environment};

/// What candle reads.
const VARIABLE: &str = "CANDLE_NUM_THREADS";

/// Makes `engine.threads` hold. Returns only if it already does.
///
/// # Errors
/// When the program cannot be started anew.
pub(crate) fn apply(config: &Config, environment: &Environment) -> io::Result<()> {
    let wanted = config.engine.threads.to_string();
    if config.engine.threads == 0 || environment.get(VARIABLE) == Some(&wanted) {
        return Ok(());
    }
    let program = std::env::current_exe()?;
    let arguments = std::env::args_os().skip(1);
    Err(Command::new(program)
        .args(arguments)
        .env(VARIABLE, wanted)
        .exec())
}
