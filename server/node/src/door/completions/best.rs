//! `best_of`: more continuations are made than given, and the most probable ones are kept.

use super::super::stream::Collected;
use super::super::{ApiError, CHOICES_MAX, params};

/// How many continuations of each prompt are made.
pub(super) fn candidates(
    best_of: Option<i64>,
    n: u16,
    prompts: usize,
    stream: bool,
) -> Result<u16, ApiError> {
    const AT: &str = "best_of";
    let Some(best_of) = params::integer(best_of, AT, (1, CHOICES_MAX))? else {
        return Ok(n);
    };
    let refuse = |code, message| Err(ApiError::invalid(AT, code, message));
    if best_of < i64::from(n) {
        let message = format!("Invalid '{AT}': it must not be less than 'n', which is {n}.");
        refuse("invalid_value", message)
    } else if best_of * prompts as i64 > CHOICES_MAX {
        let message = format!(
            "Invalid '{AT}': {best_of} continuations of {prompts} prompts are more than \
             {CHOICES_MAX} in all."
        );
        refuse("integer_above_max_value", message)
    } else if stream && best_of > i64::from(n) {
        let message = format!("Invalid '{AT}': what is compared first cannot be streamed.");
        refuse("invalid_value", message)
    } else {
        Ok(best_of as u16)
    }
}

/// Of every `candidates` choices, which belong to one prompt, the best, best first.
pub(super) fn best(choices: Vec<Collected>, candidates: usize, kept: usize) -> Vec<Collected> {
    if kept == candidates {
        return choices;
    }
    let mut best = Vec::new();
    let mut choices = choices.into_iter();
    loop {
        let mut group: Vec<Collected> = choices.by_ref().take(candidates).collect();
        if group.is_empty() {
            return best;
        }
        // Stable, so that of equals the first is kept.
        group.sort_by(|a, b| mean_logprob(b).total_cmp(&mean_logprob(a)));
        best.extend(group.into_iter().take(kept));
    }
}

/// Of the tokens that were generated, not of an echoed prompt's. What has none is the worst.
fn mean_logprob(choice: &Collected) -> f64 {
    let made = &choice.logprobs[choice.echoed.min(choice.logprobs.len())..];
    if made.is_empty() {
        return f64::NEG_INFINITY;
    }
    let sum: f64 = made.iter().map(|l| f64::from(l.chosen.logprob)).sum();
    sum / made.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{TokenLogprob, TopLogprob};

    fn choice(text: &str, echoed: usize, logprobs: &[f32]) -> Collected {
        let logprobs = logprobs.iter().map(|&logprob| TokenLogprob {
            chosen: TopLogprob {
                bytes: b"x".to_vec(),
                logprob,
            },
            top: Vec::new(),
        });
        Collected {
            text: text.to_owned(),
            logprobs: logprobs.collect(),
            echoed,
            ..Collected::default()
        }
    }

    fn texts(choices: Vec<Collected>) -> Vec<String> {
        choices.into_iter().map(|choice| choice.text).collect()
    }

    #[test]
    fn the_best_by_mean_of_each_prompt_come_first() {
        let choices = vec![
            choice("long and good", 0, &[-1.0, -1.0, -1.0]),
            choice("nothing", 0, &[]),
            choice("short and bad", 0, &[-2.0]),
            choice("a", 0, &[-5.0]),
            choice("b", 0, &[-4.0]),
            choice("c", 0, &[-4.0]),
        ];
        let kept = texts(best(choices, 3, 2));
        assert_eq!(kept, ["long and good", "short and bad", "b", "c"]);
    }

    #[test]
    fn an_echoed_prompt_does_not_count() {
        let choices = vec![
            choice("bad", 2, &[f32::NAN, -9.0, -3.0, -3.0]),
            choice("good", 2, &[f32::NAN, -9.0, -2.0]),
        ];
        assert_eq!(texts(best(choices, 2, 1)), ["good"]);
    }

    #[test]
    fn it_is_at_least_n_and_never_streamed() {
        let code = |best_of, n, prompts, stream| {
            let error = candidates(Some(best_of), n, prompts, stream).expect_err("it is refused");
            let error = error.body().error;
            assert_eq!(error.param.as_deref(), Some("best_of"));
            error.code.unwrap_or_default()
        };
        assert_eq!(candidates(None, 3, 1, true).ok(), Some(3));
        assert_eq!(candidates(Some(1), 1, 1, true).ok(), Some(1));
        assert_eq!(candidates(Some(5), 2, 1, false).ok(), Some(5));
        assert_eq!(code(2, 3, 1, false), "invalid_value");
        assert_eq!(code(2, 1, 1, true), "invalid_value");
        assert_eq!(code(0, 1, 1, false), "integer_below_min_value");
        assert_eq!(code(129, 1, 1, false), "integer_above_max_value");
        assert_eq!(code(65, 1, 2, false), "integer_above_max_value");
    }
}
