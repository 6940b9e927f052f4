//! The energy counters of the processor's packages, as Linux shows them (`Documentation/power/powercap`).
//!
//! Packages only. Their parts (`core`, `uncore`) are in them already; `psys` is the whole board and would count
//! packages twice; memory (`dram`) is left out, since few machines have it, and figures of two nodes could else not
//! be compared. Each counter runs from 0 to `max_energy_range_uj` and begins anew.

use std::path::{Path, PathBuf};

use super::{MeterError, number, text};

const NO_COUNTERS: MeterError = MeterError::Absent("energy counters of processors (powercap)");
/// Zones that are looked at.
const ZONES_MAX: usize = 256;

/// All packages of the machine.
#[derive(Debug)]
pub struct Rapl {
    packages: Vec<Package>,
}

#[derive(Debug)]
struct Package {
    counter: PathBuf,
    range_uj: u64,
    last_uj: Option<u64>,
}

impl Rapl {
    /// The packages below `class/powercap`.
    ///
    /// # Errors
    /// When there are none, or one of them may not be read (since CVE-2020-8694 only root may, by default).
    pub fn open(class: &Path) -> Result<Self, MeterError> {
        let mut packages = Vec::new();
        for zone in zones(&class.join("powercap")) {
            let is_package = text(&zone.join("name")).is_ok_and(|name| {
                let number = name.strip_prefix("package-");
                number.is_some_and(|number| number.parse::<u32>().is_ok())
            });
            if is_package {
                let mut package = Package {
                    range_uj: number(&zone.join("max_energy_range_uj"))?,
                    counter: zone.join("energy_uj"),
                    last_uj: None,
                };
                package.last_uj = Some(number(&package.counter)?);
                packages.push(package);
            }
        }
        if packages.is_empty() {
            return Err(NO_COUNTERS);
        }
        Ok(Self { packages })
    }

    /// Microjoules since the last reading. To be read at least once in the time that a counter takes to come round:
    /// at 250 W about 17 minutes for the usual 262 kJ.
    pub(super) fn take(&mut self) -> u64 {
        let taken = self.packages.iter_mut().map(Package::take);
        taken.fold(0, u64::saturating_add)
    }
}

impl Package {
    /// What cannot be read now is read next time, with all that came meanwhile.
    fn take(&mut self) -> u64 {
        let Ok(now) = number(&self.counter) else {
            return 0;
        };
        let Some(before) = self.last_uj.replace(now) else {
            return 0;
        };
        match now.checked_sub(before) {
            Some(taken) => taken,
            // It came round.
            None if before <= self.range_uj => now.saturating_add(self.range_uj - before),
            // It cannot have been there: whatever this counts, it is not what came since.
            None => 0,
        }
    }
}

/// Folders of top-level zones (`intel-rapl:0`), not of their parts (`intel-rapl:0:1`). AMD's packages go by Intel's
/// name too; `intel-rapl-mmio` shows the same packages a second time.
fn zones(powercap: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(powercap) else {
        return Vec::new();
    };
    let is_zone = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix("intel-rapl:"));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let paths = entries.take(ZONES_MAX).flatten().map(|entry| entry.path());
    let mut zones: Vec<_> = paths.filter(is_zone).collect();
    zones.sort();
    zones
}
