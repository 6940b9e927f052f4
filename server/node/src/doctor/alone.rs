//! The way to the members while no node runs: one is opened for a few seconds, as the node would do it, and closed
//! again. It serves nothing.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Clock, Snapshot, SystemClock};
use kwaainet_federation::{
    Federation, FederationParts, PeerState, PeerTransport, PeerView, STREAMS_MAX, Tiers,
};
use kwaainet_iroh::{Finding, IrohTransport};
use kwaainet_store::Store;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::of;
use crate::federation::{Setup, StoreBook};

/// For all members to be called, and the relays.
const WITHIN: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(50);
/// For the members to be read.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// Opens the federation and says how it went.
pub(crate) async fn look(setup: Setup, store: Store) -> Vec<Finding> {
    let tiers = Tiers::default();
    let members = tiers.clone();
    let gate = Arc::new(move |node| members.of(node).is_some());
    let transport = match IrohTransport::bind(&setup.key, setup.transport(), gate).await {
        Ok(transport) => Arc::new(transport),
        Err(error) => {
            return vec![Finding::bad("listen", format!("{error}.")).advise(
                "Another program may hold the port, or the address is not this machine's: change federation.port \
                 or federation.bind.",
            )];
        }
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (_own, nothing) = watch::channel(Arc::new(Snapshot::default()));
    let (inference, _refused) = mpsc::channel(1);
    let drain = CancellationToken::new();
    // Nobody gives it work.
    drain.cancel();
    let federation = Federation::start(FederationParts {
        transport: Arc::clone(&transport) as _,
        book: Arc::new(StoreBook::new(setup.key.id(), store, Arc::clone(&clock))),
        about: setup.about(),
        own: nothing,
        drain,
        inference,
        tiers,
        key: setup.key.clone(),
        introductions: setup.config.introductions,
        streams_max: STREAMS_MAX,
        clock,
    });
    let mut peers = federation.peers();
    // Without a member there is nothing that would change.
    let _read = tokio::time::timeout(READ_WITHIN, peers.changed()).await;
    let until = Instant::now() + WITHIN;
    while Instant::now() < until && !is_settled(&transport, &peers.borrow()) {
        tokio::time::sleep(LOOK).await;
    }
    let views = Arc::clone(&peers.borrow());
    let findings = of(&transport, &views);
    federation.stop().await;
    transport.close().await;
    findings
}

/// Whether of every member it is known if it answers, and of every relay.
fn is_settled(transport: &IrohTransport, views: &[PeerView]) -> bool {
    let is_called = |view: &PeerView| view.state == PeerState::Connecting;
    transport.relays_are_known() && !views.iter().any(is_called)
}
