//! The commands about identity, invitations and receipts: the real program, each time a process of its own, on the
//! databases of two nodes that do not run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use kwaainet::federation::{StoreBook, open_ledger, publish_address, write_entries};
use kwaainet_core::{Clock, ModelDigest, NodeId, SystemClock, Tier, Usage};
use kwaainet_federation::{
    Accounts, Introduction, InvitationId, Member, MemberBook, PeerAddress, RedeemError, Service,
    Ticket, Turn,
};
use kwaainet_identity::{KeyFile, NodeKey, did_key, node_of_name, peer_id};
use kwaainet_store::{IntroductionRecord, Store};

const PASSPHRASE: (&str, &str) = ("KWAAINET_KEY_PASSPHRASE", "correct horse battery");

/// A node's data directory, and the program on it.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, words: &str) -> Output {
        self.run_with(words, &[], "")
    }

    /// Runs `kwaainet`; no word has a space in it.
    fn run_with(&self, words: &str, variables: &[(&str, &str)], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kwaainet"))
            .args(words.split(' '))
            .env_clear()
            .env("HOME", self.dir.path())
            .env("KWAAINET_DATA_DIR", self.dir.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("it was piped");
        stdin.write_all(input.as_bytes()).expect("it is read");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    fn says(&self, words: &str) -> String {
        good(&self.run(words))
    }

    fn fails(&self, words: &str) -> String {
        bad(&self.run(words))
    }

    async fn store(&self) -> Store {
        let store = Store::open(&self.path("node.db")).await;
        store.expect("it opens")
    }

    /// As if it had run: it has a key, and knows where it is.
    async fn was_started(&self) -> NodeKey {
        self.knows_its_address().await;
        let key = KeyFile::new(self.path("node.key")).load_or_create(None);
        key.expect("it has one")
    }

    async fn knows_its_address(&self) {
        let published = publish_address(&self.store().await, &address()).await;
        published.expect("it is kept");
    }

    async fn members(&self) -> Vec<Member> {
        let book = self.book(NodeId([0; 32])).await;
        book.members().await.expect("it answers")
    }

    async fn book(&self, node: NodeId) -> StoreBook {
        let clock = Arc::new(SystemClock::default());
        StoreBook::new(node, self.store().await, clock)
    }
}

fn address() -> PeerAddress {
    PeerAddress {
        direct: vec!["10.0.0.1:4433".parse().expect("an address")],
        relay: None,
    }
}

fn good(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout.clone()).expect("it is text")
}

/// What it says on standard error, and that it ends with 1.
fn bad(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}

fn value<'a>(text: &'a str, label: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.expect("it is said").trim()
}

#[test]
fn a_node_has_one_key_with_three_names() {
    let machine = Machine::new();
    let shown = machine.says("identity show");
    assert_eq!(machine.says("identity show"), shown);
    let node: NodeId = value(&shown, "node").parse().expect("it is an id");
    assert_eq!(value(&shown, "did"), did_key(node));
    assert_eq!(value(&shown, "libp2p"), peer_id(node));
    assert!(shown.contains("not sealed"), "{shown}");
    let file = KeyFile::new(machine.path("node.key"));
    assert_eq!(file.load(None).expect("it opens").id(), node);
}

