//! What the machine itself gives: memory's speed, and how much of it this process holds.

use std::sync::Arc;

use anyhow::Context;
use kwaainet_core::Clock;
use kwaainet_kernels::{Pool, Reading};

/// Far larger than any cache, in bytes.
const BUFFER: usize = 512 << 20;
/// Still larger than those of most machines.
const BUFFER_QUICK: usize = 256 << 20;
/// Reads of the whole buffer; the fastest counts, since it is a limit that is looked for.
const PASSES: u32 = 5;

/// Bytes a second that so many threads read, by plain sums over a buffer.
pub(super) async fn bandwidth(
    threads: usize,
    quick: bool,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<f64> {
    let measured = tokio::task::spawn_blocking(move || -> anyhow::Result<f64> {
        let pool = Pool::new(threads)?;
        let reading = Reading::new(if quick { BUFFER_QUICK } else { BUFFER });
        let mut best = f64::MAX;
        for _ in 0..PASSES {
            let begin = clock.monotonic();
            std::hint::black_box(reading.sum(&pool));
            let took = clock.monotonic().saturating_sub(begin);
            best = best.min(took.as_secs_f64());
        }
        Ok(reading.bytes() as f64 / best)
    });
    measured.await.context("the measurement of memory failed")?
}

/// Mebibytes that this process holds in memory, mapped files included; none where the system does not
/// say. Linux does.
pub(super) fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    resident_of(&status)
}

/// From the text of `/proc/self/status`, which says it in kibibytes whatever the size of a page.
fn resident_of(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_kernels_own_words() {
        let status = "Name:\tkwaainet\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\nThreads:\t3\n";
        assert_eq!(resident_of(status), Some(100.0));
        assert_eq!(resident_of("VmRSS:\tmuch\n"), None);
        assert_eq!(resident_of(""), None);
    }
}
