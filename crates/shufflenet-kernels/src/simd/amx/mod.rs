//! Products of bfloat16 in the tile registers of AMX, which Intel's servers have since Sapphire Rapids.
//!
//! A tile has 16 rows of 64 bytes. One instruction, `TDPBF16PS`, multiplies a tile of 16 rows and 32 terms by one of 32
//! terms and 16 columns and adds the 256 sums to a tile of float32 (Intel 64 and IA-32 Architectures Software
//! Developer's Manual, volume 1, chapter 18). It rounds to the nearest and takes subnormal numbers for zero.
//! [`crate::kernels::tiles`] describes how operands are laid out.
//!
//! All assembly of this crate is in this file. It is sound for these reasons:
//!
//! - A [`Tiles`] exists only after [`available`] found the instructions and the operating system's permission to use
//!   the registers. It cannot leave its thread. The first one of a thread configures the registers, and the last one
//!   releases them.
//! - [`Tiles::multiply`] checks the length of every operand. Tiles are whole, so nothing is read or written beyond them.
//! - The compiler itself never uses tile registers. Each block names those that it changes.

#[cfg(test)]
mod emulator;

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;

use half::bf16;

use crate::kernels::tiles::{BLOCK_VALUES, TILE_VALUES};

/// Whether this process may multiply with tiles. The first call asks the operating system for permission.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| processors() || emulated())
}

/// Whether this process may use tile registers of the processor.
fn processors() -> bool {
    static PROCESSORS: OnceLock<bool> = OnceLock::new();
    *PROCESSORS.get_or_init(|| processor_has_tiles() && permission())
}

/// Whether the tests emulate tiles, for want of the processor's or of permission.
#[cfg(test)]
pub(crate) fn emulated() -> bool {
    !processors() && emulator::install()
}

#[cfg(not(test))]
const fn emulated() -> bool {
    false
}

/// Whether the processor has AMX with bfloat16, in tiles of the size that this module assumes, and the operating system
/// saves their registers.
fn processor_has_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILE_AND_BF16: u32 = 1 << 24 | 1 << 22;
    const TILE_STATE: u64 = 0b11 << 17;
    let greatest = __cpuid(0).eax;
    if greatest < 0x1d
        || __cpuid(1).ecx & OSXSAVE == 0
        || __cpuid_count(7, 0).edx & TILE_AND_BF16 != TILE_AND_BF16
    {
        return false;
    }
    // SAFETY: OSXSAVE says that the operating system has enabled this instruction.
    if unsafe { _xgetbv(0) } & TILE_STATE != TILE_STATE {
        return false;
    }
    let palette = __cpuid_count(0x1d, 1);
    let (tile_bytes, row_bytes) = (palette.eax >> 16, palette.ebx & 0xffff);
    let (tiles, rows) = (palette.ebx >> 16, palette.ecx & 0xffff);
    (tile_bytes, row_bytes, rows) == (1024, 64, 16) && tiles >= 8
}

/// Asks Linux to let this process use the tile registers, whose 8 KiB it saves only for processes that ask (Linux,
/// `Documentation/arch/x86/xstate.rst`). A refusal means that there is no AMX. From then on a signal's frame takes 11
/// KiB, so the kernel refuses where a thread has a smaller stack for signals; Rust's threads have one that is large
/// enough.
fn permission() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const TILE_DATA: libc::c_ulong = 18;
    // SAFETY: the call reads no memory of this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

/// The tile registers of this thread, all of them whole tiles.
pub(crate) struct Tiles(PhantomData<*const ()>);

thread_local! {
    /// Number of the thread's [`Tiles`].
    static CONFIGURED: Cell<usize> = const { Cell::new(0) };
}

