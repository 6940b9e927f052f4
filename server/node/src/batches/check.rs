//! Reads a batch's input once before any of it runs.

use std::collections::HashSet;

use kwaainet_openapi::BatchError;
use kwaainet_store::BatchRecord;

use super::lines::Lines;
use super::{Trouble, fault, unreadable};
use crate::door::App;

/// OpenAI's limit.
const LINES_MAX: u32 = 50_000;
/// Errors that are told; whoever has more of them makes the same one again and again.
const ERRORS_MAX: usize = 100;

/// How many requests there are, if all of them are sound and differ in their names.
pub(super) async fn input(app: &App, batch: &BatchRecord) -> Result<u32, Trouble> {
    let file = app
        .vault
        .open(&batch.input_file)
        .await
        .map_err(unreadable)?;
    let mut lines = Lines::new(file, app.body_bytes_max);
    let mut names = HashSet::new();
    let mut errors: Vec<BatchError> = Vec::new();
    let mut total = 0;
    while let Some(line) = lines.next().await? {
        total += 1;
        if total > LINES_MAX {
            let message = format!("The input has more than {LINES_MAX} requests.");
            return Err(fault("too_many_requests", &message));
        }
        match line.read(&batch.endpoint) {
            Ok(request) => {
                if !names.insert(request.custom_id) {
                    let message = "Another line has this 'custom_id'.";
                    errors.push(line.error("duplicate_custom_id", Some("custom_id"), message));
                }
            }
            Err(error) => errors.push(error),
        }
        if errors.len() == ERRORS_MAX {
            break;
        }
    }
    if !errors.is_empty() {
        return Err(Trouble::Fault(errors));
    }
    if total == 0 {
        return Err(fault("empty_file", "The input has no requests."));
    }
    Ok(total)
}
