//! What the batteries give, where they feed the machine (`Documentation/ABI/testing/sysfs-class-power`). That is all
//! of it: the screen too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{MeterError, number, text};

const NO_BATTERY: MeterError = MeterError::Absent("battery that says what it gives");
const SUPPLIES_MAX: usize = 64;
/// Some batteries take tens of milliseconds to answer.
const READ_EVERY: Duration = Duration::from_secs(1);
/// A longer stretch than this (a machine that slept) is not filled with what was drawn at its ends.
const GAP_MAX: Duration = Duration::from_secs(120);

/// All batteries of the machine.
#[derive(Debug)]
pub struct Battery {
    folders: Vec<PathBuf>,
    /// Microwatts at the last reading, and when that was.
    drawn: (u64, Option<Duration>),
    counted: Option<Duration>,
}

impl Battery {
    /// The batteries below `class/power_supply`.
    ///
    /// # Errors
    /// When there is none that says what it gives.
    pub fn open(class: &Path) -> Result<Self, MeterError> {
        let entries = std::fs::read_dir(class.join("power_supply"));
        let entries = entries.map_err(|_| NO_BATTERY)?;
        let paths = entries
            .take(SUPPLIES_MAX)
            .flatten()
            .map(|entry| entry.path());
        let is_battery = |path: &PathBuf| {
            let is_one = text(&path.join("type")).is_ok_and(|kind| kind == "Battery");
            // A mouse has one too.
            let feeds_all = text(&path.join("scope")).map_or(true, |scope| scope != "Device");
            is_one && feeds_all && power_uw(path).is_some()
        };
        let mut folders: Vec<_> = paths.filter(is_battery).collect();
        folders.sort();
        if folders.is_empty() {
            return Err(NO_BATTERY);
        }
        Ok(Self {
            folders,
            drawn: (0, None),
            counted: None,
        })
    }

    /// Microjoules since the last reading; nothing while the batteries are charged or full.
    pub(super) fn take(&mut self, now: Duration) -> u64 {
        let before = self.counted.replace(now).unwrap_or(now);
        let (drawn, read) = self.drawn;
        if read.is_none_or(|read| now.saturating_sub(read) >= READ_EVERY) {
            let giving = self.folders.iter().filter(|folder| is_discharging(folder));
            let all = giving.filter_map(|folder| power_uw(folder));
            self.drawn = (all.fold(0, u64::saturating_add), Some(now));
        }
        let took = now.saturating_sub(before);
        if took > GAP_MAX {
            return 0;
        }
        let mean_uw = (drawn as f64 + self.drawn.0 as f64) / 2.0;
        (mean_uw * took.as_secs_f64()) as u64
    }
}

fn is_discharging(folder: &Path) -> bool {
    text(&folder.join("status")).is_ok_and(|status| status == "Discharging")
}

/// Microwatts: as they are said, or from microvolts and microamperes. Some drivers give what is drawn a minus sign.
fn power_uw(folder: &Path) -> Option<u64> {
    let value = |name: &str| {
        let text = text(&folder.join(name)).ok()?;
        text.trim_start_matches('-').parse::<u64>().ok()
    };
    value("power_now").or_else(|| {
        let (volts, amperes) = (value("voltage_now")?, value("current_now")?);
        u64::try_from(u128::from(volts) * u128::from(amperes) / 1_000_000).ok()
    })
}

/// How full the batteries are together, in percent, as they say it.
pub(crate) fn percent(class: &Path) -> Option<u8> {
    let battery = Battery::open(class).ok()?;
    let each = battery.folders.iter();
    let levels: Vec<u64> = each
        .filter_map(|folder| number(&folder.join("capacity")).ok())
        .map(|percent| percent.min(100))
        .collect();
    let count = u64::try_from(levels.len())
        .ok()
        .filter(|count| *count > 0)?;
    u8::try_from(levels.iter().sum::<u64>() / count).ok()
}

/// Whether a battery feeds the machine now.
pub(crate) fn is_feeding(class: &Path) -> bool {
    let mains = std::fs::read_dir(class.join("power_supply"));
    let paths = mains.into_iter().flatten().take(SUPPLIES_MAX).flatten();
    let is_on = |folder: PathBuf| {
        let is_mains = text(&folder.join("type"))
            .is_ok_and(|kind| matches!(kind.as_str(), "Mains" | "USB" | "Wireless"));
        is_mains && number(&folder.join("online")).is_ok_and(|online| online > 0)
    };
    if paths.map(|entry| entry.path()).any(is_on) {
        return false;
    }
    let battery = Battery::open(class).ok();
    battery.is_some_and(|battery| battery.folders.iter().any(|folder| is_discharging(folder)))
}
