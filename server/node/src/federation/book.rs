//! Members and invitations, as they stand in the database. Another process may change them at any time.

use std::sync::Arc;

use kwaainet_core::{BoxFuture, Clock, NodeId};
use kwaainet_federation::{
    Introduced, Introduction, Member, MemberBook, PeerAddress, RedeemError, Ticket,
};
use kwaainet_store::{IntroductionRecord, MemberRecord, Redeemed, Store, StoreError};

/// The book of one node.
pub struct StoreBook {
    node: NodeId,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl StoreBook {
    /// The book of this node, in its database.
    pub fn new(node: NodeId, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { node, store, clock }
    }
}

impl MemberBook for StoreBook {
    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, String>> {
        Box::pin(async {
            let members = self.store.members().await;
            let members = members.map_err(|error| error.to_string())?;
            Ok(members.into_iter().map(member).collect())
        })
    }

    fn removed(&self) -> BoxFuture<'_, Result<Vec<NodeId>, String>> {
        Box::pin(async {
            let removed = self.store.removed_members().await;
            removed.map_err(|error| error.to_string())
        })
    }

    fn introductions(&self) -> BoxFuture<'_, Result<Vec<Introduced>, String>> {
        Box::pin(async {
            let kept = self.store.introductions().await;
            let kept = kept.map_err(|error| error.to_string())?;
            Ok(kept.into_iter().filter_map(introduced).collect())
        })
    }

    fn introduced(&self, words: Vec<Introduced>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let records: Vec<_> = words.iter().map(introduction).collect();
            let now_ms = self.clock.unix_ms();
            let kept = self.store.keep_introductions(&records, now_ms).await;
            kept.map_err(|error| error.to_string())
        })
    }

    fn redeem(
        &self,
        invitation: Vec<u8>,
        node: NodeId,
    ) -> BoxFuture<'_, Result<Member, RedeemError>> {
        Box::pin(async move {
            let ticket = Ticket::open(&invitation).map_err(|_| RedeemError::Invalid)?;
            if ticket.issuer != self.node || node == self.node {
                return Err(RedeemError::Invalid);
            }
            let now_ms = self.clock.unix_ms();
            match self.store.redeem(ticket.id.0, node, now_ms).await {
                Ok(Redeemed::Member(record)) => Ok(member(record)),
                Ok(Redeemed::Unknown) => Err(RedeemError::Invalid),
                Ok(Redeemed::Expired) => Err(RedeemError::Expired),
                Ok(Redeemed::Revoked) => Err(RedeemError::Revoked),
                Ok(Redeemed::UsedUp) => Err(RedeemError::Used),
                Err(error) => {
                    tracing::error!(%error, "an invitation cannot be looked up");
                    Err(RedeemError::Unavailable)
                }
            }
        })
    }

    fn met(&self, node: NodeId, address: PeerAddress) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let bytes = (!address.is_empty()).then(|| address.to_bytes());
            let now_ms = self.clock.unix_ms();
            let kept = self.store.met_member(node, bytes.as_deref(), now_ms).await;
            kept.map_err(|error| error.to_string())
        })
    }
}

/// Keeps where this node may be reached, for the tickets that another process makes.
///
/// # Errors
/// When the database fails.
pub async fn publish_address(store: &Store, address: &PeerAddress) -> Result<(), StoreError> {
    store.set_node_address(&address.to_bytes()).await
}

/// Where this node may be reached, as it last said; none if it does not know.
///
/// # Errors
/// When the database fails.
pub async fn own_address(store: &Store) -> Result<Option<PeerAddress>, StoreError> {
    let bytes = store.node_address().await?;
    let address = bytes.and_then(|bytes| PeerAddress::from_bytes(&bytes).ok());
    Ok(address.filter(|address| !address.is_empty()))
}

fn member(record: MemberRecord) -> Member {
    Member {
        node: record.node,
        tier: record.tier,
        // One that came without an address has none in its row.
        address: PeerAddress::from_bytes(&record.address).unwrap_or_default(),
        invitation: record.ticket,
        introduced_by: None,
    }
}

fn introduction(introduced: &Introduced) -> IntroductionRecord {
    let word = &introduced.word;
    IntroductionRecord {
        by: word.by,
        node: word.node,
        until_ms: i64::try_from(word.until_ms).unwrap_or(i64::MAX),
        word: word.as_bytes().to_vec(),
        address: introduced.address.to_bytes(),
    }
}

