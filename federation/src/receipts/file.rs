//! Receipts as a file of text that can be checked by anybody, without a node.
//!
//! The first line is `kwaainet-receipts 1`. Each further line is one receipt: its signed bytes in base64 (RFC 4648,
//! padded), and, if it was countersigned, one space and the counter-signature in the same way. Every line ends with a
//! line feed, the last one too.

use std::collections::HashMap;

use data_encoding::BASE64;
use kwaainet_core::NodeId;

use super::chain::Chains;
use super::{CounterSignature, SignedReceipt};

/// The first line.
pub const HEADER: &str = "kwaainet-receipts 1";

/// The line of a receipt, without its end.
pub fn receipt_line(receipt: &[u8], counter: Option<&[u8]>) -> String {
    let receipt = BASE64.encode(receipt);
    match counter {
        None => receipt,
        Some(counter) => format!("{receipt} {}", BASE64.encode(counter)),
    }
}

/// A good receipt of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it says.
    pub receipt: SignedReceipt,
    /// Whether the asker signed the same counts.
    pub countersigned: bool,
}

/// Checks the lines of a file one after the other, and that those of one chain belong together.
#[derive(Default)]
pub struct ReceiptFile {
    header: bool,
    /// For each server and asker.
    chains: HashMap<(NodeId, NodeId), Chains>,
}

impl ReceiptFile {
    /// One of which nothing was read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next line, with its end; `None` for the first, which is no receipt.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn check(&mut self, line: &str) -> Result<Option<Checked>, String> {
        let line = line.strip_suffix('\n').ok_or("the line is cut off")?;
        if !self.header {
            self.header = line == HEADER;
            return match self.header {
                true => Ok(None),
                false => Err(format!("the first line is not '{HEADER}'")),
            };
        }
        let (receipt, counter) = match line.split_once(' ') {
            None => (line, None),
            Some((receipt, counter)) => (receipt, Some(counter)),
        };
        let decode = |text: &str| BASE64.decode(text.as_bytes());
        let receipt = decode(receipt).map_err(|_| "the receipt is no base64")?;
        let receipt = SignedReceipt::open(&receipt).map_err(|bad| bad.0)?;
        if let Some(counter) = counter {
            let counter = decode(counter).map_err(|_| "the counter-signature is no base64")?;
            CounterSignature::open(&counter, &receipt).map_err(|bad| bad.0)?;
        }
        let pair = (receipt.server, receipt.asker);
        if !self.chains.entry(pair).or_default().add(&receipt)? {
            return Err("the same receipt was there before".to_owned());
        }
        Ok(Some(Checked {
            receipt,
            countersigned: counter.is_some(),
        }))
    }

    /// What is wrong with the whole, once every line was checked.
    ///
    /// # Errors
    /// When there was not even a first line.
    pub fn end(self) -> Result<(), String> {
        match self.header {
            true => Ok(()),
            false => Err("there is nothing in it".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipts::tests::{checkpoint, place, service};
    use kwaainet_identity::NodeKey;

    fn check(text: &str) -> Result<Vec<Checked>, String> {
        let mut file = ReceiptFile::new();
        let mut good = Vec::new();
        for line in text.split_inclusive('\n') {
            good.extend(file.check(line)?);
        }
        file.end()?;
        Ok(good)
    }

    /// The last one is not countersigned, unless it is alone.
    fn file(key: &NodeKey, asker: &NodeKey, receipts: u64) -> String {
        let mut previous = [0; 32];
        let mut text = format!("{HEADER}\n");
        for number in 1..=receipts {
            let place = place(1, number, previous);
            let receipt = SignedReceipt::sign(key, asker.id(), place, service(1));
            let counter = CounterSignature::sign(asker, receipt.hash(), receipt.service.usage);
            let counter = (number < receipts || receipts == 1).then_some(counter.as_bytes());
            text += &format!("{}\n", receipt_line(receipt.as_bytes(), counter));
            previous = receipt.hash();
        }
        text
    }

    #[test]
    fn a_good_file_is_taken_in_any_order() {
        let text = file(&NodeKey::generate(), &NodeKey::generate(), 3);
        let good = check(&text).expect("it is good");
        let countersigned: Vec<_> = good.iter().map(|good| good.countersigned).collect();
        assert_eq!(countersigned, [true, true, false]);
        let lines: Vec<_> = text.lines().collect();
        let [header, a, b, c] = lines[..] else {
            panic!("four lines");
        };
        check(&format!("{header}\n{c}\n{a}\n{b}\n")).expect("it is good");
        check(&format!("{header}\n{c}\n{a}\n")).expect("one may be missing");
        assert!(check(&format!("{header}\n{a}\n{a}\n")).is_err());
        assert!(check(&format!("{a}\n")).is_err());
        assert!(check("").is_err());
        assert_eq!(check(&format!("{header}\n")), Ok(Vec::new()));
    }

    #[test]
    fn a_stream_has_one_end_after_its_checkpoints() {
        let (key, asker) = (NodeKey::generate(), NodeKey::generate());
        let line = |place, complete| {
            let service = crate::Service {
                complete,
                ..service(1)
            };
            let receipt = SignedReceipt::sign(&key, asker.id(), place, service);
            receipt_line(receipt.as_bytes(), None)
        };
        let before = line(checkpoint(1, 1, 8), false);
        let end = line(place(1, 1, [0; 32]), true);
        let after = line(checkpoint(1, 1, 10), false);
        let same = line(checkpoint(1, 1, 9), false);
        let of_another = line(checkpoint(1, 2, 10), false);
        check(&format!("{HEADER}\n{end}\n{before}\n{of_another}\n")).expect("they fit");
        for other in [after, same] {
            assert!(check(&format!("{HEADER}\n{end}\n{other}\n")).is_err());
            assert!(check(&format!("{HEADER}\n{other}\n{end}\n")).is_err());
        }
    }

    #[test]
    fn one_changed_byte_anywhere_is_seen() {
        let text = file(&NodeKey::generate(), &NodeKey::generate(), 1);
        let others = ["\n", " ", "A", "=", "z"];
        for at in 0..text.len() {
            let differs = |other: &&&str| ***other != text[at..=at];
            let other = others.iter().cycle().skip(at).find(differs);
            let other = other.expect("they are several");
            let bad = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(check(&bad).is_err(), "byte {at} as {other:?}");
        }
        for at in (1..text.len()).step_by(7) {
            assert!(check(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn receipts_of_a_chain_have_to_fit() {
        let (key, asker) = (NodeKey::generate(), NodeKey::generate());
        let line = |number, previous| {
            let place = place(1, number, previous);
            let receipt = SignedReceipt::sign(&key, asker.id(), place, service(1));
            receipt_line(receipt.as_bytes(), None)
        };
        let (first, second) = (line(1, [0; 32]), line(2, [7; 32]));
        for text in [
            format!("{HEADER}\n{first}\n{second}\n"),
            format!("{HEADER}\n{second}\n{first}\n"),
        ] {
            assert!(check(&text).expect_err("they do not fit").contains("chain"));
        }
    }
}
