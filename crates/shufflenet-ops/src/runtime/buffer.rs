//! A pool of reused buffers: a training step needs the same sizes as the step before it.
//!
//! The operating system zeroes a fresh allocation of this size page by page. That takes 11 ms for
//! 44 MB; writing to a buffer of the pool takes 3 ms. So a dropped buffer goes back to the pool, and
//! the next buffer of its size is taken from there. The storage of a tensor is such a buffer too
//! ([`Buffer::into_bytes`]) and returns when Burn drops the tensor.
//!
//! The pool keeps, of each size, at most as many buffers as were in use at once.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use burn::tensor::Bytes;
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};

use crate::simd::stored::Stored;

/// A cache line, which is also an AVX-512 vector. Rows are aligned to it.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; FLOATS]);

const FLOATS: usize = 16;

type Storage = Vec<Line>;

/// Free buffers, by their number of lines.
static POOL: Mutex<Option<HashMap<usize, Vec<Storage>>>> = Mutex::new(None);

/// Values, aligned to a cache line. The buffer returns to the pool when dropped.
pub(crate) struct Buffer<T: Stored = f32> {
    storage: Storage,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Stored> Buffer<T> {
    /// `len` unspecified values: what an earlier user left, or zeros.
    pub fn any(len: usize) -> Self {
        let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut pool = POOL.lock().unwrap_or_else(|broken| broken.into_inner());
        let reused = pool
            .get_or_insert_default()
            .get_mut(&lines)
            .and_then(Vec::pop);
        drop(pool);
        Self {
            storage: reused.unwrap_or_else(|| vec![Line([0.0; FLOATS]); lines]),
            len,
            values: PhantomData,
        }
    }

    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::any(len);
        buffer.fill(T::ZERO);
        buffer
    }

    /// The buffer as the storage of a tensor of `len` values.
    pub fn into_bytes(self) -> Bytes {
        let bytes = self.len * size_of::<T>();
        // SAFETY: all of the storage is initialised numbers, so its first `bytes` bytes are initialised too.
        unsafe { Bytes::from_controller(Box::new(self), bytes) }
    }

    fn as_bytes(&self) -> (*const MaybeUninit<u8>, usize) {
        (self.storage.as_ptr().cast(), size_of_val(&self.storage[..]))
    }
}

impl<T: Stored> Drop for Buffer<T> {
    fn drop(&mut self) {
        let storage = std::mem::take(&mut self.storage);
        let mut pool = POOL.lock().unwrap_or_else(|broken| broken.into_inner());
        let at_rest = pool.get_or_insert_default();
        at_rest.entry(storage.len()).or_default().push(storage);
    }
}

impl<T: Stored> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: a `Line` is sixteen floats without padding, any bits are a `T`, and `len` was rounded up to lines.
        unsafe { std::slice::from_raw_parts(self.storage.as_ptr().cast(), self.len) }
    }
}

impl<T: Stored> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.storage.as_mut_ptr().cast(), self.len) }
    }
}

/// Lets a tensor hold a buffer and return it to the pool. Burn copies a buffer that it must grow or detach.
impl<T: Stored> AllocationController for Buffer<T> {
    fn alloc_align(&self) -> usize {
        align_of::<Line>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _policy: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let (_, bytes) = self.as_bytes();
        // SAFETY: exactly the storage; the caller promises to write initialised bytes only.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.storage.as_mut_ptr().cast(), bytes) })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let (start, bytes) = self.as_bytes();
        // SAFETY: exactly the storage.
        Ok(unsafe { std::slice::from_raw_parts(start, bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A size that no other test takes, so that only this test uses the pool's buffers of this size.
    const ODD: usize = 77_773;

    #[test]
    fn a_dropped_buffer_serves_again() {
        let mut buffer = Buffer::<f32>::any(ODD);
        buffer[ODD - 1] = 5.0;
        let place = buffer.as_ptr();
        assert!(place.addr().is_multiple_of(64));
        drop(buffer.into_bytes());
        let again = Buffer::<f32>::any(ODD);
        assert_eq!((again.as_ptr(), again[ODD - 1]), (place, 5.0));
        assert!(Buffer::<f32>::zeros(ODD).iter().all(|x| *x == 0.0));
    }
}