/// One whose signature is not good any more says nothing.
fn introduced(record: IntroductionRecord) -> Option<Introduced> {
    Some(Introduced {
        word: Introduction::open(&record.word).ok()?,
        address: PeerAddress::from_bytes(&record.address).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{ManualClock, Tier};
    use kwaainet_federation::InvitationId;
    use kwaainet_identity::NodeKey;
    use kwaainet_store::InvitationRecord;
    use std::time::Duration;

    struct Node {
        key: NodeKey,
        store: Store,
        clock: Arc<ManualClock>,
        book: StoreBook,
        _dir: tempfile::TempDir,
    }

    impl Node {
        async fn new() -> Self {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let store = Store::open(&dir.path().join("node.db"))
                .await
                .expect("it opens");
            let (key, clock) = (NodeKey::generate(), Arc::new(ManualClock::default()));
            let book = StoreBook::new(key.id(), store.clone(), clock.clone());
            Self {
                key,
                store,
                clock,
                book,
                _dir: dir,
            }
        }

        /// A ticket for one node, for a second.
        async fn ticket(&self) -> Ticket {
            let id = InvitationId::random();
            let invitation = InvitationRecord {
                id: id.0,
                tier: Tier::T2,
                uses: 1,
                created_at_ms: self.clock.unix_ms(),
                expires_at_ms: self.clock.unix_ms() + 1_000,
                revoked_at_ms: None,
                redeemed: Vec::new(),
            };
            let kept = self.store.insert_invitation(&invitation).await;
            kept.expect("it is kept");
            let at = address("10.0.0.1:1");
            Ticket::issue(&self.key, id, Tier::T2, 1_000, &at)
        }

        async fn show(&self, ticket: &Ticket, node: NodeId) -> Result<Member, RedeemError> {
            self.book.redeem(ticket.as_bytes().to_vec(), node).await
        }
    }

    fn address(text: &str) -> PeerAddress {
        PeerAddress {
            direct: vec![text.parse().expect("an address")],
            relay: None,
        }
    }

    #[tokio::test]
    async fn whoever_shows_a_ticket_first_is_a_member_until_removed() {
        let node = Node::new().await;
        let ticket = node.ticket().await;
        let (guest, late) = (NodeId([1; 32]), NodeId([2; 32]));
        let let_in = node.show(&ticket, guest).await.expect("it is good");
        assert_eq!((let_in.node, let_in.tier), (guest, Tier::T2));
        assert_eq!(node.show(&ticket, late).await, Err(RedeemError::Used));
        let at = address("10.0.0.9:9");
        let met = node.book.met(guest, at.clone()).await;
        met.expect("it is kept");
        let members = node.book.members().await.expect("it answers");
        let expected = Member {
            address: at,
            ..let_in
        };
        assert_eq!(members, [expected]);
        assert!(node.show(&ticket, guest).await.is_ok());
        let removed = node.store.remove_member(guest, 1).await;
        assert!(removed.expect("it answers"));
        assert_eq!(node.show(&ticket, guest).await, Err(RedeemError::Revoked));
    }

    #[tokio::test]
    async fn what_is_not_this_nodes_or_over_lets_nobody_in() {
        let (node, other) = (Node::new().await, Node::new().await);
        let guest = NodeId([1; 32]);
        let foreign = other.ticket().await;
        assert_eq!(node.show(&foreign, guest).await, Err(RedeemError::Invalid));
        let at = address("10.0.0.1:1");
        let unknown = Ticket::issue(&node.key, InvitationId([0; 16]), Tier::T0, 9, &at);
        assert_eq!(node.show(&unknown, guest).await, Err(RedeemError::Invalid));
        let garbage = node.book.redeem(vec![7; 99], guest).await;
        assert_eq!(garbage, Err(RedeemError::Invalid));
        let ticket = node.ticket().await;
        let own = node.show(&ticket, node.key.id()).await;
        assert_eq!(own, Err(RedeemError::Invalid));
        node.clock.advance(Duration::from_secs(1));
        assert_eq!(node.show(&ticket, guest).await, Err(RedeemError::Expired));
        let members = node.book.members().await.expect("it answers");
        assert!(members.is_empty());
    }

    #[tokio::test]
    async fn words_are_kept_until_they_say_nothing() {
        let node = Node::new().await;
        let said = |until_ms| Introduced {
            word: Introduction::issue(&node.key, NodeId([1; 32]), 1, until_ms, Some(Tier::T1)),
            address: address("10.0.0.1:1"),
        };
        let words = vec![said(500)];
        node.book.introduced(words.clone()).await.expect("kept");
        let kept = node.book.introductions().await;
        assert_eq!(kept.expect("it answers"), words);
        node.clock.advance(Duration::from_secs(1));
        node.book.introduced(Vec::new()).await.expect("tidied");
        let kept = node.book.introductions().await;
        assert!(kept.expect("it answers").is_empty());
    }

    #[tokio::test]
    async fn an_address_is_known_once_it_was_published() {
        let node = Node::new().await;
        assert_eq!(own_address(&node.store).await.expect("it answers"), None);
        let empty = publish_address(&node.store, &PeerAddress::default()).await;
        empty.expect("it is kept");
        assert_eq!(own_address(&node.store).await.expect("it answers"), None);
        let at = address("10.0.0.1:1");
        let kept = publish_address(&node.store, &at).await;
        kept.expect("it is kept");
        let known = own_address(&node.store).await.expect("it answers");
        assert_eq!(known, Some(at));
    }
}
