use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;
use crate::client::Secret;

const HOUR: i64 = 3_600_000;
const MINUTE: i64 = 60_000;

fn flow(generation: f64, import: f64, export: f64) -> FlowReading {
    FlowReading {
        generation_w: Some(generation),
        import_w: Some(import),
        export_w: Some(export),
        ..FlowReading::default()
    }
}

/// The same flow from minute to minute, for so many of them.
fn steady(flows: &mut Flows, from: i64, minutes: i64, reading: FlowReading) {
    for minute in 0..=minutes {
        flows.add(Instant(from + minute * MINUTE), &[reading]);
    }
}

#[test]
fn an_hour_matches_itself_and_no_other() {
    let mut flows = Flows::default();
    // Noon: 3 kW of sun, 1 kW taken, 2 kW sold. Midnight: 1 kW from the grid.
    steady(&mut flows, 0, 60, flow(3_000.0, 0.0, 2_000.0));
    steady(&mut flows, HOUR, 60, flow(0.0, 1_000.0, 0.0));
    let hours = flows.take(Instant(2 * HOUR));
    let fractions: Vec<_> = hours.iter().map(|(_, hour)| hour.fraction()).collect();
    assert!(
        (fractions[0] - 1.0).abs() < 1e-9 && fractions[1].abs() < 1e-9,
        "{fractions:?}"
    );
    assert!((hours[0].1.load_wh - 1_000.0).abs() < 1e-6);
    assert!(
        (matched_hours(&[(1_000.0, fractions[0]), (1_000.0, fractions[1])]) - 0.5).abs() < 1e-9
    );
    assert_eq!(flows.evidence(), Some(Evidence::CrossChecked));
    assert!(
        flows.take(Instant(2 * HOUR)).is_empty(),
        "what was taken is forgotten"
    );
}

#[test]
fn what_was_not_seen_is_not_matched() {
    let mut flows = Flows::default();
    steady(&mut flows, 0, 30, flow(1_000.0, 0.0, 0.0));
    flows.add(Instant(HOUR), &[flow(1_000.0, 0.0, 0.0)]);
    let hours = flows.take(Instant(HOUR));
    assert_eq!(hours.len(), 1);
    assert!(
        (hours[0].1.fraction() - 0.5).abs() < 1e-9,
        "half of the hour is unknown"
    );
}

#[test]
fn a_battery_gives_at_night_what_the_sun_gave() {
    let mut flows = Flows::default();
    let night = FlowReading {
        discharge_w: Some(300.0),
        ..flow(0.0, 700.0, 0.0)
    };
    steady(&mut flows, 0, 60, night);
    let hours = flows.take(Instant(HOUR));
    assert!((hours[0].1.fraction() - 0.3).abs() < 1e-9);
}

#[test]
fn evidence_is_as_good_as_the_meters() {
    let mut alone = Flows::default();
    let inverter = FlowReading {
        generation_w: Some(5.0),
        ..FlowReading::default()
    };
    alone.add(Instant(0), &[inverter]);
    assert_eq!(alone.evidence(), Some(Evidence::LocalMeter));
    assert!(
        alone.take(Instant(HOUR)).is_empty(),
        "without a load nothing is matched"
    );
    let mut liar = Flows::default();
    liar.add(Instant(0), &[inverter, flow(0.0, 0.0, 900.0)]);
    assert_eq!(
        liar.evidence(),
        Some(Evidence::LocalMeter),
        "more is sold than made"
    );
    let mut grid = Flows::default();
    grid.add(
        Instant(0),
        &[FlowReading {
            import_w: Some(1.0),
            ..FlowReading::default()
        }],
    );
    assert_eq!(grid.evidence(), None);
    assert_eq!(
        Evidence::of_name("cross_checked"),
        Some(Evidence::CrossChecked)
    );
    assert!(Evidence::Declared < Evidence::Certificates);
}

