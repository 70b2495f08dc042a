//! Prefetching what the next product reads while this one computes.

use crate::simd::Simd;
use crate::simd::stored::Stored;

/// Bytes to prefetch.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ahead<'a>(&'a [u8]);

impl<'a> Ahead<'a> {
    pub const NONE: [Ahead<'static>; 2] = [Ahead(&[]); 2];

    /// The storage of `values`.
    pub fn of<T: Stored>(values: &'a [T]) -> Self {
        // SAFETY: exactly the storage; a stored type is a number without padding.
        Self(unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) })
    }
}

/// Bytes that are prefetched a few at a time, because memory serves only a few requests at once.
pub(crate) struct Fetch<'a> {
    rest: &'a [u8],
    /// Bytes per call of [`Self::fetch`].
    share: usize,
}

/// Bytes in a cache line.
const LINE: usize = 64;

impl<'a> Fetch<'a> {
    /// All of `bytes` in `times` calls.
    #[inline(always)]
    pub fn new(Ahead(bytes): Ahead<'a>, times: usize) -> Self {
        Self {
            rest: bytes,
            share: bytes.len().div_ceil(times * LINE) * LINE,
        }
    }

    /// Prefetches the next share to the second-level cache.
    #[inline(always)]
    pub fn fetch<S: Simd>(&mut self, s: S) {
        let (now, rest) = self.rest.split_at(self.share.min(self.rest.len()));
        for line in now.chunks(LINE) {
            s.prefetch_far(line.as_ptr());
        }
        self.rest = rest;
    }
}
