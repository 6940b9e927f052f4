use super::*;

pub(crate) fn service(request: u8) -> Service {
    Service {
        request: [request; 16],
        request_hash: [2; 32],
        model: Some(ModelDigest([3; 32])),
        usage: Usage {
            prompt_tokens: 12,
            cached_tokens: 4,
            completion_tokens: 7,
        },
        began_ms: 1_700_000_000_000,
        duration_ms: 250,
        energy_mj: 9,
        energy_method: "modelled",
        transcript_hash: [4; 32],
        complete: true,
    }
}

/// The last word on the stream of this number, which is its number in the chain too.
pub(crate) fn place(chain: u64, number: u64, previous: [u8; 32]) -> Place {
    Place {
        chain,
        stream: number,
        revision: 9,
        standing: Standing::Final { number, previous },
    }
}

pub(crate) fn checkpoint(chain: u64, stream: u64, revision: u64) -> Place {
    Place {
        chain,
        stream,
        revision,
        standing: Standing::Checkpoint,
    }
}

#[test]
fn a_receipt_says_what_was_signed_and_takes_no_change() {
    let (server, asker) = (NodeKey::generate(), NodeKey::generate());
    let nameless = Service {
        model: None,
        complete: false,
        ..service(2)
    };
    let last = place(5, 1, [0; 32]);
    for (place, service) in [
        (last, service(1)),
        (last, nameless.clone()),
        (checkpoint(5, 1, 2), nameless),
    ] {
        let signed = SignedReceipt::sign(&server, asker.id(), place, service);
        assert_eq!(SignedReceipt::open(signed.as_bytes()), Ok(signed.clone()));
        let counter = CounterSignature::sign(&asker, signed.hash(), signed.service.usage);
        let opened = CounterSignature::open(counter.as_bytes(), &signed);
        assert_eq!(opened, Ok(counter.clone()));
        for at in 0..signed.as_bytes().len() {
            let mut bytes = signed.as_bytes().to_vec();
            bytes[at] ^= 0x10;
            assert!(SignedReceipt::open(&bytes).is_err(), "byte {at}");
        }
        for at in 0..counter.as_bytes().len() {
            let mut bytes = counter.as_bytes().to_vec();
            bytes[at] ^= 0x10;
            assert!(
                CounterSignature::open(&bytes, &signed).is_err(),
                "byte {at}"
            );
        }
    }
}

#[test]
fn a_checkpoint_is_never_complete_and_in_no_chain() {
    let (server, asker) = (NodeKey::generate(), NodeKey::generate());
    let sign = |place, service| SignedReceipt::sign(&server, asker.id(), place, service);
    let complete = sign(checkpoint(5, 1, 2), service(1));
    let error = SignedReceipt::open(complete.as_bytes()).expect_err("it is complete");
    assert!(error.0.contains("complete"), "{error}");
    let chained = sign(place(5, 0, [1; 32]), service(1));
    let error = SignedReceipt::open(chained.as_bytes()).expect_err("it is chained");
    assert!(error.0.contains("chain"), "{error}");
}

#[test]
fn receipts_of_the_first_version_are_read() {
    let (server, asker) = (NodeKey::generate(), NodeKey::generate());
    let of = service(1);
    let digest = of.model.expect("it has one").0;
    let fields = Fields::new()
        .u64(1)
        .array(asker.id().0)
        .u64(5)
        .u64(7)
        .array([6; 32])
        .array(of.request)
        .array(of.request_hash)
        .bytes(&digest);
    let fields = with_usage(fields, of.usage)
        .u64(of.began_ms)
        .u64(of.duration_ms)
        .u64(of.energy_mj)
        .text(of.energy_method)
        .array(of.transcript_hash)
        .u64(1);
    let bytes = Envelope::sign(&server, Domain::Receipt, fields);
    let read = SignedReceipt::open(bytes.as_bytes()).expect("it is good");
    let revision = 0;
    assert_eq!(
        read.place,
        Place {
            revision,
            ..place(5, 7, [6; 32])
        }
    );
    assert_eq!(read.service, of);
}

#[test]
fn a_counter_signature_is_for_one_receipt_by_one_asker() {
    let (server, asker) = (NodeKey::generate(), NodeKey::generate());
    let sign =
        |request| SignedReceipt::sign(&server, asker.id(), place(5, 1, [0; 32]), service(request));
    let (first, second) = (sign(1), sign(2));
    let usage = first.service.usage;
    let for_first = CounterSignature::sign(&asker, first.hash(), usage);
    let error = CounterSignature::open(for_first.as_bytes(), &second);
    assert!(error.expect_err("it is for another").0.contains("another"));
    let foreign = CounterSignature::sign(&server, first.hash(), usage);
    let error = CounterSignature::open(foreign.as_bytes(), &first);
    assert!(error.expect_err("not his").0.contains("somebody else"));
    let mut other = usage;
    other.completion_tokens += 1;
    let other = CounterSignature::sign(&asker, first.hash(), other);
    let error = CounterSignature::open(other.as_bytes(), &first);
    assert!(error.expect_err("other counts").0.contains("otherwise"));
}
