//! What of a peer's receipts may be kept.

use kwaainet_core::NodeId;

use super::super::ledger::difference_until_the_end;
use super::super::{CounterSignature, KeptReceipt, SignedReceipt};
use super::{Books, Cut, Given};
use crate::{BadReceipt, Service};

impl Books {
    /// Those that are good, of what came when these were asked for. Signs what agrees with what this node saw itself.
    pub(super) async fn judge(
        &self,
        peer: NodeId,
        wanted: &[[u8; 32]],
        given: Vec<Given>,
    ) -> Result<Vec<KeptReceipt>, Cut> {
        if given.len() > wanted.len() {
            return Err(Cut::Nonsense("more than was asked for"));
        }
        let mut good = Vec::with_capacity(given.len());
        for given in given {
            match self.open(peer, wanted, given) {
                Ok(kept) => good.push(kept),
                Err(error) => {
                    tracing::warn!(peer = %peer.short(), "what a peer handed over is refused: {error}");
                }
            }
        }
        self.sign(peer, &mut good).await?;
        Ok(good)
    }

    fn open(
        &self,
        peer: NodeId,
        wanted: &[[u8; 32]],
        (receipt, counter): Given,
    ) -> Result<KeptReceipt, BadReceipt> {
        let receipt = SignedReceipt::open(&receipt)?;
        let (pair, own) = ((receipt.server, receipt.asker), self.key.id());
        if pair != (own, peer) && pair != (peer, own) {
            return Err(BadReceipt("it is not between these two nodes".to_owned()));
        }
        if !wanted.contains(&receipt.hash()) {
            return Err(BadReceipt("nobody asked for it".to_owned()));
        }
        let counter = counter.map(|counter| CounterSignature::open(&counter, &receipt));
        let counter = counter.transpose()?;
        let counter = counter.map(|counter| counter.as_bytes().to_vec());
        Ok(KeptReceipt { receipt, counter })
    }

    /// Signs against those of the peer that say what this node saw.
    async fn sign(&self, peer: NodeId, receipts: &mut [KeptReceipt]) -> Result<(), Cut> {
        let own = self.key.id();
        let unsigned =
            |kept: &&mut KeptReceipt| kept.receipt.asker == own && kept.counter.is_none();
        let requests: Vec<_> = receipts
            .iter_mut()
            .filter(unsigned)
            .map(|kept| kept.receipt.service.request)
            .collect();
        if requests.is_empty() {
            return Ok(());
        }
        let claims = self.book.claims(peer, requests).await.map_err(Cut::Book)?;
        for kept in receipts.iter_mut().filter(unsigned) {
            let said = &kept.receipt.service;
            // What came is all that was sent if its hash is the same, whether the end was seen or not.
            let agrees = |seen: &Service| difference_until_the_end(said, seen).is_none();
            if claims.iter().any(agrees) {
                let counter = CounterSignature::sign(&self.key, kept.receipt.hash(), said.usage);
                kept.counter = Some(counter.as_bytes().to_vec());
            }
        }
        Ok(())
    }
}
