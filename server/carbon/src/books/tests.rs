use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{ManualClock, PeerFacts};

use super::*;
use crate::meter::{CpuTime, CpuTimeModel, Gauge, Gpus};

/// Processor time that the test sets.
#[derive(Clone, Debug, Default)]
struct Set(Arc<Mutex<Duration>>);

impl CpuTime for Set {
    fn used(&mut self) -> Duration {
        *self.0.lock().expect("no holder panics")
    }
}

struct World {
    books: EnergyBooks,
    clock: Arc<ManualClock>,
    cpu: Set,
}

impl World {
    fn new(embodied: Option<Embodied>) -> Self {
        let (clock, cpu) = (Arc::new(ManualClock::default()), Set::default());
        let model = CpuTimeModel::new(3.7, 1.3);
        let meter = Meter::new(
            Gauge::CpuTime(model),
            Gpus::default(),
            Box::new(cpu.clone()),
            4,
        );
        Self {
            books: EnergyBooks::new(meter, embodied, clock.clone()),
            clock,
            cpu,
        }
    }

    fn works(&self, wall: Duration, cpu: Duration) {
        self.clock.advance(wall);
        *self.cpu.0.lock().expect("no holder panics") += cpu;
    }
}

struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn jobs_and_what_is_left_add_up_to_the_total() {
    for seed in 0..40 {
        let mut draws = Draws(seed);
        let world = World::new(None);
        let mut open: Vec<Box<dyn JobEnergy>> = Vec::new();
        let mut closed = 0_u64;
        for _ in 0..300 {
            world.works(
                Duration::from_nanos(draws.below(3_000_000_000)),
                Duration::from_nanos(draws.below(9_000_000_000)),
            );
            match draws.below(5) {
                0 => open.push(world.books.open()),
                1 | 2 if !open.is_empty() => {
                    let at = draws.below(open.len() as u64) as usize;
                    let place = [Place::Here, Place::Upstream][draws.below(2) as usize].clone();
                    open[at].at(&place);
                }
                3 if !open.is_empty() => {
                    let at = draws.below(open.len() as u64) as usize;
                    closed += open.remove(at).close().map_or(0, |took| took.energy_uj);
                }
                _ => world.books.tick(),
            }
        }
        for job in open {
            closed += job.close().map_or(0, |took| took.energy_uj);
        }
        let totals = world.books.totals();
        assert!(
            totals.jobs_uj > 0 && totals.unattributed_uj > 0,
            "seed {seed}"
        );
        assert_eq!(closed, totals.jobs_uj, "seed {seed}");
        assert_eq!(
            totals.total_uj,
            totals.jobs_uj + totals.unattributed_uj,
            "seed {seed}"
        );
        let hours = world.books.take_hours();
        let in_hours: u64 = hours.iter().map(|(_, hour)| hour.totals.total_uj).sum();
        assert_eq!(in_hours, totals.total_uj, "seed {seed}");
    }
}

#[test]
fn two_jobs_at_once_share_and_a_job_alone_has_all() {
    let world = World::new(None);
    let second = Duration::from_secs(1);
    let (mut first, mut other) = (world.books.open(), world.books.open());
    world.works(second, second);
    first.at(&Place::Here);
    world.works(second, second * 2);
    other.at(&Place::Here);
    world.works(second, second * 2);
    let first = first.close().expect("it was here");
    world.works(second, second);
    let other = other.close().expect("it was here");
    // 3.7 W a thread: 7.4 J alone, 3.7 J of 7.4 J together, 3.7 J alone.
    assert_eq!((first.energy_uj, other.energy_uj), (11_100_000, 7_400_000));
    assert_eq!((first.machine_us, other.machine_us), (1_500_000, 1_500_000));
    assert_eq!(first.carbon, None, "the grid is not known");
    let totals = world.books.totals();
    assert_eq!(totals.unattributed_uj, 3_700_000 + 4 * 1_300_000);
}

#[test]
fn a_job_costs_what_the_grid_says_while_it_runs() {
    let embodied = Embodied::of(300.0, 4.0);
    let world = World::new(embodied);
    let grid = |g| Some((Intensity::of(g).expect("it is sound"), GridEvidence::Live));
    world.books.set_grid(grid(360.0));
    let mut job = world.books.open();
    job.at(&Place::Here);
    let minute = Duration::from_secs(60);
    world.works(minute, minute);
    world.books.set_grid(grid(720.0));
    world.works(minute, minute);
    let took = job.close().expect("it was here");
    assert_eq!(took.energy_uj, 444_000_000);
    // 222 J at 0.1 mg a joule and 222 J at 0.2 mg.
    let carbon = took.carbon.expect("the grid is known");
    assert_eq!(carbon.operational_ng, 22_200_000 + 44_400_000);
    assert_eq!(carbon.evidence, GridEvidence::Live);
    assert_eq!(
        Some(carbon.embodied_ng),
        embodied.map(|e| e.share_ng(120_000_000))
    );
    let hours = world.books.take_hours();
    let cost: u64 = hours.iter().map(|(_, hour)| hour.carbon_ng).sum();
    // With what idling took: 78 J each.
    assert_eq!(cost, 30_000_000 + 60_000_000);
    assert!(world.books.take_hours().is_empty());
    world.books.give_back(hours.clone());
    assert_eq!(world.books.take_hours(), hours);
}

#[test]
fn who_never_was_here_has_no_figure() {
    let world = World::new(None);
    let mut job = world.books.open();
    job.at(&Place::Upstream);
    world.works(Duration::from_secs(1), Duration::from_secs(1));
    assert_eq!(job.close(), None);
    assert_eq!(world.books.open().close(), None);
}

#[test]
fn a_peers_work_is_what_it_says_of_itself() {
    let world = World::new(None);
    let facts = PeerFacts {
        node: kwaainet_core::NodeId([1; 32]),
        tier: kwaainet_core::Tier::T1,
        region: None,
        price: None,
        grid: Some(kwaainet_core::GridIntensity {
            g_per_kwh: 360.0,
            evidence: GridEvidence::Live,
        }),
        watts: Some(30.0),
        rtt: Duration::ZERO,
        relayed: false,
        load: kwaainet_core::Load {
            running: 3,
            ..kwaainet_core::Load::default()
        },
        ours: 0,
    };
    let mut job = world.books.open();
    job.at(&Place::Peer(Arc::new(facts)));
    world.works(Duration::from_secs(10), Duration::from_secs(1));
    let took = job.close().expect("it says what it takes");
    assert_eq!(
        (took.energy_uj, took.method),
        (100_000_000, EnergyMethod::Stated)
    );
    let carbon = took.carbon.expect("it says what its grid costs");
    assert!(carbon.operational_ng.abs_diff(10_000_000) <= 1);
    assert_eq!(world.books.totals().jobs_uj, 0, "this machine did nothing");
}
