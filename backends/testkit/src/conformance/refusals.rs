//! What is not there, does not fit or makes no sense is refused before any work, in the right words.

use kwaainet_core::{
    Backend, BackendError, EmbedInput, EmbedRequest, Embeddings, ModelId, ModelKind, Prompt,
};

use super::taking::refusal;
use super::{EmbedSubject, GenerateSubject, Subject, require};

/// No model has it.
pub(super) const NO_SUCH_TOKEN: u32 = u32::MAX - 1;

/// The report names the subject's models and takes work.
pub(super) fn report(backend: &dyn Backend, subject: &Subject) {
    let rule = "the report names what is served";
    let report = backend.report();
    require(report.unavailable.is_none(), rule, || {
        format!("it takes no work: {:?}", report.unavailable)
    });
    let lists = |id: &ModelId, kind| {
        let mut facts = report.models.iter();
        let found = facts.any(|f| f.id == *id && (f.kind == kind || f.kind == ModelKind::Unknown));
        require(found, rule, || format!("'{id}' is not in it as {kind:?}"));
    };
    if let Some(model) = &subject.generate {
        lists(&model.model, ModelKind::Generate);
    }
    if let Some(model) = &subject.embed {
        lists(&model.model, ModelKind::Embed);
    }
}

/// Generations that cannot be.
pub(super) async fn generate(
    backend: &dyn Backend,
    model: &GenerateSubject,
    embedder: Option<&EmbedSubject>,
) {
    let rule = "an unknown model is not found";
    let mut request = model.request(model.first_prompt());
    request.model = "no-such-model".into();
    not_found(&refusal(backend, request, rule).await, rule);

    if let Some(embedder) = embedder {
        let rule = "an embedder does not generate";
        let mut request = model.request(model.first_prompt());
        request.model = embedder.model.clone();
        wrong_kind(&refusal(backend, request, rule).await, rule);
    }

    let rule = "a prompt longer than the context is refused";
    let long = "word ".repeat(model.context as usize + 1);
    let request = model.request(&Prompt::Text(long));
    overflows(
        &refusal(backend, request, rule).await,
        model.context,
        "prompt",
        rule,
    );

    let rule = "more max_tokens than the context holds is refused";
    let mut request = model.request(model.first_prompt());
    request.params.max_tokens = Some(model.context);
    request.params.max_tokens_param = "max_completion_tokens";
    let refused = refusal(backend, request, rule).await;
    overflows(&refused, model.context, "max_completion_tokens", rule);

    let rule = "a token id that the model lacks is refused";
    let request = model.request(&Prompt::Tokens(vec![NO_SUCH_TOKEN]));
    invalid(&refusal(backend, request, rule).await, "prompt", rule);
    let mut request = model.request(model.first_prompt());
    request.params.sampling.logit_bias = vec![(NO_SUCH_TOKEN, 1.0)];
    invalid(&refusal(backend, request, rule).await, "logit_bias", rule);

    let rule = "a prompt without tokens is refused";
    let request = model.request(&Prompt::Tokens(Vec::new()));
    invalid(&refusal(backend, request, rule).await, "prompt", rule);
}

/// Embeddings that cannot be.
pub(super) async fn embed(
    backend: &dyn Backend,
    model: &EmbedSubject,
    generator: Option<&GenerateSubject>,
) {
    let ask = async |model: &ModelId, input| {
        let request = EmbedRequest {
            model: model.clone(),
            inputs: vec![input],
            dimensions: None,
        };
        backend.embed(request).await
    };
    let text = || EmbedInput::Text("a word".into());

    let rule = "an unknown embedder is not found";
    let answer = ask(&"no-such-model".into(), text()).await;
    not_found(&refused(answer, rule), rule);

    if let Some(generator) = generator {
        let rule = "a generator does not embed";
        wrong_kind(&refused(ask(&generator.model, text()).await, rule), rule);
    }

    let rule = "an input longer than the context is refused";
    let long = EmbedInput::Text("word ".repeat(model.context as usize + 1));
    let answer = ask(&model.model, long).await;
    overflows(&refused(answer, rule), model.context, "input", rule);

    let rule = "a token id that the embedder lacks is refused";
    let answer = ask(&model.model, EmbedInput::Tokens(vec![NO_SUCH_TOKEN])).await;
    invalid(&refused(answer, rule), "input", rule);

    let rule = "an empty batch is refused";
    let request = EmbedRequest {
        model: model.model.clone(),
        inputs: Vec::new(),
        dimensions: None,
    };
    invalid(&refused(backend.embed(request).await, rule), "input", rule);
}

fn refused(answer: Result<Embeddings, BackendError>, rule: &str) -> BackendError {
    match answer {
        Err(error) => error,
        Ok(_) => panic!("conformance rule broken: {rule}: it was accepted"),
    }
}

fn not_found(error: &BackendError, rule: &str) {
    let right = matches!(error, BackendError::ModelNotFound(_));
    require(right, rule, || {
        format!("it should be ModelNotFound, not {error:?}")
    });
}

fn wrong_kind(error: &BackendError, rule: &str) {
    // An upstream's 400 does not tell the two apart, and neither does ours.
    let right = matches!(
        error,
        BackendError::Unsupported { param: "model", .. }
            | BackendError::Invalid { param: "model", .. }
    );
    require(right, rule, || {
        format!("it should be Unsupported naming 'model', not {error:?}")
    });
}

fn invalid(error: &BackendError, field: &str, rule: &str) {
    let right = matches!(error, BackendError::Invalid { param, .. } if *param == field);
    require(right, rule, || {
        format!("it should be Invalid naming '{field}', not {error:?}")
    });
}

fn overflows(error: &BackendError, room: u32, field: &str, rule: &str) {
    let right = matches!(
        error,
        BackendError::ContextOverflow { prompt_tokens, max_tokens, context, param }
            if *param == field
                && *context == room
                && u64::from(*prompt_tokens) + u64::from(*max_tokens) > u64::from(room)
    );
    require(right, rule, || {
        format!("it should be ContextOverflow of {room} naming '{field}', not {error:?}")
    });
}