#[test]
fn a_key_moves_to_another_machine_sealed() {
    let (here, there) = (Machine::new(), Machine::new());
    let shown = here.says("identity show");
    let backup = here.path("backup.key");
    let export = format!("identity export {}", backup.display());
    let error = here.fails(&export);
    assert!(error.contains("KWAAINET_KEY_PASSPHRASE"), "{error}");
    let short = [("KWAAINET_KEY_PASSPHRASE", "short")];
    bad(&here.run_with(&export, &short, ""));
    assert!(!backup.exists());
    good(&here.run_with(&export, &[PASSPHRASE], ""));
    let error = bad(&here.run_with(&export, &[PASSPHRASE], ""));
    assert!(error.contains("not overwritten"), "{error}");
    let seed = KeyFile::new(here.path("node.key")).load(None);
    let seed = data_encoding::HEXLOWER.encode(&*seed.expect("it opens").seed());
    let text = std::fs::read_to_string(&backup).expect("it is text");
    assert!(!text.contains(&seed));

    let import = format!("identity import {}", backup.display());
    let wrong = [("KWAAINET_KEY_PASSPHRASE", "another passphrase")];
    let error = bad(&there.run_with(&import, &wrong, ""));
    assert!(error.contains("does not open"), "{error}");
    let passphrase = there.path("passphrase");
    std::fs::write(&passphrase, PASSPHRASE.1).expect("written");
    let by_file = format!("{import} --passphrase-file {}", passphrase.display());
    let imported = there.says(&by_file);
    assert_eq!(value(&imported, "node"), value(&shown, "node"));
    assert!(imported.contains("sealed with a passphrase"), "{imported}");
    let error = bad(&there.run_with(&import, &[PASSPHRASE], ""));
    assert!(error.contains("has a key already"), "{error}");
    // Its names are shown without the passphrase.
    assert_eq!(there.says("identity show"), imported);

    // Sealed or not before, unsealed from now on.
    let own = here.path("node.key");
    for (file, variables) in [(&backup, &[PASSPHRASE][..]), (&own, &[])] {
        let third = Machine::new();
        let open = format!("identity import --unsealed {}", file.display());
        let imported = good(&third.run_with(&open, variables, ""));
        assert_eq!(value(&imported, "node"), value(&shown, "node"));
        assert!(imported.contains("not sealed"), "{imported}");
    }
    let missing = here.path("missing");
    bad(&Machine::new().run(&format!("identity import {}", missing.display())));
}

#[tokio::test]
async fn a_ticket_brings_two_nodes_together() {
    let (host, guest) = (Machine::new(), Machine::new());
    let error = host.fails("invite");
    assert!(error.contains("federation"), "{error}");
    let host_key = host.was_started().await;
    let guest_node = guest.was_started().await.id();
    let text = host.says("invite --tier t0 --expires 1h");
    let ticket = Ticket::parse(&text).expect("it is one");
    assert_eq!(ticket.issuer, host_key.id());
    assert_eq!(ticket.address, address());

    // The other node is my own only if I say so.
    let joined = guest.says(&format!("join {}", text.trim()));
    assert_eq!(joined.trim(), host_key.id().to_string());
    assert_eq!(guest.members().await[0].tier, Tier::T1);
    good(&guest.run_with("join --tier t0 -", &[], &text));
    let expected = Member {
        node: host_key.id(),
        tier: Tier::T0,
        address: address(),
        invitation: Some(ticket.as_bytes().to_vec()),
        introduced_by: None,
    };
    assert_eq!(guest.members().await, [expected]);

    let book = host.book(host_key.id()).await;
    let shown = ticket.as_bytes().to_vec();
    let let_in = book.redeem(shown.clone(), guest_node).await;
    assert_eq!(let_in.expect("it is good").tier, Tier::T0);
    let other = book.redeem(shown.clone(), NodeId([9; 32])).await;
    assert_eq!(other, Err(RedeemError::Used));
    let list = host.says("invite list");
    assert!(list.contains(&ticket.id.to_string()), "{list}");
    assert!(
        list.contains("used up") && list.contains("1 of 1"),
        "{list}"
    );
    assert!(list.contains(&guest_node.short()), "{list}");
    assert!(!list.contains("kwaai1"), "{list}");

    // By the beginning of the id that the list shows.
    host.says(&format!("peers remove {}", guest_node.short()));
    assert!(host.members().await.is_empty());
    assert_eq!(
        book.redeem(shown, guest_node).await,
        Err(RedeemError::Revoked)
    );
    let error = host.fails(&format!("peers remove {}", did_key(guest_node)));
    assert!(error.contains("no member"), "{error}");
}

#[tokio::test]
async fn the_owner_has_the_last_word_on_whom_others_introduce() {
    let here = Machine::new();
    let [node, other, unknown] = [7, 8, 9].map(|n| NodeId([n; 32]));
    let store = here.store().await;
    let by = NodeKey::generate();
    let records = [node, other].map(|node| {
        let word = Introduction::issue(&by, node, 1, 1 << 60, Some(Tier::T1));
        IntroductionRecord {
            by: by.id(),
            node,
            until_ms: 1 << 60,
            word: word.as_bytes().to_vec(),
            address: address().to_bytes(),
        }
    });
    let kept = store.keep_introductions(&records, 0).await;
    kept.expect("they are kept");
    here.says(&format!("peers trust {} --tier t0", node.short()));
    let members = here.members().await;
    let trusted: Vec<_> = members.iter().map(|m| (m.node, m.tier)).collect();
    assert_eq!(trusted, [(node, Tier::T0)]);
    assert_eq!(members[0].address, address());
    for node in [node, other] {
        here.says(&format!("peers remove {node}"));
        here.fails(&format!("peers remove {node}"));
    }
    assert!(here.members().await.is_empty());
    let removed = store.removed_members().await.expect("it answers");
    assert_eq!(removed.len(), 2);
    store.close().await;
    let error = here.fails(&format!("peers trust {unknown} --tier t1"));
    assert!(error.contains("not known"), "{error}");
    here.fails(&format!("peers trust {node} --tier t3"));
}

