//! An upstream server behind the node's own seam.

use std::sync::Arc;

use kwaainet_core::{
    Backend, BackendError, BackendId, BackendReport, BoxFuture, EmbedRequest, Embeddings,
    EventStream, GenerateRequest, ModelId, TextTokens, Tokenized,
};

use crate::config::{ConfigError, HttpConfig};
use crate::models::Models;
use crate::upstream::Upstream;
use crate::{embed, generate};

/// An OpenAI-compatible server that does the work.
pub struct HttpBackend {
    id: BackendId,
    models: Models,
    upstream: Arc<Upstream>,
}

impl HttpBackend {
    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: HttpConfig) -> Result<Self, ConfigError> {
        let upstream = Arc::new(Upstream::new(&config)?);
        Ok(Self {
            id: config.id,
            models: Models::new(config.models),
            upstream,
        })
    }

    /// Asks the upstream for its models, within the configured timeouts. What it answers, or that
    /// it does not, is in the next [`report`](Backend::report). To be called at start and then
    /// from time to time, in the background.
    pub async fn refresh(&self) {
        self.models.refresh(&self.upstream).await;
    }
}

impl Backend for HttpBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn report(&self) -> BackendReport {
        self.models.report()
    }

    fn generate(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async move {
            let model = self.models.upstream_name(&request.model)?;
            generate::generate(&self.upstream, &model, &request).await
        })
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(async move {
            let model = self.models.upstream_name(&request.model)?;
            embed::embed(&self.upstream, &model, &request).await
        })
    }

    /// Always `Unsupported`: OpenAI's API has no such request.
    fn tokenize(
        &self,
        _: ModelId,
        _: Tokenized,
    ) -> BoxFuture<'_, Result<TextTokens, BackendError>> {
        Box::pin(std::future::ready(Err(no_tokenizer())))
    }

    /// Always `Unsupported`: OpenAI's API has no such request.
    fn detokenize(&self, _: ModelId, _: Vec<u32>) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(std::future::ready(Err(no_tokenizer())))
    }
}

fn no_tokenizer() -> BackendError {
    BackendError::Unsupported {
        param: "model",
        reason: "this model runs on an upstream server that does not tell its tokens".into(),
    }
}
