//! When this machine works for other nodes: on mains or with charge enough, not over a metered network, not while its
//! owner needs it. It works for its owner always.

use std::time::Duration;

use crate::meter::{Roots, text_of};

/// Whether it works for others at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contribute {
    /// Whatever the machine's state.
    Always,
    /// As the rest of the policy says.
    Auto,
    /// Never.
    Never,
}

/// What the owner chose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Whether at all.
    pub contribute: Contribute,
    /// Least charge of the battery, in percent, while it feeds the machine; 101 for never on battery.
    pub battery_percent_min: u8,
    /// Whether the network costs by volume, as the owner says.
    pub metered: bool,
    /// Most threads that others than this node keep busy; none for any number.
    pub busy_threads_max: Option<f64>,
}

/// The machine's power, as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PowerState {
    /// Whether a battery feeds it.
    pub on_battery: bool,
    /// How full the batteries are, in percent; none where there is none.
    pub battery_percent: Option<u8>,
    /// Threads that others than this node keep busy, over about a minute; none where that is not known.
    pub busy_threads: Option<f64>,
}

impl Policy {
    /// Why it works for nobody else now, if it does not.
    pub fn withholds(&self, state: &PowerState, metered: bool) -> Option<&'static str> {
        match self.contribute {
            Contribute::Always => return None,
            Contribute::Never => return Some("its owner lets it work for nobody else"),
            Contribute::Auto => {}
        }
        if metered || self.metered {
            return Some("its network is metered");
        }
        let low = state
            .battery_percent
            .is_none_or(|percent| percent < self.battery_percent_min);
        if state.on_battery && low {
            return Some("it runs on battery");
        }
        let busy = self.busy_threads_max.zip(state.busy_threads);
        if busy.is_some_and(|(most, busy)| busy > most) {
            return Some("its owner uses it");
        }
        None
    }
}

/// Looks at the machine's power again and again.
#[derive(Clone, Debug)]
pub struct Power {
    roots: Roots,
    /// Threads of this process that were busy, smoothed as the system smooths its load; and when that was looked at.
    own: Option<(f64, Duration, Duration)>,
}

/// Of the system's load over one minute (proc_loadavg(5)).
const SMOOTHING: Duration = Duration::from_secs(60);

impl Power {
    /// Of this machine.
    pub fn new(roots: Roots) -> Self {
        Self { roots, own: None }
    }

    /// As of now; `cpu` is the processor time that this process has used.
    pub fn look(&mut self, now: Duration, cpu: Duration) -> PowerState {
        let own = self.own(now, cpu);
        let class = &self.roots.class;
        let load = text_of(&self.roots.proc.join("loadavg"));
        let load = load.and_then(|text| text.split_ascii_whitespace().next()?.parse::<f64>().ok());
        PowerState {
            on_battery: crate::meter::is_on_battery(class),
            battery_percent: crate::meter::battery_percent(class),
            busy_threads: load.map(|load| (load - own).max(0.0)),
        }
    }

    fn own(&mut self, now: Duration, cpu: Duration) -> f64 {
        let (before, looked, used) = self.own.unwrap_or((0.0, now, cpu));
        let took = now.saturating_sub(looked).as_secs_f64();
        let busy = cpu.saturating_sub(used).as_secs_f64();
        let smoothed = if took > 0.0 {
            let kept = (-took / SMOOTHING.as_secs_f64()).exp();
            before * kept + busy / took * (1.0 - kept)
        } else {
            before
        };
        self.own = Some((smoothed, now, cpu));
        smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        contribute: Contribute::Auto,
        battery_percent_min: 60,
        metered: false,
        busy_threads_max: Some(1.5),
    };

    #[test]
    fn every_rule_alone_withholds() {
        let mains = PowerState::default();
        assert_eq!(POLICY.withholds(&mains, false), None);
        assert_eq!(
            POLICY.withholds(&mains, true),
            Some("its network is metered")
        );
        let battery = |percent| PowerState {
            on_battery: true,
            battery_percent: percent,
            busy_threads: None,
        };
        assert_eq!(POLICY.withholds(&battery(Some(60)), false), None);
        for state in [battery(Some(59)), battery(None)] {
            assert_eq!(POLICY.withholds(&state, false), Some("it runs on battery"));
        }
        let busy = |threads| PowerState {
            busy_threads: Some(threads),
            ..PowerState::default()
        };
        assert_eq!(POLICY.withholds(&busy(1.5), false), None);
        assert_eq!(
            POLICY.withholds(&busy(1.6), false),
            Some("its owner uses it")
        );
        let always = Policy {
            contribute: Contribute::Always,
            ..POLICY
        };
        assert_eq!(always.withholds(&battery(Some(1)), true), None);
        let never = Policy {
            contribute: Contribute::Never,
            ..POLICY
        };
        assert!(never.withholds(&mains, false).is_some());
    }

    #[test]
    fn the_nodes_own_work_is_not_its_owners() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(dir.path().join("loadavg"), "3.50 1.00 0.50 1/100 7\n").expect("written");
        let mut power = Power::new(Roots {
            class: dir.path().to_owned(),
            proc: dir.path().to_owned(),
        });
        let s = Duration::from_secs;
        let first = power.look(s(0), s(0));
        assert_eq!(first.busy_threads, Some(3.5));
        // Two threads of its own for ten minutes.
        let mut state = first;
        for minute in 1..=10 {
            state = power.look(s(60 * minute), s(120 * minute));
        }
        let others = state.busy_threads.expect("it is known");
        assert!((others - 1.5).abs() < 0.01, "{others}");
    }
}
