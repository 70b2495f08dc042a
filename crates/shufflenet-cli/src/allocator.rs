//! The allocator: mimalloc, a C library that the feature `mimalloc` compiles. Without the feature it is the system's
//! allocator.
//!
//! Training allocates and frees the same large tensors in every step. mimalloc reuses the same pages. The system's
//! allocator returns them to the kernel, which must zero them before the next use.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps unused memory. By default mimalloc returns memory to the kernel after ten milliseconds without use, a
/// tenth of a step, and the kernel would zero it again for the next step.
#[expect(unsafe_code, reason = "an option of a C library")]
pub fn keep_memory() {
    /// `mi_option_purge_delay` of mimalloc.h, which the binding leaves out.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: mimalloc accepts any value of this option. A negative value means never.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
