//! Notices that a peer is gone before its streams do.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::NodeId;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::view::view_of;
use crate::{PeerState, PeerView};

/// Views change with every report of every peer; each stream looks at most so often.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Until a stream is there. The transport has a bound of its own.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
const DISTANT_WITHIN: Duration = Duration::from_millis(1_500);

/// Looks at what the control plane says of one peer.
pub(super) struct Watch {
    views: watch::Receiver<Arc<Vec<PeerView>>>,
    node: NodeId,
    incarnation: u64,
    state: PeerState,
}

impl Watch {
    /// Begins, unless the peer takes no work.
    ///
    /// # Errors
    /// Why it takes none.
    pub(super) fn begin(
        mut views: watch::Receiver<Arc<Vec<PeerView>>>,
        node: NodeId,
    ) -> Result<Self, String> {
        let seen = views.borrow_and_update();
        let view = view_of(&seen, node);
        let view = view.ok_or("is no member")?;
        if !view.state.is_askable() {
            let why = view.reason.as_deref().unwrap_or("of its state");
            return Err(format!("takes no work because {why}"));
        }
        let (incarnation, state) = (view.incarnation, view.state);
        drop(seen);
        Ok(Self {
            views,
            node,
            incarnation,
            state,
        })
    }

    /// How long to wait for a stream: of one that is known by hearsay nobody knows that it is there at all.
    pub(super) fn patience(&self) -> Duration {
        match self.state {
            PeerState::Distant => DISTANT_WITHIN,
            _ => DIAL_WITHIN,
        }
    }

    /// Ends when the peer can do nothing any more of what it was given, and says why. May be dropped and
    /// called again.
    pub(super) async fn gone(&mut self) -> String {
        loop {
            if self.views.changed().await.is_err() {
                // The control plane is closed; the streams end with the transport.
                return std::future::pending().await;
            }
            if let Some(why) = self.lost() {
                return why;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn lost(&mut self) -> Option<String> {
        let views = self.views.borrow_and_update();
        let Some(view) = view_of(&views, self.node) else {
            return Some("is no member any more".to_owned());
        };
        if view.incarnation != self.incarnation {
            return Some("was started anew".to_owned());
        }
        match view.state {
            // It may still come; and who drains finishes what he has.
            PeerState::Alive | PeerState::Distant | PeerState::Suspect | PeerState::Draining => {
                None
            }
            PeerState::Wedged => Some("makes no progress".to_owned()),
            PeerState::Connecting | PeerState::Down => Some("is gone".to_owned()),
        }
    }
}
