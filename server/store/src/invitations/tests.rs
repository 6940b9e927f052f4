use super::*;

const ID: [u8; 16] = [7; 16];

fn node(number: u8) -> NodeId {
    NodeId([number; 32])
}

fn invitation(id: [u8; 16], uses: u32) -> InvitationRecord {
    InvitationRecord {
        id,
        tier: Tier::T1,
        uses,
        created_at_ms: 10,
        expires_at_ms: 100,
        revoked_at_ms: None,
        redeemed: Vec::new(),
    }
}

async fn store_with(invitations: &[InvitationRecord]) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&dir.path().join("node.db"))
        .await
        .expect("it opens");
    for invitation in invitations {
        let kept = store.insert_invitation(invitation).await;
        kept.expect("it is kept");
    }
    (dir, store)
}

async fn show(store: &Store, id: [u8; 16], number: u8, now_ms: i64) -> Redeemed {
    let redeemed = store.redeem(id, node(number), now_ms).await;
    redeemed.expect("it answers")
}

fn is_member(redeemed: &Redeemed) -> bool {
    matches!(redeemed, Redeemed::Member(_))
}

#[tokio::test]
async fn an_invitation_is_bound_to_the_first_nodes_that_show_it() {
    let (_dir, store) = store_with(&[invitation(ID, 2)]).await;
    let first = show(&store, ID, 1, 20).await;
    let member = MemberRecord {
        node: node(1),
        tier: Tier::T1,
        address: Vec::new(),
        ticket: None,
        joined_at_ms: 20,
        met_at_ms: None,
    };
    assert_eq!(first, Redeemed::Member(member));
    assert_eq!(show(&store, ID, 1, 21).await, first);
    assert!(is_member(&show(&store, ID, 2, 22).await));
    assert_eq!(show(&store, ID, 3, 23).await, Redeemed::UsedUp);
    // To those two it is good for ever.
    assert_eq!(show(&store, ID, 1, 1_000).await, first);
    let known = store.invitations().await.expect("it answers");
    assert_eq!(known[0].redeemed, [node(1), node(2)]);
    assert_eq!(show(&store, [8; 16], 1, 24).await, Redeemed::Unknown);
}

#[tokio::test]
async fn time_and_revocation_end_it_for_newcomers() {
    let (_dir, store) = store_with(&[invitation(ID, 5)]).await;
    assert!(is_member(&show(&store, ID, 1, 99).await));
    assert_eq!(show(&store, ID, 2, 100).await, Redeemed::Expired);
    assert!(store.revoke_invitation(ID, 50).await.expect("it answers"));
    assert!(store.revoke_invitation(ID, 60).await.expect("it answers"));
    assert_eq!(show(&store, ID, 3, 51).await, Redeemed::Revoked);
    assert!(is_member(&show(&store, ID, 1, 52).await));
    let known = store.invitations().await.expect("it answers");
    assert_eq!(known[0].revoked_at_ms, Some(50));
    let unknown = store.revoke_invitation([8; 16], 1).await;
    assert!(!unknown.expect("it answers"));
}

#[tokio::test]
async fn a_removed_node_needs_a_new_invitation() {
    let mut later = invitation([8; 16], 1);
    later.created_at_ms = 31;
    let old = invitation([9; 16], 1);
    let (_dir, store) = store_with(&[invitation(ID, 5), old, later]).await;
    assert!(is_member(&show(&store, ID, 1, 20).await));
    assert!(store.remove_member(node(1), 30).await.expect("it answers"));
    assert_eq!(show(&store, ID, 1, 32).await, Redeemed::Revoked);
    assert_eq!(show(&store, [9; 16], 1, 32).await, Redeemed::Revoked);
    assert!(store.members().await.expect("it answers").is_empty());
    assert!(is_member(&show(&store, [8; 16], 1, 33).await));
    assert!(is_member(&show(&store, [8; 16], 1, 34).await));
    assert_eq!(store.members().await.expect("it answers").len(), 1);
}

#[tokio::test]
async fn a_second_invitation_makes_nobody_less() {
    let mut own = invitation([1; 16], 1);
    own.tier = Tier::T0;
    let mut swarm = invitation([2; 16], 1);
    swarm.tier = Tier::T2;
    let (_dir, store) = store_with(&[invitation(ID, 1), own, swarm]).await;
    for (id, tier) in [
        (ID, Tier::T1),
        ([2; 16], Tier::T1),
        ([1; 16], Tier::T0),
        (ID, Tier::T0),
    ] {
        let Redeemed::Member(member) = show(&store, id, 1, 20).await else {
            panic!("it is good");
        };
        assert_eq!(member.tier, tier, "{id:?}");
    }
}

/// Two processes, each with a database connection of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_only_as_many_come_in_as_there_are_uses() {
    let (dir, first) = store_with(&[invitation(ID, 5)]).await;
    let second = Store::open(&dir.path().join("node.db"))
        .await
        .expect("it opens twice");
    let attempts = (0..40_u8).map(|number| {
        let store = [&first, &second][usize::from(number % 2)].clone();
        async move { show(&store, ID, number, 20).await }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for attempt in attempts {
        tasks.spawn(attempt);
    }
    let results = tasks.join_all().await;
    let let_in = results.iter().filter(|result| is_member(result)).count();
    let too_late = Redeemed::UsedUp;
    let refused = results.iter().filter(|result| **result == too_late).count();
    assert_eq!((let_in, refused), (5, 35));
    assert_eq!(second.members().await.expect("it answers").len(), 5);
}
