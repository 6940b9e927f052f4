//! The suite that every backend passes, with real models.

use std::sync::Arc;

use kwaainet_core::{Message, Prompt, Role};
use kwaainet_testkit::{EmbedSubject, GenerateSubject, Subject, conformance};

use crate::models;

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_is_a_backend() {
    let backend = models::backend(&[models::SMOLLM2, models::MINILM]);
    let probe = Arc::clone(&backend);
    let mut subject = Subject::new(move || {
        let stats = probe.engine_stats();
        async move { (stats.running, stats.queued, stats.kv_tokens) == (0, 0, 0) }
    });
    subject.generate = Some(GenerateSubject {
        model: models::SMOLLM2.into(),
        context: 8192,
        prompts: vec![
            Prompt::Chat(
                vec![Message::new(
                    Role::User,
                    "Tell me a story about a fox and a crow.",
                )]
                .into(),
            ),
            Prompt::Text("The sea is blue because".into()),
            Prompt::Tokens((1000..1020).collect()),
        ],
        counts_tokens: true,
        logprobs: true,
        seed: true,
    });
    subject.embed = Some(EmbedSubject {
        model: models::MINILM.into(),
        context: 256,
        dimensions: true,
    });
    subject.tokenize = true;
    conformance(backend, subject).await;
}
