//! What is read of frames, whatever is in them, and of signed statements. Bytes at random are never signed well: so
//! where the first byte is odd, the rest is what somebody signs who has a key and means no good.

use kwaainet_core::{NodeId, Tier, Usage};
use kwaainet_identity::{Domain, Envelope, Fields, NodeKey};
use prost::Message;
use tokio::io::AsyncReadExt;

use crate::{
    CounterSignature, FrameError, FrameReader, Introduction, InvitationId, PeerAddress, Place,
    RECEIPTS_HEADER, ReceiptFile, Seeded, Service, SignedReceipt, Standing, Ticket, receipt_line,
};

/// A bound that a few bytes can be over.
const FRAME_MAX: usize = 1 << 10;
/// Before a statement in an envelope, without the name of its domain: the magic, that name's length, the signer, the
/// statement's length.
const HEAD: usize = 6 + 1 + 32 + 4;
const SIGNATURE: usize = 64;

#[derive(Clone, PartialEq, Message)]
struct Anything {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

/// A stream, which arrives in two pieces; the first byte says where it breaks.
pub(super) fn read_frames(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else {
        return;
    };
    let (first, second) = stream.split_at(usize::from(*cut).min(stream.len()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without sockets takes nothing of the system");
    runtime.block_on(async {
        let mut reader = FrameReader::new(first.chain(second), FRAME_MAX);
        let mut read = 0;
        loop {
            match reader.next::<Anything>().await {
                Ok(Some(_)) => {
                    let length = reader.last().len();
                    assert!(length <= FRAME_MAX);
                    read += 4 + length;
                }
                Ok(None) => return assert_eq!(read, stream.len(), "nothing is passed over"),
                Err(FrameError::TooLong { length, max }) => {
                    return assert!(length > max && max == FRAME_MAX);
                }
                Err(_) => return,
            }
        }
    });
}

pub(super) fn sample_frames(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let mut stream = vec![random.draw() as u8];
    for _ in 0..random.below(5) {
        let bytes = vec![random.draw() as u8; random.below(40) as usize];
        let message = Anything { bytes }.encode_to_vec();
        stream.extend((message.len() as u32).to_be_bytes());
        stream.extend(message);
    }
    stream
}

/// An envelope of any kind.
pub(super) fn read_envelope(bytes: &[u8]) {
    for domain in [
        Domain::Invitation,
        Domain::Receipt,
        Domain::CounterSignature,
        Domain::NodeRecord,
    ] {
        if let Ok(opened) = Envelope::open(bytes, domain) {
            assert_eq!(opened.as_bytes(), bytes, "there is one way to write it");
            let mut fields = opened.fields();
            while fields.bytes().is_ok() {}
            let mut fields = opened.fields();
            while fields.text().is_ok() {}
        }
    }
}

pub(super) fn sample_envelope(seed: u64) -> Vec<u8> {
    let fields = Fields::new().u64(seed).text("a text").bytes(&[7; 9]);
    let signed = Envelope::sign(&key(), Domain::NodeRecord, fields);
    signed.as_bytes().to_vec()
}

/// A ticket, as bytes and as text.
pub(super) fn read_ticket(bytes: &[u8]) {
    if let Some(opened) = statement(bytes, Domain::Invitation, Ticket::open) {
        assert_eq!(Ticket::parse(&opened.text()).as_ref(), Ok(&opened));
        let address = opened.address.to_bytes();
        assert_eq!(PeerAddress::from_bytes(&address), Ok(opened.address));
    }
    let _text = std::str::from_utf8(bytes).map(Ticket::parse);
    let _address = PeerAddress::from_bytes(bytes);
}

pub(super) fn sample_ticket(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let address = PeerAddress {
        direct: vec![([10, 0, 0, 1], random.draw() as u16).into()],
        relay: (random.below(2) == 0).then(|| "https://relay.example/".to_owned()),
    };
    let id = InvitationId([seed as u8; 16]);
    let ticket = Ticket::issue(&key(), id, Tier::T1, random.draw(), &address);
    match random.below(3) {
        0 => ticket.text().into_bytes(),
        kind => told(kind, ticket.as_bytes(), Domain::Invitation),
    }
}

/// A receipt, and what is signed under it.
pub(super) fn read_receipt(bytes: &[u8]) {
    if let Some(receipt) = statement(bytes, Domain::Receipt, SignedReceipt::open) {
        let again = SignedReceipt::open(receipt.as_bytes()).expect("it was good before");
        assert_eq!(again.hash(), receipt.hash());
        let usage = receipt.service.usage;
        let counter = CounterSignature::sign(&key(), receipt.hash(), usage);
        let _its = CounterSignature::open(counter.as_bytes(), &receipt);
    }
    let _counter = statement(bytes, Domain::CounterSignature, |bytes| {
        CounterSignature::open(bytes, &receipt(1))
    });
}

pub(super) fn sample_receipt(seed: u64) -> Vec<u8> {
    let receipt = receipt(seed);
    let usage = receipt.service.usage;
    let counter = CounterSignature::sign(&key(), receipt.hash(), usage);
    match seed % 4 {
        0 => told(seed, counter.as_bytes(), Domain::CounterSignature),
        kind => told(kind, receipt.as_bytes(), Domain::Receipt),
    }
}

/// A file of receipts.
pub(super) fn read_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut file = ReceiptFile::new();
    for line in text.split_inclusive('\n') {
        if file.check(line).is_err() {
            return;
        }
    }
    let _whole = file.end();
}

pub(super) fn sample_file(seed: u64) -> Vec<u8> {
    let receipt = receipt(seed);
    let usage = receipt.service.usage;
    let counter = CounterSignature::sign(&key(), receipt.hash(), usage);
    let line = receipt_line(receipt.as_bytes(), Some(counter.as_bytes()));
    format!("{RECEIPTS_HEADER}\n{line}\n").into_bytes()
}

/// A word about a node.
pub(super) fn read_introduction(bytes: &[u8]) {
    if let Some(word) = statement(bytes, Domain::Introduction, Introduction::open) {
        assert_eq!(Introduction::open(word.as_bytes()), Ok(word));
    }
}

pub(super) fn sample_introduction(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let tier = (random.below(4) > 0).then_some(Tier::T2);
    let (number, until_ms) = (random.draw(), random.draw());
    let word = Introduction::issue(&key(), key_of_asker(), number, until_ms, tier);
    told(random.below(2), word.as_bytes(), Domain::Introduction)
}

/// Whose statements they are.
fn key() -> NodeKey {
    NodeKey::from_seed(&[7; 32])
}

fn receipt(seed: u64) -> SignedReceipt {
    let mut random = Seeded::new(seed);
    let place = Place {
        chain: 1,
        stream: 1,
        revision: random.below(3),
        standing: Standing::Final {
            number: 1,
            previous: [0; 32],
        },
    };
    let service = Service {
        request: [3; 16],
        request_hash: [4; 32],
        model: None,
        usage: Usage {
            prompt_tokens: random.below(99) as u32,
            cached_tokens: 0,
            completion_tokens: random.below(99) as u32,
        },
        began_ms: 1,
        duration_ms: random.draw() >> 1,
        energy_mj: 0,
        energy_method: "none",
        transcript_hash: [5; 32],
        complete: true,
    };
    SignedReceipt::sign(&key(), key_of_asker(), place, service)
}

/// The same node, so that it can sign on both sides.
fn key_of_asker() -> NodeId {
    key().id()
}

/// An envelope as it came, after an even byte, or only what it says, after an odd one.
fn told(kind: u64, signed: &[u8], domain: Domain) -> Vec<u8> {
    let payload = HEAD + domain.name().len()..signed.len() - SIGNATURE;
    match kind % 2 {
        0 => [&[0], signed].concat(),
        _ => [&[1], &signed[payload]].concat(),
    }
}

/// What that opens to.
fn statement<T, E>(
    bytes: &[u8],
    domain: Domain,
    open: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Option<T> {
    let (kind, rest) = bytes.split_first()?;
    if kind.is_multiple_of(2) {
        return open(rest).ok();
    }
    let fields = rest
        .iter()
        .fold(Fields::new(), |fields, byte| fields.array([*byte]));
    open(Envelope::sign(&key(), domain, fields).as_bytes()).ok()
}
