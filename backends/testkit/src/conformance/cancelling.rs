//! Dropping is cancelling.

use std::time::Duration;

use kwaainet_core::Backend;

use super::taking::{event, start};
use super::{GenerateSubject, IdleProbe, require};

const IDLE_WAIT_MAX: Duration = Duration::from_secs(5);

/// A stream that is dropped, at whatever moment, leaves nothing behind.
pub(super) async fn dropping_frees(
    backend: &dyn Backend,
    model: &GenerateSubject,
    idle: &IdleProbe,
) {
    let rule = "dropping a stream frees the backend";
    let mut request = model.request(model.first_prompt());
    request.params.max_tokens = None;
    for events_read in 0..4 {
        let mut events = start(backend, request.clone(), rule).await;
        for _ in 0..events_read {
            event(&mut events, rule).await;
        }
        drop(events);
        becomes_idle(rule, idle).await;
    }
    let rule = "dropping generate() before it is done frees the backend";
    {
        let starting = backend.generate(request);
        futures_util::pin_mut!(starting);
        let _may_be_ready = futures_util::poll!(starting);
    }
    becomes_idle(rule, idle).await;
}

/// The probe says idle before the time is up.
pub(super) async fn becomes_idle(rule: &str, idle: &IdleProbe) {
    let watch = async {
        while !idle().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let became = tokio::time::timeout(IDLE_WAIT_MAX, watch).await;
    require(became.is_ok(), rule, || "it is still busy after 5 s".into());
}
