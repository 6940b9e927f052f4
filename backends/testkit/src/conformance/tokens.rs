//! Text to token ids and back, and that a generation counts and reads the same ids.

use kwaainet_core::{Backend, BackendError, ModelId, Prompt, Tokenized};

use super::refusals::NO_SUCH_TOKEN;
use super::taking::{take, text_of};
use super::{GenerateSubject, Subject, require};

/// Everything about token ids, or a clear refusal.
pub(super) async fn tokenize(backend: &dyn Backend, subject: &Subject) {
    let generator = subject.generate.as_ref().map(|model| &model.model);
    let embedder = subject.embed.as_ref().map(|model| &model.model);
    let Some(model) = generator.or(embedder) else {
        return;
    };
    if !subject.tokenize {
        return refuses(backend, model).await;
    }
    there_and_back(backend, model).await;
    bad_requests(backend, model).await;
    if let Some(model) = &subject.generate {
        for prompt in &model.prompts {
            prompts_are_their_ids(backend, model, prompt).await;
        }
    }
}

async fn refuses(backend: &dyn Backend, model: &ModelId) {
    let rule = "a backend that cannot tokenize says so";
    let there = backend.tokenize(model.clone(), plain("a word")).await;
    let back = backend.detokenize(model.clone(), vec![1]).await;
    let errors = [there.err(), back.err()];
    let refused = |e: &Option<BackendError>| matches!(e, Some(BackendError::Unsupported { .. }));
    require(errors.iter().all(refused), rule, || {
        format!("it should be Unsupported, not {errors:?}")
    });
}

async fn there_and_back(backend: &dyn Backend, model: &ModelId) {
    let rule = "text comes back from its token ids";
    let text = "some plain words, and größe";
    let ids = ids(backend, model, plain(text), rule).await;
    match backend.detokenize(model.clone(), ids).await {
        // Some tokenizers put a space before the first word.
        Ok(again) => require(again.trim_start() == text, rule, || {
            format!("{text:?} came back as {again:?}")
        }),
        Err(error) => panic!("conformance rule broken: {rule}: it was refused: {error}"),
    }
}

async fn bad_requests(backend: &dyn Backend, model: &ModelId) {
    let rule = "bad token ids and models are refused";
    let answer = backend.detokenize(model.clone(), vec![NO_SUCH_TOKEN]).await;
    let right = matches!(answer, Err(BackendError::Invalid { .. }));
    require(right, rule, || {
        format!("it should be Invalid, not {answer:?}")
    });
    let nobody = ModelId::new("no-such-model");
    let answer = backend.tokenize(nobody.clone(), plain("x")).await;
    let right = matches!(answer, Err(BackendError::ModelNotFound(_)));
    require(right, rule, || {
        format!("it should be ModelNotFound, not {answer:?}")
    });
    let answer = backend.detokenize(nobody, vec![1]).await;
    let right = matches!(answer, Err(BackendError::ModelNotFound(_)));
    require(right, rule, || {
        format!("it should be ModelNotFound, not {answer:?}")
    });
}

/// The ids of a prompt are as many as its generation counts, and lead to the same answer.
async fn prompts_are_their_ids(backend: &dyn Backend, model: &GenerateSubject, prompt: &Prompt) {
    let rule = "a prompt and its token ids are the same prompt";
    let asked = match prompt {
        Prompt::Chat(chat) => Tokenized::Chat(chat.clone()),
        Prompt::Text(text) => Tokenized::Text {
            text: text.clone(),
            add_special: true,
            parse_special: true,
        },
        Prompt::Infill { .. } | Prompt::Tokens(_) => return,
    };
    let ids = ids(backend, &model.model, asked, rule).await;
    let taken = take(backend, model.request(prompt), rule).await;
    let counted = taken.usage.prompt_tokens as usize;
    require(ids.len() == counted, rule, || {
        format!(
            "{prompt:?} has {} ids, and {counted} were counted",
            ids.len()
        )
    });
    let from_ids = text_of(backend, model.request(&Prompt::Tokens(ids)), rule).await;
    require(from_ids == taken.choices[0].text, rule, || {
        format!("{prompt:?} and its ids have different answers")
    });
}

async fn ids(backend: &dyn Backend, model: &ModelId, text: Tokenized, rule: &str) -> Vec<u32> {
    match backend.tokenize(model.clone(), text).await {
        Ok(tokens) => tokens.ids,
        Err(error) => panic!("conformance rule broken: {rule}: it was refused: {error}"),
    }
}

fn plain(text: &str) -> Tokenized {
    Tokenized::Text {
        text: text.to_owned(),
        add_special: false,
        parse_special: false,
    }
}
