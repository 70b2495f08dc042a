//! Arithmetic that treats subnormal numbers as zero.
//!
//! A float32 below 1.18e-38 is subnormal: the processor keeps it with fewer digits. Some processors, Intel's
//! among them, compute with such numbers in microcode, up to a hundred times as slowly. Training produces
//! subnormal numbers: the momentum of a dead channel decays by a constant factor in every step, and products of
//! its values underflow long before it is zero. No result of training depends on numbers this small. So every
//! thread that computes for this project reads a subnormal operand as zero and writes a subnormal result as
//! zero. The mode is the bits FTZ and DAZ of MXCSR on x86-64, and FZ of FPCR on AArch64. On other processors
//! these functions do nothing.
//!
//! A thread that this project starts keeps the mode until it ends ([`flush_this_thread`]). A caller's thread has
//! the mode during a call and gets its own mode back afterwards ([`flushed`]).
//!
//! Rust's reference requires that the mode stays unchanged while Rust code runs, so that a compiler may evaluate
//! arithmetic in advance. A constant that the compiler evaluates may therefore be subnormal where the processor
//! would compute zero. Today's compilers draw no other conclusion from the rule, and this project has no such
//! constants.

/// Calls `work` on this thread and treats subnormal numbers as zero meanwhile. The thread gets its own mode back
/// afterwards, also after a panic.
pub fn flushed<R>(work: impl FnOnce() -> R) -> R {
    let _restored = Restored(control::flush());
    work()
}

/// Treats subnormal numbers as zero on this thread until it ends.
pub fn flush_this_thread() {
    control::flush();
}

/// Restores the thread's control register when dropped.
struct Restored(control::Register);

impl Drop for Restored {
    fn drop(&mut self) {
        control::restore(self.0);
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    pub(crate) type Register = u32;

    /// FTZ, bit 15, flushes results; DAZ, bit 6, flushes operands (Intel's manual, volume 1, section 10.2.3).
    const FLUSH: Register = 1 << 15 | 1 << 6;

    /// Sets the mode. Returns the register's value before.
    pub(crate) fn flush() -> Register {
        let mut before: Register = 0;
        // SAFETY: stores MXCSR into `before`, which is four bytes large.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut before, options(nostack, preserves_flags)) };
        if before & FLUSH != FLUSH {
            write(before | FLUSH);
        }
        before
    }

    /// Sets the register to a value that [`flush`] returned.
    pub(crate) fn restore(before: Register) {
        if before & FLUSH != FLUSH {
            write(before);
        }
    }

    fn write(value: Register) {
        // SAFETY: the value is one of MXCSR's with at most FTZ and DAZ added, which every x86-64 processor has.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &value, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    pub(crate) type Register = u64;

    /// FZ, bit 24, flushes operands and results (Arm's manual, register FPCR).
    const FLUSH: Register = 1 << 24;

    /// Sets the mode. Returns the register's value before.
    pub(crate) fn flush() -> Register {
        let before: Register;
        // SAFETY: reads FPCR.
        unsafe { asm!("mrs {}, fpcr", out(reg) before, options(nomem, nostack, preserves_flags)) };
        if before & FLUSH == 0 {
            write(before | FLUSH);
        }
        before
    }

    /// Sets the register to a value that [`flush`] returned.
    pub(crate) fn restore(before: Register) {
        if before & FLUSH == 0 {
            write(before);
        }
    }

    fn write(value: Register) {
        // SAFETY: the value is one of FPCR's with at most FZ added.
        unsafe { asm!("msr fpcr, {}", in(reg) value, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    /// Nothing to restore.
    #[derive(Clone, Copy)]
    pub(crate) struct Register;

    pub(crate) fn flush() -> Register {
        Register
    }

    pub(crate) fn restore(_before: Register) {}
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests {
    use std::hint::black_box;
    use std::panic::catch_unwind;

    use super::*;

    /// Whether this thread computes subnormal results.
    fn keeps_subnormals() -> bool {
        black_box(f32::MIN_POSITIVE) * black_box(0.5) > 0.0
    }

    #[test]
    fn operands_and_results_are_flushed_during_the_call_alone() {
        let subnormal = black_box(1e-39f32);
        assert!(keeps_subnormals() && subnormal * black_box(4e3) > 1e-36);
        flushed(|| {
            assert!(!keeps_subnormals());
            assert_eq!(subnormal * black_box(4e3), 0.0, "an operand");
            // A call within a call leaves the outer one as it is.
            flushed(|| assert!(!keeps_subnormals()));
            assert!(!keeps_subnormals());
        });
        assert!(keeps_subnormals());
    }

    #[test]
    fn a_panic_restores_the_mode() {
        assert!(catch_unwind(|| flushed(|| panic!("on purpose"))).is_err());
        assert!(keeps_subnormals());
    }

    #[test]
    fn a_thread_keeps_the_mode_for_its_life() {
        let thread = std::thread::spawn(|| {
            flush_this_thread();
            !keeps_subnormals()
        });
        assert!(thread.join().unwrap());
        assert!(keeps_subnormals());
    }
}
