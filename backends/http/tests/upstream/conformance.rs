//! The HTTP backend keeps the contract that every backend keeps, when its upstream does.

use std::sync::Arc;

use kwaainet_core::{Backend, Prompt};
use kwaainet_http::HttpConfig;
use kwaainet_testkit::{EmbedSubject, GenerateSubject, ScriptedBackend, Subject, conformance};

use crate::openai;
use crate::server::{backend, chat, serve};

#[tokio::test]
async fn it_passes_the_suite() {
    let fake = ScriptedBackend::builder("fake")
        .generator("talker", 64)
        .embedder("embedder", 16, 8)
        .build();
    let handle = fake.handle();
    let url = serve(openai::router(Arc::new(fake))).await;
    let backend = backend(HttpConfig::new("up", url));
    backend.refresh().await;
    let subject = Subject {
        generate: Some(GenerateSubject {
            model: "talker".into(),
            context: 64,
            prompts: vec![
                chat().prompt,
                Prompt::Text("once upon".into()),
                Prompt::Tokens(vec![1, 2, 3]),
            ],
            counts_tokens: false,
            logprobs: true,
            seed: true,
        }),
        embed: Some(EmbedSubject {
            model: "embedder".into(),
            context: 16,
            dimensions: true,
        }),
        tokenize: false,
        ..Subject::new(move || std::future::ready(handle.counts().alive == 0))
    };
    conformance(Arc::new(backend) as Arc<dyn Backend>, subject).await;
}
