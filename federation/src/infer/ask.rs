//! A peer as a backend: asks one other node. Owns no connection and no task but those that say goodbye; what is
//! known of the peer comes from the control plane's views.

mod answers;
mod course;
mod exchange;
mod order;
mod watch;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kwaainet_core::{
    Backend, BackendError, BackendId, BackendReport, BoxFuture, Clock, EmbedRequest, Embeddings,
    EventStream, GenerateRequest, Load, ModelId, ModelKind, NodeId, PeerFacts, Place, PrincipalId,
    Reserved, TextTokens, Tier, Tokenized,
};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch as views};
use tokio_util::task::TaskTracker;

use crate::view::view_of;
use crate::{Accounts, PeerState, PeerTransport, PeerView};

use super::account::Books;
use super::wire::request::{Request, Wanted};
use course::Course;
use exchange::Exchange;

/// How long a generation may take, parked time included.
const GENERATE_BUDGET: Duration = Duration::from_secs(3_600);
const EMBED_BUDGET: Duration = Duration::from_secs(600);
const QUESTION_BUDGET: Duration = Duration::from_secs(30);
/// How long a peer that is known by hearsay is not called after it did not answer.
const GIVEN_UP_FOR: Duration = Duration::from_secs(30);
const UNANSWERED: &str = "it did not answer when it was called";
/// Streams that are settled after they were dropped, at once; more are just broken off.
const FAREWELLS_MAX: usize = 64;

/// Asks a peer.
pub struct PeerBackend(Arc<Peer>);

/// What all requests to one peer share.
struct Peer {
    node: NodeId,
    id: BackendId,
    /// For people.
    name: String,
    views: views::Receiver<Arc<Vec<PeerView>>>,
    transport: Arc<dyn PeerTransport>,
    books: Books,
    /// Makes scopes that mean nothing to anybody else and that nobody can test guesses against.
    salt: [u8; 32],
    in_flight: AtomicU32,
    unseen: Mutex<Unseen>,
    /// When it last did not answer a call.
    unanswered: Mutex<Option<Duration>>,
    farewells: TaskTracker,
    farewell_places: Arc<Semaphore>,
}

/// Jobs that were given to the peer since it last said how much it has to do.
#[derive(Default)]
struct Unseen {
    said: Load,
    jobs: u32,
}

impl PeerBackend {
    /// The node, which need not be in the views yet. Without accounts nothing is signed.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn new(
        node: NodeId,
        views: views::Receiver<Arc<Vec<PeerView>>>,
        transport: Arc<dyn PeerTransport>,
        accounts: Option<Arc<dyn Accounts>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).expect("the operating system gives random bytes");
        Self(Arc::new(Peer {
            node,
            // The whole id: two nodes may be made to share a short one, and backends are found by this name.
            id: BackendId::new(format!("peer:{node}")),
            name: format!("the peer {}", node.short()),
            views,
            transport,
            books: Books { accounts, clock },
            salt,
            in_flight: AtomicU32::new(0),
            unseen: Mutex::default(),
            unanswered: Mutex::default(),
            farewells: TaskTracker::new(),
            farewell_places: Arc::new(Semaphore::new(FAREWELLS_MAX)),
        }))
    }

    /// Which node it is.
    pub fn node(&self) -> NodeId {
        self.0.node
    }
}

impl Backend for PeerBackend {
    fn id(&self) -> &BackendId {
        &self.0.id
    }

    fn report(&self) -> BackendReport {
        self.0.report()
    }

    fn generate(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async move {
            let mut course = Course::open(&self.0, request, false).await?;
            course.accepted().await?;
            Ok(course.events())
        })
    }

    fn reserve(
        &self,
        request: GenerateRequest,
    ) -> BoxFuture<'_, Result<Reserved<'_>, BackendError>> {
        Box::pin(async move {
            let mut course = Course::open(&self.0, request, true).await?;
            course.held().await?;
            Ok(Box::pin(async move {
                course.accepted().await?;
                Ok(course.events())
            }) as Reserved<'_>)
        })
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        Box::pin(answers::embed(&self.0, request))
    }

    fn tokenize(
        &self,
        model: ModelId,
        text: Tokenized,
    ) -> BoxFuture<'_, Result<TextTokens, BackendError>> {
        Box::pin(answers::tokenize(&self.0, model, text))
    }

    fn detokenize(
        &self,
        model: ModelId,
        tokens: Vec<u32>,
    ) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(answers::detokenize(&self.0, model, tokens))
    }
}

