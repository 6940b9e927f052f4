//! What holds for every statement, tried with random ones; each failure names the seed that gives it again. And
//! what one process signs, another reads.

use std::process::{Command, Stdio};

use kwaainet_identity::{Domain, Envelope, EnvelopeError, Fields, NodeKey, Reader};

const ROUNDS: u64 = 200;
const DOMAINS: [Domain; 4] = [
    Domain::Invitation,
    Domain::Receipt,
    Domain::CounterSignature,
    Domain::NodeRecord,
];

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators").
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn bytes(&mut self, length_max: usize) -> Vec<u8> {
        let length = self.below(length_max + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn key(&mut self) -> NodeKey {
        NodeKey::from_seed(&std::array::from_fn(|_| self.next() as u8))
    }

    fn field(&mut self) -> Field {
        match self.below(4) {
            // Small and large ones alike.
            0 => Field::Number(self.next() >> self.below(64)),
            1 => Field::Bytes(self.bytes(40)),
            2 => Field::Array(std::array::from_fn(|_| self.next() as u8)),
            _ => {
                let letter = |random: &mut Self| char::from_u32(random.next() as u32 % 0x11_0000);
                let length = self.below(20);
                Field::Text((0..length).filter_map(|_| letter(self)).collect())
            }
        }
    }

    fn statement(&mut self) -> Vec<Field> {
        let length = self.below(8);
        (0..length).map(|_| self.field()).collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
    Array([u8; 16]),
    Text(String),
}

fn write(statement: &[Field]) -> Fields {
    statement
        .iter()
        .fold(Fields::new(), |fields, field| match field {
            Field::Number(value) => fields.u64(*value),
            Field::Bytes(value) => fields.bytes(value),
            Field::Array(value) => fields.array(*value),
            Field::Text(value) => fields.text(value),
        })
}

/// Reads a statement of the same kinds of fields.
fn read_like(like: &[Field], mut reader: Reader<'_>) -> Result<Vec<Field>, EnvelopeError> {
    let mut statement = Vec::new();
    for field in like {
        statement.push(match field {
            Field::Number(_) => Field::Number(reader.u64()?),
            Field::Bytes(_) => Field::Bytes(reader.bytes()?.to_vec()),
            Field::Array(_) => Field::Array(reader.array()?),
            Field::Text(_) => Field::Text(reader.text()?.to_owned()),
        });
    }
    reader.end()?;
    Ok(statement)
}

#[test]
fn every_statement_is_read_as_it_was_written() {
    for seed in 0..ROUNDS {
        let mut random = Random(seed);
        let statement = random.statement();
        let domain = DOMAINS[random.below(DOMAINS.len())];
        let key = random.key();
        let signed = Envelope::sign(&key, domain, write(&statement));
        let opened = Envelope::open(signed.as_bytes(), domain);
        let opened = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(opened.signer(), key.id(), "seed {seed}");
        let read = read_like(&statement, opened.fields());
        assert_eq!(read.as_ref(), Ok(&statement), "seed {seed}");
        let again = Envelope::sign(&key, domain, write(&statement));
        assert_eq!(again.as_bytes(), signed.as_bytes(), "seed {seed}");
        for other in DOMAINS.into_iter().filter(|other| *other != domain) {
            let error = Envelope::open(signed.as_bytes(), other);
            let told = matches!(error, Err(EnvelopeError::Domain { .. }));
            assert!(told, "seed {seed}: {error:?}");
        }
    }
}

/// No two statements of the same shape have the same bytes: what is read is written again as it was.
#[test]
fn there_is_one_way_to_write_a_statement() {
    for seed in 0..ROUNDS * 10 {
        let mut random = Random(seed);
        let shape = random.statement();
        let mut bytes = write(&shape).into_bytes();
        if !bytes.is_empty() && random.below(4) > 0 {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        bytes.truncate(bytes.len() - random.below(3).min(bytes.len()));
        if let Ok(read) = read_like(&shape, Reader::new(&bytes)) {
            assert_eq!(write(&read).into_bytes(), bytes, "seed {seed}");
        }
    }
}

#[test]
fn nothing_that_was_changed_is_taken() {
    for seed in 0..ROUNDS {
        let mut random = Random(seed);
        let domain = DOMAINS[random.below(DOMAINS.len())];
        let signed = Envelope::sign(&random.key(), domain, write(&random.statement()));
        let good = signed.as_bytes();
        for _ in 0..8 {
            let mut bad = good.to_vec();
            match random.below(4) {
                0 => {
                    let at = random.below(bad.len());
                    bad[at] ^= 1 << random.below(8);
                }
                1 => bad.truncate(random.below(bad.len())),
                2 => bad.insert(random.below(bad.len() + 1), random.next() as u8),
                _ => {
                    bad.remove(random.below(bad.len()));
                }
            }
            let taken = Envelope::open(&bad, domain).is_ok();
            assert!(!taken, "seed {seed}");
        }
    }
}

#[test]
fn foreign_bytes_are_refused_without_harm() {
    for seed in 0..ROUNDS * 10 {
        let mut random = Random(seed);
        let mut bytes = random.bytes(300);
        if random.below(2) == 0 {
            // What gets past the first look.
            let head = [&b"kwaai\x01\x07receipt"[..], &[7; 32]].concat();
            bytes.splice(0..0, head);
        }
        for domain in DOMAINS {
            let taken = Envelope::open(&bytes, domain).is_ok();
            assert!(!taken, "seed {seed}");
        }
    }
}

const OTHER_PROCESS: &str = "KWAAINET_TEST_ENVELOPE";
const EXCHANGES: u64 = 16;

/// The parent signs, a child (this test again, told so by a variable) reads and answers under its own key, and the
/// parent reads the answers. What both know is the seed.
#[test]
fn what_one_process_signs_another_reads() {
    let folder = variable(OTHER_PROCESS);
    if let Some(folder) = folder {
        return answer_in(&folder);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = NodeKey::generate();
    for seed in 0..EXCHANGES {
        let statement = write(&Random(seed).statement());
        let signed = Envelope::sign(&key, Domain::Receipt, statement);
        let path = folder.path().join(format!("{seed}.receipt"));
        std::fs::write(path, signed.as_bytes()).expect("it is written");
    }
    let this = std::env::current_exe().expect("a test has a path");
    let other = Command::new(this)
        .args(["--exact", "what_one_process_signs_another_reads"])
        .env(OTHER_PROCESS, folder.path())
        .stdout(Stdio::null())
        .status()
        .expect("it can be started");
    assert!(other.success(), "the other process refused something");
    let mut signers = Vec::new();
    for seed in 0..EXCHANGES {
        let bytes = std::fs::read(folder.path().join(format!("{seed}.counter")));
        let opened = Envelope::open(&bytes.expect("answered"), Domain::CounterSignature);
        let opened = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_ne!(opened.signer(), key.id());
        signers.push(opened.signer());
        let statement = Random(!seed).statement();
        let read = read_like(&statement, opened.fields());
        assert_eq!(read, Ok(statement), "seed {seed}");
    }
    signers.dedup();
    assert_eq!(signers.len(), 1);
}

fn answer_in(folder: &str) {
    let folder = std::path::Path::new(folder);
    let key = NodeKey::generate();
    for seed in 0..EXCHANGES {
        let bytes = std::fs::read(folder.join(format!("{seed}.receipt"))).expect("it is there");
        let opened = Envelope::open(&bytes, Domain::Receipt);
        let opened = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let statement = Random(seed).statement();
        let read = read_like(&statement, opened.fields());
        assert_eq!(read, Ok(statement), "seed {seed}");
        let answer = write(&Random(!seed).statement());
        let signed = Envelope::sign(&key, Domain::CounterSignature, answer);
        let path = folder.join(format!("{seed}.counter"));
        std::fs::write(path, signed.as_bytes()).expect("it is written");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how a test tells its other process what it is"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