/// The operand of `LDTILECFG`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    /// Configures the registers. `None` if the process may not use them.
    pub fn configure() -> Option<Self> {
        if !available() {
            return None;
        }
        if CONFIGURED.replace(CONFIGURED.get() + 1) > 0 {
            return Some(Self(PhantomData));
        }
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        configuration.row_bytes[..8].fill(64);
        configuration.rows[..8].fill(16);
        // SAFETY: the instructions are available, and the configuration is valid for the palette that was checked.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const configuration,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly, preserves_flags)
            );
        }
        Some(Self(PhantomData))
    }

    /// Computes a block of 32 rows and 32 columns, `out (+)= left right`. Each side is two lines of tiles, with as many
    /// tiles as the terms of the sums fill.
    ///
    /// # Panics
    /// If the four lines differ in length, have no whole tile, or `out` is not a block.
    pub fn multiply(
        &self,
        left: [&[bf16]; 2],
        right: [&[bf16]; 2],
        out: &mut [f32],
        accumulate: bool,
    ) {
        let steps = left[0].len() / TILE_VALUES;
        assert!(steps > 0, "a line has a tile");
        for line in left.iter().chain(&right) {
            assert_eq!(line.len(), steps * TILE_VALUES, "lines of whole tiles");
        }
        assert_eq!(out.len(), BLOCK_VALUES);
        // SAFETY: each step reads one whole tile of each line, and there are `steps`. The results are four tiles of 16
        // rows, 128 bytes from row to row: exactly `out`. The registers are configured, because `self` exists.
        unsafe {
            asm!(
                "test {accumulate:e}, {accumulate:e}",
                "jz 2f",
                "tileloadd tmm0, [{out} + {out_row}*1]",
                "tileloadd tmm1, [{out} + {out_row}*1 + 64]",
                "tileloadd tmm2, [{out} + {out_row}*1 + 2048]",
                "tileloadd tmm3, [{out} + {out_row}*1 + 2112]",
                "jmp 3f",
                "2:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "3:",
                "tileloadd tmm4, [{left0} + {row}*1]",
                "tileloadd tmm6, [{right0} + {row}*1]",
                "tileloadd tmm5, [{left1} + {row}*1]",
                "tileloadd tmm7, [{right1} + {row}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {left0}, 1024",
                "add {left1}, 1024",
                "add {right0}, 1024",
                "add {right1}, 1024",
                "dec {steps}",
                "jnz 3b",
                "tilestored [{out} + {out_row}*1], tmm0",
                "tilestored [{out} + {out_row}*1 + 64], tmm1",
                "tilestored [{out} + {out_row}*1 + 2048], tmm2",
                "tilestored [{out} + {out_row}*1 + 2112], tmm3",
                accumulate = in(reg) u32::from(accumulate),
                out = in(reg) out.as_mut_ptr(),
                out_row = in(reg) 128_usize,
                row = in(reg) 64_usize,
                left0 = inout(reg) left[0].as_ptr() => _,
                left1 = inout(reg) left[1].as_ptr() => _,
                right0 = inout(reg) right[0].as_ptr() => _,
                right1 = inout(reg) right[1].as_ptr() => _,
                steps = inout(reg) steps => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack)
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        if CONFIGURED.replace(CONFIGURED.get() - 1) > 1 {
            return;
        }
        // SAFETY: the registers are configured. Without this, each switch to another thread would save them.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_that_end_at_the_end_of_memory_are_not_read_beyond() {
        let tiles = Tiles::configure().unwrap();
        let steps = 3;
        let line = steps * TILE_VALUES;
        let mut guarded = Guarded::new(4 * line * size_of::<bf16>() + BLOCK_VALUES * 4);
        let (operands, out) = guarded.split(4 * line);
        operands.fill(bf16::from_f32(0.5));
        let [left, right] =
            [0, 2].map(|first| [first, first + 1].map(|i| &operands[i * line..][..line]));
        tiles.multiply(left, right, out, false);
        assert!(out.iter().all(|x| *x == 0.25 * (steps * 32) as f32));
        tiles.multiply(right, left, out, true);
        assert!(out.iter().all(|x| *x == 0.5 * (steps * 32) as f32));
    }

    #[test]
    fn the_registers_stay_configured_until_the_last_user_is_done() {
        let left = [bf16::from_f32(0.5); TILE_VALUES];
        let mut out = [0.0; BLOCK_VALUES];
        let outer = Tiles::configure().unwrap();
        drop(Tiles::configure().unwrap());
        outer.multiply([&left; 2], [&left; 2], &mut out, false);
        assert!(out.iter().all(|x| *x == 8.0));
    }

    /// Memory whose last byte lies before a page that may not be accessed.
    struct Guarded {
        start: *mut u8,
        pages: usize,
        bytes: usize,
    }

    const PAGE: usize = 4096;

    impl Guarded {
        fn new(bytes: usize) -> Self {
            let pages = bytes.div_ceil(PAGE);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping, whose last page is taken away again.
            let start = unsafe {
                let all = (pages + 1) * PAGE;
                let start = libc::mmap(std::ptr::null_mut(), all, protection, kind, -1, 0);
                assert_ne!(start, libc::MAP_FAILED);
                let guard = start.add(pages * PAGE);
                assert_eq!(libc::mprotect(guard, PAGE, libc::PROT_NONE), 0);
                start.cast()
            };
            Self {
                start,
                pages,
                bytes,
            }
        }

        /// The last `bytes` of the memory: `values` bfloat16 values, and float32 values up to the end.
        fn split(&mut self, values: usize) -> (&mut [bf16], &mut [f32]) {
            let floats = (self.bytes - values * size_of::<bf16>()) / size_of::<f32>();
            // SAFETY: both are within the mapping, aligned, and apart.
            unsafe {
                let first = self.start.add(self.pages * PAGE - self.bytes);
                let behind = first.add(values * size_of::<bf16>());
                (
                    std::slice::from_raw_parts_mut(first.cast(), values),
                    std::slice::from_raw_parts_mut(behind.cast(), floats),
                )
            }
        }
    }

    impl Drop for Guarded {
        fn drop(&mut self) {
            // SAFETY: exactly the mapping.
            unsafe { libc::munmap(self.start.cast(), (self.pages + 1) * PAGE) };
        }
    }
}