impl Peer {
    fn report(&self) -> BackendReport {
        let views = self.views.borrow();
        let Some(view) = view_of(&views, self.node) else {
            return BackendReport {
                unavailable: Some("it is no member".to_owned()),
                place: Place::Peer(Arc::new(unknown(self.node))),
                ..BackendReport::default()
            };
        };
        let load = self.with_unseen(view.facts.load);
        let facts = PeerFacts {
            ours: self.in_flight.load(Ordering::Relaxed),
            load,
            ..view.facts.clone()
        };
        let reason = || view.reason.clone();
        let unavailable = match view.state {
            PeerState::Distant if self.is_given_up() => Some(UNANSWERED.to_owned()),
            state if state.is_askable() => None,
            state => Some(reason().unwrap_or_else(|| format!("it is {state:?}").to_lowercase())),
        };
        // Recordings do not go from node to node yet.
        let models = view.models.iter();
        let models = models.filter(|model| model.kind != ModelKind::Transcribe);
        BackendReport {
            models: models.cloned().collect(),
            unavailable,
            load: Some(load),
            place: Place::Peer(Arc::new(facts)),
        }
    }

    /// It was called and did not answer: others are asked for a while, if all that is known of it is hearsay.
    fn unanswered(&self) {
        let now = self.books.clock.monotonic();
        *self.unanswered.lock().expect("no holder panics") = Some(now);
    }

    fn is_given_up(&self) -> bool {
        let at = *self.unanswered.lock().expect("no holder panics");
        at.is_some_and(|at| self.books.clock.monotonic().saturating_sub(at) < GIVEN_UP_FOR)
    }

    /// The peer's last word on its load, and what it was given after that.
    fn with_unseen(&self, mut load: Load) -> Load {
        let unseen = self.unseen.lock().expect("no holder panics");
        if unseen.said == load {
            load.queued = load.queued.saturating_add(unseen.jobs);
        }
        load
    }

    /// A new request of this work, with what is known of the model at the peer.
    fn request(&self, model: ModelId, scope: [u8; 16], work: Wanted) -> Request {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("the operating system gives random bytes");
        let views = self.views.borrow();
        let view = view_of(&views, self.node);
        let facts = view.and_then(|view| view.models.iter().find(|facts| facts.id == model));
        Request {
            id,
            budget: match work {
                Wanted::Generate { .. } => GENERATE_BUDGET,
                Wanted::Embed { .. } => EMBED_BUDGET,
                Wanted::Tokenize(_) | Wanted::Detokenize(_) => QUESTION_BUDGET,
            },
            digest: facts.and_then(|facts| facts.digest),
            numerics: facts.and_then(|facts| facts.numerics.clone()),
            model,
            scope,
            tied: false,
            work,
        }
    }

    fn scope(&self, owner: &PrincipalId) -> [u8; 16] {
        let hash = Sha256::new()
            .chain_update(b"kwaainet owner scope 1\0")
            .chain_update(self.salt)
            .chain_update(owner.as_str());
        let hash: [u8; 32] = hash.finalize().into();
        *hash.first_chunk().expect("it is longer")
    }

    /// Counts a request until the guard is dropped.
    fn enter(self: &Arc<Self>) -> InFlight {
        let views = self.views.borrow();
        if let Some(view) = view_of(&views, self.node) {
            let mut unseen = self.unseen.lock().expect("no holder panics");
            if unseen.said != view.facts.load {
                *unseen = Unseen {
                    said: view.facts.load,
                    jobs: 0,
                };
            }
            unseen.jobs = unseen.jobs.saturating_add(1);
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Opens a stream for the request.
    async fn open(self: &Arc<Self>, request: Request) -> Result<Exchange, BackendError> {
        Exchange::open(self.enter(), request).await
    }

    /// It did or said what it should not.
    fn failed(&self, what: impl std::fmt::Display) -> BackendError {
        let reason = format!("{} {what}", self.name);
        tracing::warn!(peer = %self.node.short(), "{reason}");
        BackendError::Upstream { reason }
    }
}

/// A request under way.
struct InFlight(Arc<Peer>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The facts of a node of which nothing is known.
fn unknown(node: NodeId) -> PeerFacts {
    PeerFacts {
        node,
        tier: Tier::T3,
        region: None,
        price: None,
        grid: None,
        watts: None,
        rtt: Duration::ZERO,
        relayed: false,
        load: Load::default(),
        ours: 0,
    }
}