#[tokio::test]
async fn an_invitation_is_taken_back_by_id_or_by_ticket() {
    let host = Machine::new();
    let key = host.was_started().await;
    let book = host.book(key.id()).await;
    for by_ticket in [true, false] {
        let text = host.says("invite --uses 2");
        let ticket = Ticket::parse(&text).expect("it is one");
        let (first, second) = (NodeId([1; 32]), NodeId([2; 32]));
        let show = |node| book.redeem(ticket.as_bytes().to_vec(), node);
        show(first).await.expect("it is good");
        let name = match by_ticket {
            true => text.trim().to_owned(),
            false => ticket.id.to_string(),
        };
        host.says(&format!("invite revoke {name}"));
        assert_eq!(show(second).await, Err(RedeemError::Revoked));
        show(first).await.expect("whoever used it stays");
    }
    let list = host.says("invite list");
    assert_eq!(list.matches("revoked").count(), 2, "{list}");
    host.fails("invite revoke 00000000000000000000000000000000");
    for bad in ["--tier t3", "--expires 999d", "--uses 0", "--uses 9999"] {
        let refused = host.run(&format!("invite {bad}"));
        assert_eq!(refused.status.code(), Some(2), "{bad}");
    }
}

#[tokio::test]
async fn a_ticket_that_is_no_good_is_refused_and_never_repeated() {
    let (host, guest) = (Machine::new(), Machine::new());
    let key = host.was_started().await;
    let text = host.says("invite");
    let text = text.trim();
    let error = host.fails(&format!("join {text}"));
    assert!(error.contains("this very node"), "{error}");
    let damaged = text.replacen(['a', 'b', 'c'], "d", 5);
    for words in ["join", "invite revoke"] {
        let error = guest.fails(&format!("{words} {damaged}"));
        assert!(!error.contains(&damaged[20..50]), "{error}");
    }
    let old = Ticket::issue(&key, InvitationId::random(), Tier::T1, 1, &address());
    let error = guest.fails(&format!("join {}", old.text()));
    assert!(error.contains("expired"), "{error}");
    assert!(guest.members().await.is_empty());
}

#[tokio::test]
async fn a_sealed_key_makes_no_ticket_without_its_passphrase() {
    let host = Machine::new();
    good(&host.run_with("identity show", &[PASSPHRASE], ""));
    host.knows_its_address().await;
    let error = host.fails("invite");
    assert!(error.contains("needs its passphrase"), "{error}");
    good(&host.run_with("invite", &[PASSPHRASE], ""));
}

fn service(request: u8) -> Service {
    Service {
        request: [request; 16],
        request_hash: [2; 32],
        model: Some(ModelDigest([3; 32])),
        usage: Usage {
            prompt_tokens: 12,
            cached_tokens: 4,
            completion_tokens: request.into(),
        },
        began_ms: 1_700_000_000_000,
        duration_ms: 250,
        energy_mj: 0,
        energy_method: "none",
        transcript_hash: [4; 32],
        complete: request.is_multiple_of(2),
    }
}

