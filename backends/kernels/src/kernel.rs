//! Which instructions are used: chosen once, from what the machine has.

use std::fmt;
use std::str::FromStr;

use crate::lanes::Lanes;
#[cfg(target_arch = "aarch64")]
use crate::lanes::neon::{DotProd, I8mm, Neon, Widening};
#[cfg(test)]
use crate::lanes::scalar::Plain;
use crate::lanes::scalar::Scalar;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{avx2::Avx2, avx512::Avx512};
#[cfg(target_arch = "x86_64")]
use crate::tiles::Amx;
#[cfg(test)]
use crate::tiles::Emulated;
#[cfg(any(test, target_arch = "x86_64"))]
use crate::tiles::Tiles;

/// An instruction set that the arithmetic is written for. A value exists only where the machine has
/// it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Set);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Set {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// Plain code, with tiles.
    #[cfg(test)]
    Tiles,
    /// AVX-512, with tiles in plain code.
    #[cfg(all(test, target_arch = "x86_64"))]
    Avx512Tiles,
    #[cfg(target_arch = "aarch64")]
    NeonPlain,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "aarch64")]
    NeonI8mm,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

/// A kernel was asked for that is not here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no kernel '{wanted}' on this machine; it has {here}")]
pub struct UnknownKernel {
    wanted: String,
    here: String,
}

/// Work that is written for any lanes.
pub(crate) trait Task {
    type Out;
    /// Must be inlined, as everything that it calls with lanes.
    fn run<L: Lanes>(self) -> Self::Out;
}

/// Work that is written for any lanes with any tiles.
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) trait TiledTask {
    /// Must be inlined, as everything that it calls with lanes.
    ///
    /// # Safety
    /// The machine has these tiles.
    unsafe fn run<L: Lanes, T: Tiles>(self);
}

struct IsWide;

impl Task for IsWide {
    type Out = bool;
    #[inline(always)]
    fn run<L: Lanes>(self) -> bool {
        L::WIDE
    }
}

impl Kernel {
    /// All that this machine can run, the fastest last.
    pub fn all() -> Vec<Self> {
        let here = Set::ALL.iter().filter(|set| set.is_here());
        here.map(|set| Self(*set)).collect()
    }

    /// The fastest one.
    pub fn best() -> Self {
        Self::all().pop().unwrap_or(Self(Set::Scalar))
    }

    /// The definition's own: plain code, on any machine.
    pub fn scalar() -> Self {
        Self(Set::Scalar)
    }

    /// As one names it.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Runs a task with this kernel's matrix tiles; says whether it has any.
    #[cfg(any(test, target_arch = "x86_64"))]
    #[inline]
    pub(crate) fn run_tiled<T: TiledTask>(self, task: T) -> bool {
        match self.0 {
            // SAFETY: this value exists only where the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Set::Amx => unsafe { with_avx512_and::<Amx, T>(task) },
            // SAFETY: likewise; and these tiles are plain code.
            #[cfg(all(test, target_arch = "x86_64"))]
            Set::Avx512Tiles => unsafe { with_avx512_and::<Emulated, T>(task) },
            // SAFETY: these tiles are plain code.
            #[cfg(test)]
            Set::Tiles => unsafe { task.run::<Plain<true>, Emulated>() },
            _ => return false,
        }
        true
    }

    /// Whether there are registers for larger tiles.
    pub(crate) fn is_wide(self) -> bool {
        self.run(IsWide)
    }

    /// Runs a task with this kernel's lanes.
    #[inline]
    pub(crate) fn run<T: Task>(self, task: T) -> T::Out {
        match self.0 {
            Set::Scalar => task.run::<Scalar>(),
            // SAFETY: this value exists only where the CPU has the instructions.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { with_avx2(task) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => unsafe { with_avx_vnni(task) },
            // SAFETY: likewise.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Amx => unsafe { with_avx512(task) },
            // SAFETY: likewise.
            #[cfg(all(test, target_arch = "x86_64"))]
            Set::Avx512Tiles => unsafe { with_avx512(task) },
            #[cfg(test)]
            Set::Tiles => task.run::<Plain<true>>(),
            #[cfg(target_arch = "aarch64")]
            Set::NeonPlain => task.run::<Neon<Widening>>(),
            // SAFETY: likewise.
            #[cfg(target_arch = "aarch64")]
            Set::Neon => unsafe { with_neon(task) },
            // SAFETY: likewise.
            #[cfg(target_arch = "aarch64")]
            Set::NeonI8mm => unsafe { with_neon_i8mm(task) },
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Set::Simd128 => task.run::<crate::lanes::simd128::Simd128>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
unsafe fn with_avx2<T: Task>(task: T) -> T::Out {
    task.run::<Avx2<false>>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c,avxvnni")]
unsafe fn with_avx_vnni<T: Task>(task: T) -> T::Out {
    task.run::<Avx2<true>>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
unsafe fn with_avx512<T: Task>(task: T) -> T::Out {
    task.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
unsafe fn with_avx512_and<M: Tiles, T: TiledTask>(task: T) {
    // SAFETY: the caller has these tiles.
    unsafe { task.run::<Avx512, M>() }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
unsafe fn with_neon<T: Task>(task: T) -> T::Out {
    task.run::<Neon<DotProd>>()
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn with_neon_i8mm<T: Task>(task: T) -> T::Out {
    task.run::<Neon<I8mm>>()
}

impl Set {
    const ALL: &[Self] = &[
        Self::Scalar,
        #[cfg(test)]
        Self::Tiles,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::AvxVnni,
        #[cfg(all(test, target_arch = "x86_64"))]
        Self::Avx512Tiles,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Amx,
        #[cfg(target_arch = "aarch64")]
        Self::NeonPlain,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        #[cfg(target_arch = "aarch64")]
        Self::NeonI8mm,
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Self::Simd128,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Amx => "amx",
            #[cfg(test)]
            Self::Tiles => "tiles",
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::Avx512Tiles => "avx512-tiles",
            #[cfg(target_arch = "aarch64")]
            Self::NeonPlain => "neon-plain",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => "neon-i8mm",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => "simd128",
        }
    }

    fn is_here(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c"),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_here() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_here()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512.is_here() && crate::tiles::is_here(),
            #[cfg(test)]
            Self::Tiles => true,
            #[cfg(all(test, target_arch = "x86_64"))]
            Self::Avx512Tiles => Self::Avx512.is_here(),
            // Every aarch64 that Rust's standard library runs on has NEON.
            #[cfg(target_arch = "aarch64")]
            Self::NeonPlain => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => {
                Self::Neon.is_here() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => true,
        }
    }
}

impl FromStr for Kernel {
    type Err = UnknownKernel;

    fn from_str(name: &str) -> Result<Self, UnknownKernel> {
        let all = Self::all();
        let found = all.iter().copied().find(|kernel| kernel.name() == name);
        found.ok_or_else(|| UnknownKernel {
            wanted: name.chars().take(40).collect(),
            here: all
                .iter()
                .map(|kernel| kernel.name())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
