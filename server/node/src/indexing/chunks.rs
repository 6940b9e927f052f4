//! Cuts a text into pieces of so many tokens, between words.
//!
//! No tokenizer says where in the text its tokens stand, so lengths are guessed from the words before and
//! then counted: a piece never has more tokens than it may, and is filled to three quarters
//! unless the guesses run out. What two pieces share is counted in words, in proportion.

use std::ops::Range;

use super::Trouble;

/// OpenAI's, where the model's context has room for it.
const TOKENS_DEFAULT: usize = 800;
/// A longer word is cut; no model makes more tokens of it than the shortest piece may have.
const WORD_BYTES_MAX: usize = 48;
/// Guesses of one piece's length before it is only halved.
const GUESSES_MAX: usize = 6;

/// Counts tokens.
pub(super) trait Tokens {
    /// Of a text, with what the model puts around it.
    fn count(&self, text: &str) -> impl Future<Output = Result<Counted, Trouble>> + Send;
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) tokens: usize,
    /// How many the model can take.
    pub(super) context: usize,
}

/// Tokens of a piece and how many of them it shares with the next, for a model with this context.
pub(crate) fn sizes(chunking: Option<(u32, u32)>, context: usize) -> (usize, usize) {
    match chunking {
        Some((tokens, overlap)) => (tokens as usize, overlap as usize),
        None => {
            let tokens = TOKENS_DEFAULT.min(context);
            (tokens, tokens / 2)
        }
    }
}

/// The pieces of a text.
pub(super) async fn cut(
    text: &str,
    chunking: Option<(u32, u32)>,
    chunks_max: usize,
    counter: &impl Tokens,
) -> Result<Vec<Range<usize>>, Trouble> {
    let words = words(text);
    let mut chunks = Vec::new();
    let Some(first) = words.first() else {
        return Ok(chunks);
    };
    let probe = counter.count(&text[first.clone()]).await?;
    let (most, shared) = sizes(chunking, probe.context);
    let most = most.min(probe.context).max(1);
    // Tokens of a word; the first guess is a usual one.
    let mut rate = 1.4;
    let mut start = 0;
    loop {
        if chunks.len() == chunks_max {
            let message = format!("the file has more than {chunks_max} pieces");
            return Err(Trouble::File("invalid_file", message));
        }
        let rest = &words[start..];
        let (length, tokens) = fit(text, rest, most, rate, counter).await?;
        rate = tokens as f64 / length as f64;
        let end = start + length;
        chunks.push(words[start].start..words[end - 1].end);
        if end == words.len() {
            return Ok(chunks);
        }
        let back = (length as f64 * shared as f64 / most as f64) as usize;
        start = (end - back).max(start + 1);
    }
}

/// How many of the words make a piece, and its tokens.
async fn fit(
    text: &str,
    words: &[Range<usize>],
    most: usize,
    rate: f64,
    counter: &impl Tokens,
) -> Result<(usize, usize), Trouble> {
    let mut length = ((most as f64 * 0.95 / rate) as usize).clamp(1, words.len());
    let mut best: Option<(usize, usize)> = None;
    for guess in 0.. {
        let piece = &text[words[0].start..words[length - 1].end];
        let tokens = counter.count(piece).await?.tokens;
        let next = length as f64 * most as f64 * 0.95 / tokens.max(1) as f64;
        if tokens <= most {
            if best.is_none_or(|(best, _)| length > best) {
                best = Some((length, tokens));
            }
            let is_full = tokens * 4 >= most * 3 || length == words.len();
            if is_full || guess >= GUESSES_MAX {
                break;
            }
            length = (next as usize).clamp(length + 1, words.len());
        } else {
            if let Some((fitting, _)) = best {
                let between = usize::midpoint(fitting, length);
                if between == fitting || guess >= GUESSES_MAX {
                    break;
                }
                length = between;
                continue;
            }
            if length == 1 {
                let message = "a word of the file is longer than a piece may be".to_owned();
                return Err(Trouble::File("invalid_file", message));
            }
            let smaller = if guess < GUESSES_MAX {
                next as usize
            } else {
                length / 2
            };
            length = smaller.clamp(1, length - 1);
        }
    }
    best.ok_or_else(|| super::server("no piece was found"))
}

/// Where the words are; long ones in parts.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut word: Option<usize> = None;
    for (at, char) in text.char_indices() {
        let is_space = char.is_whitespace();
        if let Some(start) = word {
            let is_long = at + char.len_utf8() - start > WORD_BYTES_MAX;
            if is_space || is_long {
                words.push(start..at);
                word = None;
            }
        }
        if !is_space && word.is_none() {
            word = Some(at);
        }
    }
    words.extend(word.map(|start| start..text.len()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token for so many bytes of each word, and two around the text.
    struct Bytes(usize);

    impl Tokens for Bytes {
        async fn count(&self, text: &str) -> Result<Counted, Trouble> {
            let words = text.split_whitespace();
            let tokens: usize = words.map(|word| word.len().div_ceil(self.0)).sum();
            Ok(Counted {
                tokens: tokens + 2,
                context: 256,
            })
        }
    }

    async fn pieces(text: &str, chunking: Option<(u32, u32)>, bytes: usize) -> Vec<String> {
        let ranges = cut(text, chunking, 1_000, &Bytes(bytes)).await;
        let ranges = ranges.expect("it is cut");
        ranges
            .into_iter()
            .map(|range| text[range].to_owned())
            .collect()
    }

    #[tokio::test]
    async fn a_short_text_is_one_piece() {
        assert_eq!(pieces(" one\n two ", None, 4).await, ["one\n two"]);
        assert!(pieces(" \n", None, 4).await.is_empty());
    }

    #[tokio::test]
    async fn pieces_are_full_share_words_and_leave_nothing_out() {
        let numbers: Vec<String> = (0..3_000_u32).map(|i| format!("{}", i * i)).collect();
        let text = numbers.join(" ");
        for (chunking, most, bytes) in [
            (None, 256, 4),
            (Some((100, 0)), 100, 1),
            (Some((100, 50)), 100, 3),
            (Some((4_096, 9)), 256, 2),
        ] {
            let pieces = pieces(&text, chunking, bytes).await;
            let mut next = 0;
            for (index, piece) in pieces.iter().enumerate() {
                let words: Vec<&str> = piece.split(' ').collect();
                let first = numbers.iter().position(|number| number == words[0]);
                let first = first.expect("pieces begin at a word");
                assert!(first <= next, "nothing is left out");
                assert!(
                    first == next || chunking != Some((100, 0)),
                    "nothing is shared"
                );
                assert_eq!(words, &numbers[first..first + words.len()]);
                assert!(first + words.len() > next, "each goes further");
                next = first + words.len();
                let counted = Bytes(bytes).count(piece).await.expect("it counts");
                assert!(counted.tokens <= most, "{}", counted.tokens);
                let is_last = index + 1 == pieces.len();
                assert!(
                    is_last || counted.tokens * 4 >= most * 3,
                    "{}",
                    counted.tokens
                );
            }
            assert_eq!(next, numbers.len());
        }
    }

    #[tokio::test]
    async fn a_text_without_spaces_is_cut_between_characters() {
        let text = "é".repeat(5_000);
        let pieces = pieces(&text, Some((100, 0)), 1).await;
        assert_eq!(pieces.concat(), text);
        let many = cut(&text, Some((100, 0)), 3, &Bytes(1)).await;
        assert!(matches!(many, Err(Trouble::File("invalid_file", _))));
    }
}
