//! Streams that this node opens: on one connection for each peer and plane, which is dialed once for all who
//! wait for it and kept until it breaks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use iroh::endpoint::{
    ConnectError, ConnectOptions, ConnectWithOptsError, Connection, ConnectionError,
};
use iroh::{EndpointAddr, EndpointId, RelayUrl, TransportAddr};
use kwaainet_core::NodeId;
use kwaainet_federation::{DialError, Link, PeerAddress, Plane};

use crate::connections::{Call, Dialed};
use crate::quic::{self, Goodbye};
use crate::transport::Shared;

/// Until a peer answers a call.
pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(4);
/// Until it lets a stream be opened, when it has as many as it allows.
const OPEN_WITHIN: Duration = Duration::from_secs(2);

impl Shared {
    /// Opens a stream; on a new connection if the one at hand turns out to be broken.
    pub(crate) async fn dial(
        self: &Arc<Self>,
        node: NodeId,
        plane: Plane,
    ) -> Result<Link, DialError> {
        let (connection, fresh) = self.connection(node, plane).await?;
        match open(node, &connection).await {
            Err(DialError::Unreachable { .. }) if !fresh => {
                self.connections.forget(node, &connection);
                let (connection, _) = self.connection(node, plane).await?;
                open(node, &connection).await
            }
            opened => opened,
        }
    }

    /// The connection to a peer, and whether it is a new one.
    async fn connection(
        self: &Arc<Self>,
        node: NodeId,
        plane: Plane,
    ) -> Result<(Connection, bool), DialError> {
        if self.stop.is_cancelled() {
            return Err(DialError::Closed);
        }
        let start = |number, address| self.start_call(node, plane, number, address);
        match self.connections.dialed(node, plane, start) {
            Dialed::Open(connection) => Ok((connection, false)),
            Dialed::Calling(call) => Ok((call.await?, true)),
            Dialed::Full => Err(DialError::Unreachable {
                node,
                reason: "this node knows too many others".to_owned(),
            }),
        }
    }

    /// Calls in a task of its own, so that it goes on when one who waits goes away.
    fn start_call(
        self: &Arc<Self>,
        node: NodeId,
        plane: Plane,
        number: u64,
        address: PeerAddress,
    ) -> Call {
        let shared = Arc::clone(self);
        let task = self.tasks.spawn(async move {
            let calling = tokio::time::timeout(CALL_WITHIN, shared.call(node, plane, address));
            let result = tokio::select! {
                result = calling => result.unwrap_or(Err(DialError::Timeout(node))),
                () = shared.stop.cancelled() => Err(DialError::Closed),
            };
            let wanted = shared.connections.called(node, plane, number, &result);
            match &result {
                Ok(connection) if wanted => shared.keep(node, connection.clone()),
                Ok(connection) => Goodbye::Unwanted.to(connection),
                Err(error) => tracing::debug!(peer = %node.short(), %error, "no connection"),
            }
            result
        });
        let ended = task.map(|ended| ended.unwrap_or(Err(DialError::Closed)));
        ended.boxed().shared()
    }

    async fn call(
        &self,
        node: NodeId,
        plane: Plane,
        address: PeerAddress,
    ) -> Result<Connection, DialError> {
        let unreachable = |reason| DialError::Unreachable { node, reason };
        let id = EndpointId::from_bytes(&node.0)
            .map_err(|_| unreachable("its id is no public key".to_owned()))?;
        let options = ConnectOptions::new().with_transport_config(quic::dialed());
        let address = EndpointAddr::from_parts(id, self.ways(address));
        let connecting = self
            .endpoint
            .connect_with_opts(address, plane.alpn(), options)
            .await
            .map_err(|error| match error {
                ConnectWithOptsError::NoAddress { .. } => DialError::NoAddress(node),
                ConnectWithOptsError::EndpointClosed { .. } => DialError::Closed,
                error => unreachable(reason(error.into())),
            })?;
        let connected = connecting.await;
        connected.map_err(|error| unreachable(reason(error.into())))
    }

    /// The addresses in iroh's words. Of relays only those that the owner configured: nobody else may make
    /// this node call a URL.
    fn ways(&self, address: PeerAddress) -> impl Iterator<Item = TransportAddr> + use<> {
        let relay = address.relay.and_then(|url| url.parse::<RelayUrl>().ok());
        let relay = relay.filter(|url| self.relays.contains(url));
        let direct = address.direct.into_iter().map(TransportAddr::Ip);
        direct.chain(relay.map(TransportAddr::Relay))
    }

    /// Watches over a connection until it is closed.
    fn keep(self: &Arc<Self>, node: NodeId, connection: Connection) {
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let why = connection.closed().await;
            tracing::debug!(peer = %node.short(), %why, "a connection to a peer is closed");
            shared.connections.forget(node, &connection);
        });
    }
}

async fn open(node: NodeId, connection: &Connection) -> Result<Link, DialError> {
    match tokio::time::timeout(OPEN_WITHIN, connection.open_bi()).await {
        Ok(Ok((writer, reader))) => Ok(Link {
            reader: Box::new(reader),
            writer: Box::new(writer),
        }),
        Ok(Err(error)) => Err(DialError::Unreachable {
            node,
            reason: said(&error),
        }),
        Err(_) => Err(DialError::Timeout(node)),
    }
}

fn reason(error: ConnectError) -> String {
    match error {
        ConnectError::Connection { source, .. } => said(&source),
        error => format!("{error:#}"),
    }
}

/// What the other side said when it closed, if it did.
fn said(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let words = String::from_utf8_lossy(&close.reason);
            let words: String = words
                .chars()
                .filter(|c| !c.is_control())
                .take(100)
                .collect();
            format!("it said: {words}")
        }
        error => error.to_string(),
    }
}