/// Two nodes that worked for each other: both sides' books are in their databases.
async fn two_with_books(requests: u8) -> (Machine, Machine) {
    let (server, asker) = (Machine::new(), Machine::new());
    let (server_key, asker_key) = (server.was_started().await, asker.was_started().await);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (server_store, asker_store) = (server.store().await, asker.store().await);
    let serving = open_ledger(server_key.clone(), &server_store, clock.as_ref()).await;
    let asking = open_ledger(asker_key.clone(), &asker_store, clock.as_ref()).await;
    let (serving, served) = serving.expect("it opens");
    let (asking, asked) = asking.expect("it opens");
    for request in 0..requests {
        let stream = serving.begin(asker_key.id());
        let turn = Turn {
            stream,
            revision: 1,
        };
        let receipt = serving.served(asker_key.id(), turn, service(request));
        let counter = asking.received(server_key.id(), &receipt, &service(request));
        let counter = counter.expect("it is right");
        let taken = serving.countersigned(asker_key.id(), &receipt, &counter);
        taken.expect("it is right");
    }
    drop((serving, asking));
    write_entries(server_store.clone(), Arc::clone(&clock), served).await;
    write_entries(asker_store.clone(), clock, asked).await;
    server_store.close().await;
    asker_store.close().await;
    (server, asker)
}

fn verify(machine: &Machine, file: &Path) -> Output {
    machine.run(&format!("receipt verify {}", file.display()))
}

#[tokio::test]
async fn receipts_of_both_sides_agree_and_can_be_checked_by_anybody() {
    let (server, asker) = two_with_books(5).await;
    let text = server.says("receipt export");
    assert_eq!(asker.says("receipt export"), text);
    assert_eq!(text.lines().count(), 6);
    let stranger = Machine::new();
    let file = stranger.path("receipts");
    std::fs::write(&file, &text).expect("written");
    let said = good(&verify(&stranger, &file));
    assert_eq!(said.matches("countersigned=true").count(), 5, "{said}");
    assert!(said.contains("good: 5 receipts, 5 of them countersigned, 0 of them checkpoints"));
    assert!(said.contains("completion_tokens=4") && said.contains("began_ms=1700000000000"));
    // It needs no node, and makes none.
    assert!(!stranger.path("node.db").exists() && !stranger.path("node.key").exists());

    let with = value(&server.says("identity show"), "node").to_owned();
    let of_peer = asker.says(&format!("receipt export --peer {with}"));
    assert_eq!(of_peer, text);
    let nobody = peer_id(NodeId([7; 32]));
    let of_nobody = asker.says(&format!("receipt export --peer {nobody}"));
    assert_eq!(of_nobody.lines().count(), 1);
    assert!(node_of_name(&with).is_ok());
}

#[tokio::test]
async fn two_books_are_compared() {
    let (server, asker) = two_with_books(3).await;
    let (ours, theirs) = (server.path("ours"), server.path("theirs"));
    let text = server.says("receipt export");
    std::fs::write(&ours, &text).expect("written");
    std::fs::write(&theirs, asker.says("receipt export")).expect("written");
    let compare = || {
        let files = format!("{} {}", ours.display(), theirs.display());
        server.run(&format!("receipt compare {files}"))
    };
    assert!(good(&compare()).contains("the two agree: 3 receipts"));

    let lines: Vec<_> = text.lines().collect();
    let unsigned = lines[2].split_once(' ').expect("countersigned").0;
    let other = format!("{}\n{}\n{unsigned}\n", lines[0], lines[1]);
    std::fs::write(&theirs, other).expect("written");
    let output = compare();
    let error = bad(&output);
    assert!(error.contains("2 receipts between the two differ, 1 are the same"));
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.contains("ours: state=final") && said.contains("countersigned only in"));
    assert_eq!(said.matches("only in").count(), 2, "{said}");

    let listed = asker.says("receipt list");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let is_right = |line: &str| {
        line.starts_with("state=final") && line.ends_with("countersigned=true returned=false")
    };
    assert!(listed.lines().all(is_right), "{listed}");
}

#[tokio::test]
async fn one_changed_byte_of_a_file_of_receipts_is_refused() {
    let (server, _asker) = two_with_books(2).await;
    let text = server.says("receipt export").into_bytes();
    let file = server.path("receipts");
    // Some from everywhere; that it is so for every byte, a test of the crate shows without processes.
    for at in (0..text.len()).step_by(97).chain([text.len() - 1]) {
        let mut changed = text.clone();
        changed[at] ^= 1;
        std::fs::write(&file, &changed).expect("written");
        let error = bad(&verify(&server, &file));
        assert!(error.contains("line"), "byte {at}: {error}");
    }
    std::fs::write(&file, "").expect("written");
    bad(&verify(&server, &file));
    bad(&verify(&server, &server.path("missing")));
    std::fs::write(&file, [0xFF; 100]).expect("written");
    bad(&verify(&server, &file));
}
