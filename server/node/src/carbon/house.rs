//! Listens to the meters of the house.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use kwaainet_carbon::{FlowReading, Flowmeter, Flows, Policy};
use kwaainet_store::MatchedHour;

use super::CarbonDesk;

/// Between two readings.
const READ: Duration = Duration::from_secs(30);
/// How often what they say is kept, in readings.
const KEEP_EVERY: u32 = 4;

/// The meters of the house, and when this machine works for others.
pub(super) struct House {
    pub(super) meters: Vec<Arc<dyn Flowmeter>>,
    pub(super) flows: Mutex<Flows>,
    pub(super) policy: Policy,
}

impl CarbonDesk {
    /// Reads the meters again and again. Ends when dropped; at once where there is none.
    pub async fn read_house(self: Arc<Self>) {
        if self.house.meters.is_empty() {
            return;
        }
        let mut ticks = tokio::time::interval(READ);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut round = 0_u32;
        loop {
            ticks.tick().await;
            let readings = join_all(self.house.meters.iter().map(read)).await;
            let readings: Vec<FlowReading> = readings.into_iter().flatten().collect();
            let now = self.now();
            self.house
                .flows
                .lock()
                .expect("no holder panics")
                .add(now, &readings);
            round = round.wrapping_add(1);
            if round.is_multiple_of(KEEP_EVERY) {
                self.keep_house().await;
            }
        }
    }

    async fn keep_house(&self) {
        let now = self.now();
        let (hours, evidence) = {
            let mut flows = self.house.flows.lock().expect("no holder panics");
            (flows.take(now), flows.evidence())
        };
        let records = hours.iter().map(|(at, hour)| MatchedHour {
            hour_ms: at.0,
            load_mwh: (hour.load_wh * 1e3).round() as u64,
            matched_mwh: (hour.matched_wh * 1e3).round() as u64,
            seen_s: hour.seen_s.round() as u32,
            evidence: evidence.map(|evidence| evidence.as_str()),
        });
        let records: Vec<_> = records.collect();
        if let Err(error) = self.store.set_matched_hours(&records).await {
            tracing::warn!(%error, "what the house's meters say cannot be kept");
        }
    }
}

async fn read(meter: &Arc<dyn Flowmeter>) -> Option<FlowReading> {
    let read = meter.read().await;
    read.inspect_err(|error| tracing::warn!(meter = meter.name(), %error, "a meter says nothing"))
        .ok()
}
