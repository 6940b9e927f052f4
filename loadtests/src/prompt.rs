//! What is asked: random common words, so that no server can answer one prompt from the cache of
//! another, and about one token each in most vocabularies.

use crate::random::Random;

const WORDS: [&str; 64] = [
    "river", "stone", "green", "light", "house", "water", "night", "table", "music", "paper",
    "small", "early", "north", "bread", "horse", "cloud", "grass", "winter", "summer", "garden",
    "window", "street", "letter", "mother", "father", "friend", "forest", "silver", "yellow",
    "morning", "evening", "country", "village", "kitchen", "market", "island", "ocean", "mountain",
    "field", "bridge", "train", "school", "doctor", "teacher", "story", "question", "answer",
    "number", "circle", "square", "corner", "center", "simple", "quiet", "strong", "heavy",
    "clear", "bright", "round", "sweet", "fresh", "cold", "warm", "dark",
];

/// How prompts are made.
#[derive(Clone, Copy, Debug)]
pub struct Prompts {
    /// Decides everything.
    pub seed: u64,
    /// Words in each prompt, at least 1.
    pub words: u32,
    /// How many of them, from the first, are the same in all prompts.
    pub shared: u32,
}

impl Prompts {
    /// The prompt with this path: round, server, request, and so on.
    pub(crate) fn text(&self, path: &[u64]) -> String {
        let shared = self.shared.min(self.words);
        let mut common = Random::of(&[self.seed]);
        let mut own = Random::of(&[&[self.seed], path].concat());
        let mut text = String::new();
        for i in 0..self.words {
            let random = if i < shared { &mut common } else { &mut own };
            let word = WORDS[random.below(WORDS.len() as u64) as usize];
            if i > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(words: u32, shared: u32) -> Prompts {
        Prompts {
            seed: 5,
            words,
            shared,
        }
    }

    #[test]
    fn prompts_repeat_with_their_path_and_differ_from_the_first_words_on_otherwise() {
        let prompts = prompts(40, 0);
        assert_eq!(prompts.text(&[0, 1]), prompts.text(&[0, 1]));
        let [a, b] = [prompts.text(&[0, 1]), prompts.text(&[0, 2])];
        let equal = a.split(' ').zip(b.split(' ')).take_while(|(a, b)| a == b);
        assert!(equal.count() < 5);
        assert_eq!(a.split(' ').count(), 40);
    }

    #[test]
    fn the_shared_prefix_is_exactly_as_long_as_asked() {
        let prompts = prompts(40, 16);
        let [a, b] = [prompts.text(&[1]), prompts.text(&[2])];
        let words = |text: &str, from: usize, to: usize| {
            let words: Vec<_> = text.split(' ').map(str::to_owned).collect();
            words[from..to].to_vec()
        };
        assert_eq!(words(&a, 0, 16), words(&b, 0, 16));
        assert_ne!(words(&a, 16, 40), words(&b, 16, 40));
    }
}
