//! A smart meter's P1 port, through a gateway that gives its telegrams over TCP: what comes from the grid and goes to
//! it now.
//!
//! DSMR 5.0.2 P1 (section 6.2: a telegram from `/` to `!`, then CRC16 over all of that, in hexadecimal digits); the
//! objects 1-0:1.7.0 (delivered to the house) and 1-0:2.7.0 (by the house), in kilowatts. Older meters send no CRC, and
//! are not believed.

use std::time::Duration;

use kwaainet_core::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{FlowReading, Flowmeter, FlowmeterError, watts};

/// Telegrams come every second, from older meters every ten.
const WITHIN: Duration = Duration::from_secs(25);
const TELEGRAM_MAX: usize = 8 << 10;

/// One gateway.
#[derive(Clone, Debug)]
pub struct P1 {
    address: String,
}

impl P1 {
    /// By `host:port`.
    pub fn new(address: &str) -> Self {
        let address = address.to_owned();
        Self { address }
    }

    async fn telegram(&self) -> Result<FlowReading, FlowmeterError> {
        let unreachable = |_| FlowmeterError::Unreachable;
        let mut stream = TcpStream::connect(&self.address)
            .await
            .map_err(unreachable)?;
        let mut seen = Vec::new();
        loop {
            let mut chunk = [0; 1_024];
            let count = stream.read(&mut chunk).await.map_err(unreachable)?;
            if count == 0 {
                return Err(FlowmeterError::Unreachable);
            }
            seen.extend_from_slice(&chunk[..count]);
            if let Some(telegram) = whole(&seen) {
                return read(telegram);
            }
            if seen.len() > 2 * TELEGRAM_MAX {
                return Err(FlowmeterError::Nonsense("its telegram is too long"));
            }
        }
    }
}

/// The first telegram that is complete, with its four digits.
fn whole(seen: &[u8]) -> Option<&[u8]> {
    let start = seen.iter().position(|byte| *byte == b'/')?;
    let telegram = &seen[start..];
    let end = telegram.iter().position(|byte| *byte == b'!')?;
    telegram.get(..end + 5)
}

fn read(telegram: &[u8]) -> Result<FlowReading, FlowmeterError> {
    let (text, digits) = telegram.split_at(telegram.len() - 4);
    let said = std::str::from_utf8(digits).ok();
    let said = said.and_then(|digits| u16::from_str_radix(digits, 16).ok());
    if said != Some(crc16(text)) {
        return Err(FlowmeterError::Nonsense("its telegram is damaged"));
    }
    let text = String::from_utf8_lossy(text);
    let kilowatts = |object: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(object))?;
        let value = line.strip_prefix('(')?.strip_suffix("*kW)")?;
        watts(value.parse::<f64>().ok()? * 1e3)
    };
    let (import_w, export_w) = (kilowatts("1-0:1.7.0"), kilowatts("1-0:2.7.0"));
    if import_w.is_none() {
        return Err(FlowmeterError::Nonsense("its telegram holds no power"));
    }
    Ok(FlowReading {
        import_w,
        export_w,
        ..FlowReading::default()
    })
}

/// x^16 + x^15 + x^2 + 1, least significant bit first, from zero.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0xa001,
        })
    })
}

impl Flowmeter for P1 {
    fn name(&self) -> &'static str {
        "p1"
    }

    fn read(&self) -> BoxFuture<'_, Result<FlowReading, FlowmeterError>> {
        Box::pin(async {
            let read = tokio::time::timeout(WITHIN, self.telegram()).await;
            read.map_err(|_| FlowmeterError::Unreachable)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_field() {
        // CRC-16/ARC's check value.
        assert_eq!(crc16(b"123456789"), 0xbb3d);
    }
}
