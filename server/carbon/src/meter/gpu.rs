//! The energy counters of GPUs, beside whatever measures the rest.

use std::fmt;

/// A GPU's counter.
pub trait Gpu: fmt::Debug + Send {
    /// Millijoules since its driver was loaded. None if it does not say.
    fn energy_mj(&mut self) -> Option<u64>;
}

/// All of a machine's.
#[derive(Debug, Default)]
pub struct Gpus(Vec<(Box<dyn Gpu>, Option<u64>)>);

impl Gpus {
    /// These, as far as they say anything.
    pub fn of(gpus: Vec<Box<dyn Gpu>>) -> Self {
        let started = gpus.into_iter().filter_map(|mut gpu| {
            let now = gpu.energy_mj()?;
            Some((gpu, Some(now)))
        });
        Self(started.collect())
    }

    /// NVIDIA's, by the driver's library. Untested.
    #[cfg(feature = "nvml")]
    pub fn of_nvidia() -> Self {
        nvidia::all().map(Self::of).unwrap_or_default()
    }

    /// None: this program was built without the feature `nvml`.
    #[cfg(not(feature = "nvml"))]
    pub fn of_nvidia() -> Self {
        Self::default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Microjoules since the last reading. A counter that went back began anew with its driver.
    pub(super) fn take(&mut self) -> u64 {
        let taken = self.0.iter_mut().map(|(gpu, last)| {
            let Some(now) = gpu.energy_mj() else {
                return 0;
            };
            let before = last.replace(now).unwrap_or(now);
            now.saturating_sub(before).saturating_mul(1_000)
        });
        taken.fold(0, u64::saturating_add)
    }
}

#[cfg(feature = "nvml")]
mod nvidia {
    //! `nvmlDeviceGetTotalEnergyConsumption`, which Volta and later have.

    use std::sync::Arc;

    use nvml_wrapper::Nvml;

    use super::Gpu;

    #[derive(Debug)]
    struct Nvidia {
        library: Arc<Nvml>,
        index: u32,
    }

    impl Gpu for Nvidia {
        fn energy_mj(&mut self) -> Option<u64> {
            let device = self.library.device_by_index(self.index).ok()?;
            device.total_energy_consumption().ok()
        }
    }

    pub(super) fn all() -> Option<Vec<Box<dyn Gpu>>> {
        let library = Arc::new(Nvml::init().ok()?);
        let count = library.device_count().ok()?.min(64);
        let gpu = |index| {
            let library = Arc::clone(&library);
            Box::new(Nvidia { library, index }) as Box<dyn Gpu>
        };
        Some((0..count).map(gpu).collect())
    }
}
