//! The suite catches what it is there to catch: each test breaks one promise of a good backend and
//! expects the panic to name it.

use std::sync::Arc;

use futures_util::StreamExt;
use kwaainet_core::{
    Backend, BackendError, BackendId, BackendReport, BoxFuture, EmbedRequest, Embeddings, Event,
    EventStream, FinishReason, GenerateRequest, ModelId, Prompt, TextTokens, Tokenized,
};
use kwaainet_testkit::{EmbedSubject, GenerateSubject, ScriptedBackend, Subject, conformance};

/// A good backend, but for what these functions do to its requests, events and vectors.
struct Sloppy {
    good: ScriptedBackend,
    request: fn(&mut GenerateRequest),
    event: fn(Event) -> Vec<Event>,
    embeddings: fn(&mut Embeddings),
    embed_request: fn(&mut EmbedRequest),
}

impl Sloppy {
    fn new() -> Self {
        Self {
            good: ScriptedBackend::builder("sloppy")
                .generator("talker", 64)
                .embedder("embedder", 16, 8)
                .build(),
            request: |_| {},
            event: |event| vec![event],
            embeddings: |_| {},
            embed_request: |_| {},
        }
    }
}

impl Backend for Sloppy {
    fn id(&self) -> &BackendId {
        self.good.id()
    }

    fn report(&self) -> BackendReport {
        self.good.report()
    }

    fn generate(
        &self,
        mut request: GenerateRequest,
    ) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        (self.request)(&mut request);
        let change = self.event;
        Box::pin(async move {
            let events = self.good.generate(request).await?;
            let changed = events.flat_map(move |event| {
                let events = match event {
                    Ok(event) => change(event).into_iter().map(Ok).collect(),
                    Err(error) => vec![Err(error)],
                };
                futures_util::stream::iter(events)
            });
            Ok(Box::pin(changed) as EventStream)
        })
    }

    fn embed(&self, mut request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        (self.embed_request)(&mut request);
        Box::pin(async move {
            let mut embeddings = self.good.embed(request).await?;
            (self.embeddings)(&mut embeddings);
            Ok(embeddings)
        })
    }

    fn tokenize(
        &self,
        model: ModelId,
        text: Tokenized,
    ) -> BoxFuture<'_, Result<TextTokens, BackendError>> {
        self.good.tokenize(model, text)
    }

    fn detokenize(
        &self,
        model: ModelId,
        tokens: Vec<u32>,
    ) -> BoxFuture<'_, Result<String, BackendError>> {
        self.good.detokenize(model, tokens)
    }
}

async fn judge(sloppy: Sloppy) {
    let handle = sloppy.good.handle();
    let subject = Subject {
        generate: Some(GenerateSubject {
            model: "talker".into(),
            context: 64,
            prompts: vec![Prompt::Text("once upon".into())],
            counts_tokens: true,
            logprobs: true,
            seed: true,
        }),
        embed: Some(EmbedSubject {
            model: "embedder".into(),
            context: 16,
            dimensions: true,
        }),
        tokenize: true,
        ..Subject::new(move || std::future::ready(handle.counts().alive == 0))
    };
    conformance(Arc::new(sloppy), subject).await;
}

#[tokio::test]
async fn untouched_it_is_good() {
    judge(Sloppy::new()).await;
}

#[tokio::test]
#[should_panic(expected = "Done came before each choice had Finished")]
async fn a_missing_finish() {
    let event = |event| match event {
        Event::Finished { .. } => vec![],
        other => vec![other],
    };
    judge(Sloppy {
        event,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "nothing may follow Done")]
async fn an_event_after_the_end() {
    let event = |event| match event {
        Event::Done(usage) => vec![event, Event::Done(usage)],
        other => vec![other],
    };
    judge(Sloppy {
        event,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "ended with Some(Stop)")]
async fn a_wrong_reason() {
    let event = |event| match event {
        Event::Finished { choice, .. } => vec![Event::Finished {
            choice,
            reason: FinishReason::Stop,
        }],
        other => vec![other],
    };
    judge(Sloppy {
        event,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "usage equals what the events said")]
async fn a_delta_that_does_not_count() {
    let event = |event| match event {
        Event::Delta(mut delta) => {
            delta.tokens = 0;
            vec![Event::Delta(delta)]
        }
        other => vec![other],
    };
    judge(Sloppy {
        event,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "a stop text ends a choice and never shows")]
async fn ignored_stop_texts() {
    let request = |request: &mut GenerateRequest| request.params.stop.clear();
    judge(Sloppy {
        request,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "a seed fixes the draws: seeds 1 to 9 all gave one text")]
async fn an_ignored_seed() {
    let request = |request: &mut GenerateRequest| request.params.sampling.seed = None;
    judge(Sloppy {
        request,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "log-probabilities belong to the text")]
async fn ignored_log_probabilities() {
    let request = |request: &mut GenerateRequest| request.params.logprobs = None;
    judge(Sloppy {
        request,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "a token id that the model lacks is refused")]
async fn ignored_biases() {
    let request = |request: &mut GenerateRequest| request.params.sampling.logit_bias.clear();
    judge(Sloppy {
        request,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "an event of choice 1, but n is 1")]
async fn a_choice_too_many() {
    let event = |event| match event {
        Event::Delta(mut delta) => {
            delta.choice = 1;
            vec![Event::Delta(delta)]
        }
        other => vec![other],
    };
    judge(Sloppy {
        event,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "a vector has unit length")]
async fn a_long_vector() {
    let embeddings = |all: &mut Embeddings| {
        for vector in &mut all.vectors {
            vector[0] += 1.0;
        }
    };
    judge(Sloppy {
        embeddings,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "a vector is the same in a batch as alone")]
async fn vectors_in_the_wrong_order() {
    let embeddings = |all: &mut Embeddings| all.vectors.reverse();
    judge(Sloppy {
        embeddings,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "dimensions shorten a vector")]
async fn ignored_dimensions() {
    let embed_request = |request: &mut EmbedRequest| request.dimensions = None;
    judge(Sloppy {
        embed_request,
        ..Sloppy::new()
    })
    .await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "dropping a stream frees the backend: it is still busy after 5 s")]
async fn work_that_goes_on_after_a_drop() {
    let sloppy = Sloppy::new();
    let mut subject = Subject::new(|| std::future::ready(false));
    subject.generate = Some(GenerateSubject {
        model: "talker".into(),
        context: 64,
        prompts: vec![Prompt::Text("once upon".into())],
        counts_tokens: true,
        logprobs: true,
        seed: true,
    });
    conformance(Arc::new(sloppy), subject).await;
}
