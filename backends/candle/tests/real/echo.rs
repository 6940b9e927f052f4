//! What a real model thinks of a prompt.

use futures_util::StreamExt;
use kwaainet_core::{
    Backend, Event, GenerateParams, GenerateRequest, PrincipalId, Prompt, Sampling, TokenLogprob,
};

use crate::models;

/// Text, log-probabilities and what the first of them add up to.
async fn complete(backend: &impl Backend, prompt: &str, echo: bool, tokens: u32) -> Said {
    let request = GenerateRequest {
        model: models::SMOLLM2.into(),
        prompt: Prompt::Text(prompt.into()),
        params: GenerateParams {
            max_tokens: Some(tokens),
            logprobs: Some(3),
            echo,
            sampling: Sampling {
                temperature: 0.0,
                ..Sampling::default()
            },
            ..GenerateParams::default()
        },
        owner: PrincipalId::operator(),
        resume: None,
    };
    let mut events = backend.generate(request).await.expect("it is sound");
    let mut said = Said::default();
    while let Some(event) = events.next().await {
        if let Event::Delta(delta) = event.expect("it goes well") {
            said.text += &delta.text;
            said.logprobs.extend(delta.logprobs);
        }
    }
    said
}

#[derive(Default)]
struct Said {
    text: String,
    logprobs: Vec<TokenLogprob>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_scored_to_the_bit_as_when_it_was_generated() {
    let backend = models::backend(&[models::SMOLLM2]);
    let beginning = "One, two, three, <|im_end|> é😀";
    let made = complete(&*backend, beginning, false, 60).await;
    let whole = format!("{beginning}{}", made.text);
    // First without anything in the cache that is longer than its beginning, then with all of it.
    for _ in 0..2 {
        let scored = complete(&*backend, &whole, true, 0).await;
        assert_eq!(scored.text, whole);
        let bytes = scored.logprobs.iter().flat_map(|token| &token.chosen.bytes);
        assert!(bytes.copied().eq(whole.bytes()));
        assert!(scored.logprobs[0].chosen.logprob.is_nan());
        let start = scored.logprobs.len() - made.logprobs.len();
        assert!(scored.logprobs[start..] == made.logprobs);
    }
}
