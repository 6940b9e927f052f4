//! An inverter that speaks SunSpec over Modbus TCP: what it gives now.
//!
//! Modbus Application Protocol 1.1b3 (function 3, read holding registers) in the TCP framing of the Messaging
//! Implementation Guide 1.0b; SunSpec Information Model Overview 1.9 and the inverter models 101 to 103 (whole numbers
//! with a scale factor) and 111 to 113 (floats). It only reads.

use std::time::Duration;

use kwaainet_core::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{FlowReading, Flowmeter, FlowmeterError, watts};

const WITHIN: Duration = Duration::from_secs(5);
/// Where the map may begin.
const BASES: [u16; 3] = [40_000, 0, 50_000];
/// "SunS".
const MARK: [u16; 2] = [0x5375, 0x6e53];
const END: u16 = 0xffff;
/// Models that are walked over.
const MODELS_MAX: usize = 64;
/// Registers of one answer, by the protocol.
const REGISTERS_MAX: u16 = 125;
/// A point that the device does not have.
const ABSENT_I16: u16 = 0x8000;

/// One inverter.
#[derive(Clone, Debug)]
pub struct SunSpec {
    address: String,
    unit: u8,
}

impl SunSpec {
    /// By `host:port` (the port is usually 502) and the unit's number (usually 1).
    pub fn new(address: &str, unit: u8) -> Self {
        let address = address.to_owned();
        Self { address, unit }
    }

    async fn power(&self) -> Result<f64, FlowmeterError> {
        let unreachable = |_| FlowmeterError::Unreachable;
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(unreachable)?;
        let mut line = Line {
            stream,
            unit: self.unit,
            transaction: 0,
        };
        let mut at = line.start().await?;
        for _ in 0..MODELS_MAX {
            let header = line.registers(at, 2).await?;
            let (model, length) = (header[0], header[1]);
            if model == END {
                break;
            }
            let body = at.checked_add(2).ok_or(OUT_OF_MAP)?;
            if let Some(point) = point_of(model) {
                let count = length.min(REGISTERS_MAX);
                let registers = line.registers(body, count).await?;
                return point(&registers).and_then(watts).ok_or(NO_POWER);
            }
            at = body.checked_add(length).ok_or(OUT_OF_MAP)?;
        }
        Err(FlowmeterError::Nonsense("it has no model of an inverter"))
    }
}

const OUT_OF_MAP: FlowmeterError = FlowmeterError::Nonsense("its models lead out of its map");
const NO_POWER: FlowmeterError = FlowmeterError::Nonsense("its inverter says no power");

/// Takes the power out of the registers behind a model's header.
type Point = fn(&[u16]) -> Option<f64>;

/// Where a model's power stands, if it is one of an inverter.
fn point_of(model: u16) -> Option<Point> {
    match model {
        101..=103 => Some(scaled),
        111..=113 => Some(float),
        _ => None,
    }
}

/// `W` and its scale factor: points 14 and 15 of the model, header included.
fn scaled(registers: &[u16]) -> Option<f64> {
    let (value, scale) = (*registers.get(12)?, *registers.get(13)?);
    if value == ABSENT_I16 || scale == ABSENT_I16 {
        return None;
    }
    let scale = i32::from(scale.cast_signed());
    let sound = (-10..=10).contains(&scale);
    sound.then(|| f64::from(value.cast_signed()) * 10_f64.powi(scale))
}

/// `W` as a float: points 22 and 23.
fn float(registers: &[u16]) -> Option<f64> {
    let (high, low) = (*registers.get(20)?, *registers.get(21)?);
    let value = f32::from_bits(u32::from(high) << 16 | u32::from(low));
    value.is_finite().then(|| f64::from(value))
}

/// A connection to the device.
struct Line {
    stream: TcpStream,
    unit: u8,
    transaction: u16,
}

impl Line {
    /// Where the first model stands.
    async fn start(&mut self) -> Result<u16, FlowmeterError> {
        for base in BASES {
            match self.registers(base, 2).await {
                Ok(mark) if mark == MARK => return Ok(base + 2),
                Ok(_) | Err(FlowmeterError::Nonsense(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(FlowmeterError::Nonsense("it does not speak SunSpec"))
    }

    async fn registers(&mut self, at: u16, count: u16) -> Result<Vec<u16>, FlowmeterError> {
        self.transaction = self.transaction.wrapping_add(1);
        let mut request = Vec::with_capacity(12);
        for word in [self.transaction, 0, 6] {
            request.extend_from_slice(&word.to_be_bytes());
        }
        request.extend_from_slice(&[self.unit, 3]);
        request.extend_from_slice(&at.to_be_bytes());
        request.extend_from_slice(&count.to_be_bytes());
        let broken = |_| FlowmeterError::Unreachable;
        self.stream.write_all(&request).await.map_err(broken)?;
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.map_err(broken)?;
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if word(0) != self.transaction || word(2) != 0 {
            return Err(FlowmeterError::Unreachable);
        }
        // An exception: the function with its high bit, and a code.
        if head[7] == 0x83 {
            return Err(FlowmeterError::Nonsense("it has no such registers"));
        }
        let bytes = usize::from(head[8]);
        if head[7] != 3 || bytes != usize::from(count) * 2 || usize::from(word(4)) != bytes + 3 {
            return Err(FlowmeterError::Unreachable);
        }
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body).await.map_err(broken)?;
        let pairs = body.chunks_exact(2);
        Ok(pairs
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect())
    }
}

impl Flowmeter for SunSpec {
    fn name(&self) -> &'static str {
        "sunspec"
    }

    fn read(&self) -> BoxFuture<'_, Result<FlowReading, FlowmeterError>> {
        Box::pin(async {
            let power = tokio::time::timeout(WITHIN, self.power()).await;
            let generation_w = power.map_err(|_| FlowmeterError::Unreachable)??;
            Ok(FlowReading {
                generation_w: Some(generation_w),
                ..FlowReading::default()
            })
        })
    }
}
