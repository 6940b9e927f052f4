use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;

/// A folder like the system's own.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        let folder = path.parent().expect("it lies in a folder");
        std::fs::create_dir_all(folder).expect("it can be made");
        std::fs::write(path, format!("{text}\n")).expect("it can be written");
    }

    fn zone(&self, zone: &str, name: &str, energy_uj: u64) {
        self.put(&format!("powercap/{zone}/name"), name);
        self.put(
            &format!("powercap/{zone}/max_energy_range_uj"),
            "262143328850",
        );
        self.counts(zone, energy_uj);
    }

    fn counts(&self, zone: &str, energy_uj: u64) {
        self.put(
            &format!("powercap/{zone}/energy_uj"),
            &energy_uj.to_string(),
        );
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[derive(Clone, Debug, Default)]
struct Set(Arc<Mutex<Duration>>);

impl Set {
    fn add(&self, time: Duration) {
        *self.0.lock().expect("no holder panics") += time;
    }
}

impl CpuTime for Set {
    fn used(&mut self) -> Duration {
        *self.0.lock().expect("no holder panics")
    }
}

#[test]
fn packages_count_once_and_nothing_else_counts() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 1_000);
    tree.zone("intel-rapl:1", "package-1", 50);
    tree.zone("intel-rapl:2", "psys", 10);
    tree.zone("intel-rapl:0:0", "core", 10);
    tree.zone("intel-rapl:0:1", "dram", 10);
    tree.zone("intel-rapl-mmio:0", "package-0", 1_000);
    tree.put("powercap/intel-rapl/enabled", "1");
    let mut rapl = Rapl::open(tree.path()).expect("there are packages");
    assert_eq!(rapl.take(), 0);
    for zone in [
        "intel-rapl:2",
        "intel-rapl:0:0",
        "intel-rapl:0:1",
        "intel-rapl-mmio:0",
    ] {
        tree.counts(zone, 1_000_000);
    }
    assert_eq!(rapl.take(), 0);
    tree.counts("intel-rapl:0", 1_700);
    tree.counts("intel-rapl:1", 60);
    assert_eq!(rapl.take(), 710);
}

#[test]
fn a_counter_that_comes_round_goes_on() {
    let tree = Tree::new();
    let range = 262_143_328_850;
    tree.zone("intel-rapl:0", "package-0", range - 400);
    let mut rapl = Rapl::open(tree.path()).expect("there is a package");
    tree.counts("intel-rapl:0", range - 100);
    assert_eq!(rapl.take(), 300);
    tree.counts("intel-rapl:0", 250);
    assert_eq!(rapl.take(), 350);
    // Many times round, in steps that a machine may make: nothing is lost on the way.
    let (mut counter, mut sum, mut real) = (250, 0, 0);
    for step in 0..500_u64 {
        let taken = 1 + step * 7_919_000_000 % (range - 1);
        real += taken;
        counter = (counter + taken) % range;
        tree.counts("intel-rapl:0", counter);
        sum += rapl.take();
    }
    assert_eq!(sum, real);
}

#[test]
fn what_cannot_be_read_for_a_while_is_counted_later() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 100);
    let mut rapl = Rapl::open(tree.path()).expect("there is a package");
    tree.put("powercap/intel-rapl:0/energy_uj", "what");
    assert_eq!(rapl.take(), 0);
    tree.counts("intel-rapl:0", 900);
    assert_eq!(rapl.take(), 800);
    // More than its range: it never was there.
    tree.counts("intel-rapl:0", u64::MAX);
    let _nonsense = rapl.take();
    tree.counts("intel-rapl:0", 5);
    assert_eq!(rapl.take(), 0);
}

#[test]
fn no_counters_are_an_error_that_says_so() {
    let tree = Tree::new();
    let absent = Rapl::open(tree.path()).expect_err("there is nothing");
    assert!(matches!(absent, MeterError::Absent(_)));
    tree.zone("intel-rapl:0", "package-0", 1);
    tree.put("powercap/intel-rapl:0/energy_uj", "");
    let unreadable = Rapl::open(tree.path()).expect_err("it says nothing");
    assert!(
        unreadable
            .to_string()
            .starts_with("energy_uj cannot be read"),
        "{unreadable}"
    );
    let roots = Roots {
        class: tree.path().to_owned(),
        proc: tree.path().to_owned(),
    };
    let (gauge, why) = choose(&roots, CpuTimeModel::new(4.0, 0.0));
    assert!(matches!(gauge, Gauge::CpuTime(_)));
    assert_eq!(why, Some(unreadable));
}

#[test]
fn a_process_has_its_share_of_a_package() {
    let tree = Tree::new();
    tree.zone("intel-rapl:0", "package-0", 0);
    let rapl = Rapl::open(tree.path()).expect("there is a package");
    let cpu = Set::default();
    let mut meter = Meter::new(Gauge::Rapl(rapl), Gpus::default(), Box::new(cpu.clone()), 4);
    assert_eq!(meter.method(), EnergyMethod::Rapl);
    assert_eq!(meter.read(Duration::from_secs(1)), Taken::default());
    // One of four threads for a second, of 40 J.
    tree.counts("intel-rapl:0", 40_000_000);
    cpu.add(Duration::from_secs(1));
    let taken = meter.read(Duration::from_secs(2));
    assert_eq!((taken.total_uj, taken.own_uj), (40_000_000, 10_000_000));
    // Never more than all.
    tree.counts("intel-rapl:0", 50_000_000);
    cpu.add(Duration::from_secs(100));
    let taken = meter.read(Duration::from_secs(3));
    assert_eq!((taken.total_uj, taken.own_uj), (10_000_000, 10_000_000));
}

