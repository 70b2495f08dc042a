//! Buffers of the kernels as storage of tensors, which return to their pool when Burn drops the tensor.

use std::mem::MaybeUninit;

use burn::tensor::Bytes;
use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty};
use shufflenet_kernels::{Buffer, Stored};

/// The storage of a tensor of the buffer's values.
pub(crate) fn bytes<T: Stored>(buffer: Buffer<T>) -> Bytes {
    let len = size_of_val(&buffer[..]);
    // SAFETY: all of a buffer's storage is initialised numbers, so its first `len` bytes are initialised too.
    unsafe { Bytes::from_controller(Box::new(Storage(buffer)), len) }
}

/// Lets a tensor hold a buffer. Burn copies a buffer that it must grow or detach.
struct Storage<T: Stored>(Buffer<T>);

impl<T: Stored> AllocationController for Storage<T> {
    fn alloc_align(&self) -> usize {
        Buffer::<T>::ALIGNMENT
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _policy: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        // SAFETY: the caller promises to write initialised bytes only.
        Ok(unsafe { self.0.storage_mut() })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        Ok(self.0.storage())
    }
}
