//! The instructions themselves, and whether this machine lets us use them.
//!
//! Rust 1.95 has no stable intrinsics for them. None of the assembly is `nomem` where it touches
//! memory, and none is `pure`: it stays in order, and the compiler writes to memory what is read.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

use super::check::are_right;
use super::{LINE, Shapes, Sums, Tiles};

/// This thread's tile registers.
pub(crate) struct Amx(());

impl Tiles for Amx {
    #[inline(always)]
    unsafe fn configure(shapes: &Shapes) -> Self {
        // SAFETY: the caller has the instructions; the 64 bytes say what palette 1 allows.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) shapes, options(readonly, nostack, preserves_flags));
        }
        Self(())
    }

    #[inline(always)]
    unsafe fn load<const TILE: u8>(&mut self, from: *const i8, stride: usize) {
        // SAFETY: the caller has the memory that the tile's shape asks for; the tile is configured.
        unsafe {
            asm!(
                "tileloadd tmm{tile}, [{from} + {stride} * 1]",
                tile = const TILE,
                from = in(reg) from,
                stride = in(reg) stride,
                options(readonly, nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn zero<const TILE: u8>(&mut self) {
        // SAFETY: the tile is configured.
        unsafe {
            asm!("tilezero tmm{}", const TILE, options(nomem, nostack, preserves_flags));
        }
    }

    #[inline(always)]
    fn multiply<const SUMS: u8, const A: u8, const B: u8>(&mut self) {
        // SAFETY: the tiles are configured with shapes that go together.
        unsafe {
            asm!(
                "tdpbssd tmm{}, tmm{}, tmm{}",
                const SUMS,
                const A,
                const B,
                options(nomem, nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn store<const TILE: u8>(&self, to: &mut Sums) {
        // SAFETY: the tile is configured, and at most as large as `Sums`.
        unsafe {
            asm!(
                "tilestored [{to} + {stride} * 1], tmm{tile}",
                tile = const TILE,
                to = in(reg) to,
                stride = in(reg) LINE,
                options(nostack, preserves_flags),
            );
        }
    }
}

impl Drop for Amx {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: it was made where the instructions are. Tiles left behind would slow down every
        // change to another thread.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// Whether the machine has the instructions, the system grants them, and they compute what they
/// should. Asked once.
pub(crate) fn is_here() -> bool {
    static IS_HERE: OnceLock<bool> = OnceLock::new();
    // SAFETY: the instructions are used only if both questions before were answered with yes.
    *IS_HERE
        .get_or_init(|| cpu_has_tiles() && system_grants_tiles() && unsafe { are_right::<Amx>() })
}

/// CPUID names tiles and their products of bytes, and the system saves them between threads.
fn cpu_has_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
    const CONFIGURATION_AND_DATA: u64 = 1 << 17 | 1 << 18;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: the bit just seen says that the instruction is allowed.
    let saved = unsafe { _xgetbv(0) };
    __cpuid_count(7, 0).edx & TILE_AND_INT8 == TILE_AND_INT8
        && saved & CONFIGURATION_AND_DATA == CONFIGURATION_AND_DATA
}

/// Asks Linux to let this process use tiles, which takes more memory to save a thread's state.
#[cfg(target_os = "linux")]
fn system_grants_tiles() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: this call reads and writes no memory of ours; the kernel changes these registers only.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Only Linux's way is known here.
#[cfg(not(target_os = "linux"))]
fn system_grants_tiles() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_tiles_grants_none() {
        assert!(cpu_has_tiles() || !system_grants_tiles());
        assert!(cpu_has_tiles() || !is_here());
    }
}
