//! Memory on a device.

use cubecl::prelude::*;
use cubecl::server::Handle;

/// Some float32 values on a device. A clone is the same memory.
#[derive(Clone)]
pub struct Buffer {
    /// The device.
    pub client: Client,
    /// The memory.
    pub handle: Handle,
    /// Number of values.
    pub len: usize,
}

impl Buffer {
    /// Memory for `len` values, which are not set.
    pub fn empty(client: &Client, len: usize) -> Self {
        let bytes = len * size_of::<f32>();
        Self {
            client: client.clone(),
            handle: client.empty(bytes),
            len,
        }
    }

    /// The `len` values from number `start` on, which is a multiple of [`ALIGNMENT`](crate::arena::ALIGNMENT).
    pub(crate) fn part(&self, start: usize, len: usize) -> Self {
        let bytes = |values: usize| (values * size_of::<f32>()) as u64;
        let behind = self.len - start - len;
        let handle = self.handle.clone();
        Self {
            client: self.client.clone(),
            handle: handle.offset_start(bytes(start)).offset_end(bytes(behind)),
            len,
        }
    }

    /// The buffer as an argument of a kernel that reads it in vectors of `width` values.
    pub(crate) fn arg(&self, width: usize) -> BufferArg {
        // SAFETY: the memory behind the handle has `len` values, whose number `width` divides.
        #[expect(unsafe_code, reason = "the length is that of the memory")]
        unsafe {
            BufferArg::from_raw_parts(self.handle.clone(), self.len / width)
        }
    }
}
