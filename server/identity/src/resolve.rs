//! From a DID to its document.

use std::sync::Arc;

use crate::did::{Did, is_host};
use crate::document::DidDocument;
use crate::fetch::{Fetch, FetchError};

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It is about somebody else.
    #[error("the document there is not about this DID")]
    Foreign,
}

/// Finds documents.
#[derive(Clone)]
pub struct Resolver {
    fetch: Arc<dyn Fetch>,
    /// The node's own place on the web, which need not be asked for.
    own: Option<(Did, DidDocument)>,
}

impl Resolver {
    /// One that asks the web through this, and knows the node's own name there.
    pub fn new(fetch: Arc<dyn Fetch>, own: Option<(Did, DidDocument)>) -> Self {
        Self { fetch, own }
    }

    /// The document of a DID.
    ///
    /// # Errors
    /// When there is none, or none that can be had.
    pub async fn resolve(&self, did: &Did) -> Result<DidDocument, ResolveError> {
        if let Some(document) = DidDocument::of(did) {
            return Ok(document);
        }
        if let Some((own, document)) = &self.own
            && own == did
        {
            return Ok(document.clone());
        }
        let Did::Web(web) = did else {
            return Err(ResolveError::Foreign);
        };
        debug_assert!(is_host(&web.host), "a name, as it was parsed");
        // Whether this machine may be asked at all, the fetcher knows.
        let scheme = match web.host == "localhost" {
            true => "http",
            false => "https",
        };
        let url = format!("{scheme}://{}", web.place());
        let document = self.fetch.object(&url).await?;
        DidDocument::read(did, document).ok_or(ResolveError::Foreign)
    }

    /// Asks the web for something else.
    pub(crate) fn fetch(&self) -> &dyn Fetch {
        &*self.fetch
    }
}