#[tokio::test]
async fn home_assistant_says_what_its_entities_say() {
    let states = |headers: HeaderMap, Path(entity): Path<String>| async move {
        if headers
            .get("authorization")
            .is_none_or(|token| token != "Bearer long-lived")
        {
            return Err(StatusCode::UNAUTHORIZED);
        }
        match entity.as_str() {
            "sensor.solar" => Ok(r#"{"entity_id":"sensor.solar","state":"1.25","attributes":
                {"unit_of_measurement":"kW","device_class":"power"},"last_changed":"2026-01-01T00:00:00+00:00"}"#),
            "sensor.load" => Ok(r#"{"state":"800","attributes":{"unit_of_measurement":"W"}}"#),
            "sensor.off" => {
                Ok(r#"{"state":"unavailable","attributes":{"unit_of_measurement":"W"}}"#)
            }
            "sensor.kwh" => Ok(r#"{"state":"1","attributes":{"unit_of_measurement":"kWh"}}"#),
            _ => Err(StatusCode::NOT_FOUND),
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback listens");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().route("/api/states/{entity}", get(states));
    let serving = async move { axum::serve(listener, router).await };
    let _server = TaskTracker::new().spawn(serving);
    let token = Secret::new("long-lived");
    let meter = |solar: &str, token: &Secret| {
        HomeAssistant::new(&url, token, [solar, "", "", "sensor.load", ""]).expect("it is sound")
    };
    let read = meter("sensor.solar", &token)
        .read()
        .await
        .expect("it answers");
    assert_eq!(
        (read.generation_w, read.load_w),
        (Some(1_250.0), Some(800.0))
    );
    assert_eq!(read.import_w, None);
    let off = meter("sensor.off", &token).read().await;
    assert_eq!(off, Err(FlowmeterError::Unreachable));
    let energy = meter("sensor.kwh", &token).read().await;
    assert!(matches!(energy, Err(FlowmeterError::Nonsense(_))));
    let stranger = meter("sensor.solar", &Secret::new("x")).read().await;
    assert_eq!(stranger, Err(FetchError::Status(401).into()));
    assert!(HomeAssistant::new(&url, &token, ["../config", "", "", "", ""]).is_err());
    assert!(HomeAssistant::new(&url, &token, [""; 5]).is_err());
}

/// A device with these registers from 40000 on, for one connection.
async fn device(registers: Vec<u16>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback listens");
    let address = listener.local_addr().expect("an address").to_string();
    let serving = async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let mut request = [0; 12];
        while stream.read_exact(&mut request).await.is_ok() {
            let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
            let start = usize::from(word(8)).checked_sub(40_000);
            let found = start.and_then(|start| registers.get(start..start + usize::from(word(10))));
            let body: Vec<u8> = match found {
                Some(words) => {
                    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
                    [3, words.len() as u8 * 2]
                        .into_iter()
                        .chain(bytes)
                        .collect()
                }
                None => vec![0x83, 2],
            };
            let mut answer = request[..4].to_vec();
            answer.extend_from_slice(&(body.len() as u16 + 1).to_be_bytes());
            answer.push(request[6]);
            answer.extend_from_slice(&body);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    };
    let _device = TaskTracker::new().spawn(serving);
    address
}

/// The mark, a common model, and one of an inverter.
fn map(model: u16, points: &[(usize, u16)], length: usize) -> Vec<u16> {
    let mut map = vec![0x5375, 0x6e53, 1, 66];
    map.extend(std::iter::repeat_n(0, 66));
    map.extend([model, length as u16]);
    let mut body = vec![0x8000; length];
    for (at, value) in points {
        body[at - 2] = *value;
    }
    map.extend(body);
    map.extend([0xffff, 0]);
    map
}

#[tokio::test]
async fn an_inverter_says_what_it_gives() {
    // 325.7 W: 3257 with a scale of -1.
    let scaled = device(map(103, &[(14, 3_257), (15, 0xffff)], 50)).await;
    let read = SunSpec::new(&scaled, 1).read().await.expect("it answers");
    assert!((read.generation_w.expect("a power") - 325.7).abs() < 1e-9);
    let bits = 4_242.5_f32.to_bits();
    let floats = [(22, (bits >> 16) as u16), (23, bits as u16)];
    let float = device(map(113, &floats, 60)).await;
    let read = SunSpec::new(&float, 1).read().await.expect("it answers");
    assert_eq!(read.generation_w, Some(4_242.5));
    // At night some watts go the other way.
    let night = device(map(101, &[(14, (-7_i16).cast_unsigned()), (15, 0)], 50)).await;
    let read = SunSpec::new(&night, 1).read().await.expect("it answers");
    assert_eq!(read.generation_w, Some(0.0));
    let meter = device(map(203, &[], 105)).await;
    let read = SunSpec::new(&meter, 1).read().await;
    assert_eq!(
        read,
        Err(FlowmeterError::Nonsense("it has no model of an inverter"))
    );
    let other = device(vec![1; 300]).await;
    let read = SunSpec::new(&other, 1).read().await;
    assert_eq!(
        read,
        Err(FlowmeterError::Nonsense("it does not speak SunSpec"))
    );
    let absent = device(map(103, &[(15, 0)], 50)).await;
    assert!(
        SunSpec::new(&absent, 1).read().await.is_err(),
        "it does not have the point"
    );
}

/// What a gateway sends: half a telegram, since nobody waits for the start, and whole ones.
async fn gateway(text: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback listens");
    let address = listener.local_addr().expect("an address").to_string();
    let bytes = text.as_bytes().to_vec();
    let serving = async move {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        for chunk in bytes.chunks(100) {
            if stream.write_all(chunk).await.is_err() {
                return;
            }
        }
    };
    let _gateway = TaskTracker::new().spawn(serving);
    address
}

const TELEGRAM: &str = "/ISk5\\2MT382-1000\r\n\r\n1-3:0.2.8(50)\r\n0-0:1.0.0(101209113020W)\r\n\
    1-0:1.8.1(123456.789*kWh)\r\n1-0:1.7.0(01.193*kW)\r\n1-0:2.7.0(00.040*kW)\r\n!";

#[tokio::test]
async fn a_telegram_counts_if_its_checksum_does() {
    let digits = "D77D";
    let crc = {
        let sum = TELEGRAM.bytes().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(byte), |crc, _| {
                if crc & 1 == 0 {
                    crc >> 1
                } else {
                    crc >> 1 ^ 0xa001
                }
            })
        });
        format!("{sum:04X}")
    };
    let good = gateway(&format!("0.2.8(50)\r\n!{digits}\r\n{TELEGRAM}{crc}\r\n")).await;
    let read = P1::new(&good).read().await.expect("it answers");
    assert_eq!((read.import_w, read.export_w), (Some(1_193.0), Some(40.0)));
    assert_eq!(read.generation_w, None);
    let damaged = gateway(&format!(
        "{}{crc}\r\n",
        TELEGRAM.replace("01.193", "01.194")
    ))
    .await;
    let read = P1::new(&damaged).read().await;
    assert_eq!(
        read,
        Err(FlowmeterError::Nonsense("its telegram is damaged"))
    );
    let endless = gateway(&"/".repeat(20_000)).await;
    let read = P1::new(&endless).read().await;
    assert_eq!(
        read,
        Err(FlowmeterError::Nonsense("its telegram is too long"))
    );
    let silent = gateway("").await;
    assert_eq!(
        P1::new(&silent).read().await,
        Err(FlowmeterError::Unreachable)
    );
}
