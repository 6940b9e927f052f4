//! Looks a node over: what keeps it from starting, and what keeps it and the other members from meeting. Says it in
//! sentences with what to do. They hold addresses, so they are for the owner's eyes and never logged.

mod alone;
mod machine;
mod multicast;
mod peer;

use std::sync::Arc;

use kwaainet_federation::PeerView;
use kwaainet_iroh::{Finding, IrohTransport};
use tokio::sync::watch;

pub(crate) use alone::look as without_a_node;
pub(crate) use machine::Machine;

/// The other nodes, as this one sees them while it runs.
pub enum Network {
    /// It is to work alone.
    Off,
    /// It works alone although it should not.
    Failed,
    /// It is open.
    Open {
        /// The way to them.
        transport: Arc<IrohTransport>,
        /// What is known of them.
        peers: watch::Receiver<Arc<Vec<PeerView>>>,
    },
}

impl Network {
    /// How it is now.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        match self {
            Self::Off => vec![alone()],
            Self::Failed => vec![
                Finding::bad(
                    "federation",
                    "The federation did not open; the node works alone.",
                )
                .advise("The node's log says why, as it started."),
            ],
            Self::Open { transport, peers } => {
                let views = Arc::clone(&peers.borrow());
                of(transport, &views)
            }
        }
    }
}

fn alone() -> Finding {
    let says = "The federation is off: this node works alone (federation.enabled).";
    Finding::good("federation", says)
}

/// The transport, and the way to each member.
fn of(transport: &IrohTransport, views: &[PeerView]) -> Vec<Finding> {
    let mut findings = transport.doctor();
    if views.is_empty() {
        let none = Finding::note("peer", "This node has no other members yet.");
        findings.push(none.advise("'kwaainet invite' makes a ticket, 'kwaainet join' takes one."));
    }
    let ways = views.iter().map(|view| {
        let reach = transport.reach(view.node);
        peer::finding(view, &reach, crate::VERSION)
    });
    findings.extend(ways);
    findings
}
