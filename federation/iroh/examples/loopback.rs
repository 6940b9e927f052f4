//! What a stream costs: two transports on the loopback of this machine, in one process.
//!
//! `cargo run --release -p kwaainet-iroh --example loopback` prints the time of the first call, of opening a
//! stream, of one frame there and back on a new stream, and on one that is open.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kwaainet_federation::{Link, PeerTransport, Plane};
use kwaainet_identity::NodeKey;
use kwaainet_iroh::{IrohConfig, IrohTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::Instant;

const ROUNDS: usize = 5_000;
/// About what a message of one token takes.
const FRAME: usize = 64;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (near, far) = (Arc::new(bound().await?), Arc::new(bound().await?));
    near.learn(far.node(), &far.address());
    let mut echo = JoinSet::new();
    let serving = Arc::clone(&far);
    echo.spawn(async move {
        let mut streams = JoinSet::new();
        while let Some(mut incoming) = serving.accept().await {
            streams.spawn(async move {
                let Link { reader, writer } = &mut incoming.link;
                let _ = tokio::io::copy(reader, writer).await;
            });
        }
    });
    let began = Instant::now();
    there_and_back(&mut near.dial(far.node(), Plane::Inference).await?).await?;
    let first = began.elapsed();

    let mut opening = Vec::with_capacity(ROUNDS);
    let mut new = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let mut link = near.dial(far.node(), Plane::Inference).await?;
        opening.push(began.elapsed());
        there_and_back(&mut link).await?;
        new.push(began.elapsed());
    }
    let mut open = Vec::with_capacity(ROUNDS);
    let mut link = near.dial(far.node(), Plane::Inference).await?;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        there_and_back(&mut link).await?;
        open.push(began.elapsed());
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "first call, frame there and back: {} us",
        first.as_micros()
    )?;
    for (what, times) in [
        ("opening a stream", &mut opening),
        ("new stream, frame there and back", &mut new),
        ("open stream, frame there and back", &mut open),
    ] {
        let [p50, p99] = percentiles(times);
        writeln!(
            out,
            "{what}: p50 {} us, p99 {} us",
            p50.as_micros(),
            p99.as_micros()
        )?;
    }
    near.close().await;
    far.close().await;
    Ok(())
}

async fn bound() -> anyhow::Result<IrohTransport> {
    let config = IrohConfig {
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ..IrohConfig::default()
    };
    let bound = IrohTransport::bind(&NodeKey::generate(), config, Arc::new(|_| true)).await;
    bound.context("loopback")
}

async fn there_and_back(link: &mut Link) -> anyhow::Result<()> {
    link.writer.write_all(&[7; FRAME]).await?;
    let mut back = [0; FRAME];
    link.reader.read_exact(&mut back).await?;
    Ok(())
}

fn percentiles(times: &mut [Duration]) -> [Duration; 2] {
    times.sort_unstable();
    [50, 99].map(|percent| times[times.len() * percent / 100])
}