#[derive(Debug)]
struct Card(Arc<Mutex<u64>>);

impl Gpu for Card {
    fn energy_mj(&mut self) -> Option<u64> {
        Some(*self.0.lock().expect("no holder panics"))
    }
}

#[test]
fn a_gpu_is_counted_beside_the_processor() {
    let counter = Arc::new(Mutex::new(7_000));
    let gpus = Gpus::of(vec![Box::new(Card(Arc::clone(&counter)))]);
    let model = Gauge::CpuTime(CpuTimeModel::new(4.0, 0.0));
    let mut meter = Meter::new(model, gpus, Box::new(Set::default()), 1);
    assert_eq!(meter.method(), EnergyMethod::CpuTimeAndGpu);
    assert_eq!(meter.read(Duration::ZERO), Taken::default());
    let set = |mj| *counter.lock().expect("no holder panics") = mj;
    set(7_250);
    let taken = meter.read(Duration::from_secs(1));
    assert_eq!((taken.total_uj, taken.own_uj), (250_000, 250_000));
    set(10);
    assert_eq!(
        meter.read(Duration::from_secs(2)).total_uj,
        0,
        "it began anew"
    );
}

fn battery(tree: &Tree, status: &str) {
    tree.put("power_supply/BAT0/type", "Battery");
    tree.put("power_supply/BAT0/status", status);
    tree.put("power_supply/BAT0/capacity", "73");
}

#[test]
fn a_battery_counts_while_it_gives() {
    let tree = Tree::new();
    assert!(Battery::open(tree.path()).is_err());
    battery(&tree, "Discharging");
    assert!(
        Battery::open(tree.path()).is_err(),
        "it does not say what it gives"
    );
    tree.put("power_supply/BAT0/voltage_now", "12000000");
    tree.put("power_supply/BAT0/current_now", "-1000000");
    // A mouse.
    tree.put("power_supply/hidpp/type", "Battery");
    tree.put("power_supply/hidpp/scope", "Device");
    tree.put("power_supply/hidpp/power_now", "999");
    let mut gauge = Battery::open(tree.path()).expect("it says what it gives");
    let s = Duration::from_secs;
    assert_eq!(gauge.take(s(0)), 0);
    assert_eq!(gauge.take(s(1)), 12_000_000);
    tree.put("power_supply/BAT0/power_now", "20000000");
    assert_eq!(gauge.take(s(3)), 32_000_000, "the mean of 12 and 20 W");
    assert_eq!(gauge.take(s(1_000)), 0, "it slept");
    tree.put("power_supply/BAT0/status", "Charging");
    gauge.take(s(1_001));
    assert_eq!(gauge.take(s(1_002)), 0);
}

#[test]
fn mains_and_charge_are_seen() {
    let tree = Tree::new();
    assert!(!is_on_battery(tree.path()));
    assert_eq!(battery_percent(tree.path()), None);
    battery(&tree, "Discharging");
    tree.put("power_supply/BAT0/power_now", "1");
    tree.put("power_supply/AC/type", "Mains");
    tree.put("power_supply/AC/online", "0");
    assert!(is_on_battery(tree.path()));
    assert_eq!(battery_percent(tree.path()), Some(73));
    tree.put("power_supply/AC/online", "1");
    assert!(!is_on_battery(tree.path()));
}

#[test]
fn the_whole_machine_is_modelled_as_codecarbon_does() {
    let tree = Tree::new();
    tree.put("meminfo", "MemTotal:       25165824 kB");
    let stat = |busy: u64, idle: u64| {
        tree.put(
            "stat",
            &format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3"),
        );
    };
    stat(0, 0);
    let mut model = Codecarbon::open(tree.path(), 2).expect("all is there");
    let s = Duration::from_secs;
    assert_eq!(model.take(s(0), 0.0), Taken::default());
    stat(50, 50);
    // 8 W x (0.1 + 0.9 x 0.5^3) and 20 W of memory, of which this process's quarter is 2 W at most.
    let taken = model.take(s(1), 0.25);
    let cpu = 8e6 * (0.1 + 0.9 * 0.125);
    assert_eq!(
        (taken.total_uj, taken.own_uj),
        ((cpu + 20e6) as u64, cpu as u64)
    );
    stat(50, 150);
    let taken = model.take(s(2), 0.01);
    assert_eq!((taken.total_uj, taken.own_uj), (20_800_000, 80_000));
    tree.put("stat", "cpu what");
    assert!(Codecarbon::open(tree.path(), 2).is_err());
}

#[test]
fn processor_time_is_that_of_the_process() {
    let mut cpu = ProcessCpu::default();
    let before = cpu.used();
    let mut sum = 0_u64;
    while cpu.used() - before < Duration::from_millis(5) {
        sum = std::hint::black_box(sum.wrapping_add(1));
    }
    assert!(cpu.used() >= before);
}
