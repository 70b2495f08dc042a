//! A pool of reused buffers: a training step needs the same sizes as the step before it.
//!
//! The operating system zeroes a fresh allocation of this size page by page. That takes 11 ms for
//! 44 MB; writing to a buffer of the pool takes 3 ms. So a dropped buffer goes back to the pool, and
//! the next buffer of its size is taken from there. The storage of a tensor is such a buffer too, and returns
//! when the tensor is dropped.
//!
//! The pool keeps, of each size, at most as many buffers as were in use at once.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

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
pub struct Buffer<T: Stored = f32> {
    storage: Storage,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Stored> Buffer<T> {
    /// Bytes of a cache line, which buffers are aligned to.
    pub const ALIGNMENT: usize = align_of::<Line>();

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

    /// All of the storage: the values, and what is left of the last cache line.
    pub fn storage(&self) -> &[MaybeUninit<u8>] {
        let bytes = size_of_val(&self.storage[..]);
        // SAFETY: exactly the storage.
        unsafe { std::slice::from_raw_parts(self.storage.as_ptr().cast(), bytes) }
    }

    /// The storage, writable.
    ///
    /// # Safety
    /// The caller writes initialised bytes only.
    pub unsafe fn storage_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let bytes = size_of_val(&self.storage[..]);
        // SAFETY: exactly the storage, which stays initialised by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.storage.as_mut_ptr().cast(), bytes) }
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
        drop(buffer);
        let again = Buffer::<f32>::any(ODD);
        assert_eq!((again.as_ptr(), again[ODD - 1]), (place, 5.0));
        assert!(Buffer::<f32>::zeros(ODD).iter().all(|x| *x == 0.0));
    }
}
