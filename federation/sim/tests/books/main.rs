//! Nodes that work for each other are killed, cut off and stopped at random, as the seed says, on either side of a
//! stream. In the end the books of each two hold the same receipts. `KWAAINET_BOOKS_SEEDS` says with how many seeds.

mod hostile;
mod trader;

use std::time::Duration;

use kwaainet_federation::{RECEIPTS_HEADER, ReceiptFile, Seeded, receipt_line};
use kwaainet_sim::{Row, run};

use trader::Traders;

/// What happened over all seeds, so that a test of nothing is seen.
#[derive(Debug, Default)]
struct Seen {
    receipts: usize,
    returned: usize,
    checkpoints: usize,
    unsigned: usize,
    claims: usize,
}

/// In an everyday run.
const SEEDS: u64 = 3;

#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the test, not of the program"
)]
fn seeds() -> u64 {
    let set = std::env::var("KWAAINET_BOOKS_SEEDS").ok();
    set.map_or(SEEDS, |set| set.parse().expect("a number of seeds"))
}

#[test]
fn the_books_of_each_two_are_equal_in_the_end() {
    let mut seen = Seen::default();
    for seed in 0..seeds() {
        run(seed, async |seed| {
            let mut traders = Traders::begin(seed, 4).await;
            let mut random = Seeded::new(seed ^ 0xB00C);
            for _ in 0..50 {
                traders.change(&mut random);
                let pause = Duration::from_millis(1 + random.below(1_200));
                tokio::time::sleep(pause).await;
            }
            traders.mend_all();
            traders.rest().await;
            compare(&traders, &mut seen);
        });
    }
    assert!(seen.receipts > 100 && seen.returned > 10, "{seen:?}");
    assert!(seen.checkpoints > 0 && seen.unsigned > 0, "{seen:?}");
    assert!(seen.claims > 0, "{seen:?}");
}

fn compare(traders: &Traders, seen: &mut Seen) {
    let nodes = traders.nodes();
    for (n, a) in nodes.iter().enumerate() {
        for b in &nodes[n + 1..] {
            let (ours, theirs) = (traders.book(*a).with(*b), traders.book(*b).with(*a));
            let said = |rows: &[Row]| -> Vec<_> {
                let of = |row: &Row| {
                    format!(
                        "{:?} {:?}",
                        row.kept.receipt.place,
                        row.kept.counter.is_some()
                    )
                };
                rows.iter().map(of).collect()
            };
            assert_eq!(said(&ours), said(&theirs), "{a} and {b}");
            let kept =
                |rows: &[Row]| -> Vec<_> { rows.iter().map(|row| row.kept.clone()).collect() };
            assert!(kept(&ours) == kept(&theirs), "{a} and {b}");
            check(&ours);
            seen.receipts += ours.len();
            let all = || ours.iter().chain(&theirs);
            seen.returned += all().filter(|row| row.returned).count();
            let is_checkpoint = |row: &&Row| row.kept.receipt.place.link().is_none();
            seen.checkpoints += ours.iter().filter(is_checkpoint).count();
            seen.unsigned += ours.iter().filter(|row| row.kept.counter.is_none()).count();
            seen.claims += traders.book(*a).claims_on(*b).len();
        }
    }
}

/// They would pass as a file.
fn check(rows: &[Row]) {
    let mut file = ReceiptFile::new();
    let header = file.check(&format!("{RECEIPTS_HEADER}\n"));
    assert!(header.is_ok());
    for Row { kept, .. } in rows {
        let line = receipt_line(kept.receipt.as_bytes(), kept.counter.as_deref());
        let checked = file.check(&format!("{line}\n"));
        assert!(checked.is_ok(), "{checked:?}");
    }
}
