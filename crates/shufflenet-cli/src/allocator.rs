//! The allocator: mimalloc, a C library that the feature `mimalloc` compiles. Without the feature it is the system's.
//!
//! Training allocates and frees the same large tensors every step; mimalloc hands the same pages out again, where the system's
//! allocator returns them to the kernel and has them zeroed.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// mimalloc would give memory back after ten milliseconds of rest, a tenth of a step, and have the
/// kernel zero it again at the next.
#[expect(unsafe_code, reason = "an option of a C library")]
pub fn keep_memory() {
    /// `mi_option_purge_delay` of mimalloc.h, which the binding leaves out.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: mimalloc takes any value of this option; a negative one means never.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
