//! Memory on a device, with the number and the type of the values in it.

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::stored::Stored;
use crate::traffic;

/// Some values on a device. A clone is the same memory.
#[derive(Clone)]
pub struct Buffer {
    /// The device.
    pub client: Client,
    /// The memory.
    pub handle: Handle,
    /// Number of values.
    pub len: usize,
    /// What the values are stored as.
    pub stored: Stored,
}

impl Buffer {
    /// Memory for `len` float32 values, which are not set.
    pub fn empty(client: &Client, len: usize) -> Self {
        Self::map(client, len, Stored::F32)
    }

    /// Memory for `len` values of maps, which are not set.
    pub fn map(client: &Client, len: usize, stored: Stored) -> Self {
        let values = if traffic::is_rehearsed() { 1 } else { len };
        Self {
            client: client.clone(),
            handle: client.empty(stored.bytes(values)),
            len,
            stored,
        }
    }

    /// The `len` float32 values from number `start` on, which is a multiple of [`ALIGNMENT`](crate::arena::ALIGNMENT).
    pub(crate) fn part(&self, start: usize, len: usize) -> Self {
        let bytes = |values: usize| (values * size_of::<f32>()) as u64;
        let behind = self.len - start - len;
        let handle = self.handle.clone();
        Self {
            client: self.client.clone(),
            handle: handle.offset_start(bytes(start)).offset_end(bytes(behind)),
            len,
            stored: Stored::F32,
        }
    }

    /// The buffer as an argument of a kernel that reads it in vectors of `width` values.
    pub(crate) fn arg(&self, width: usize) -> BufferArg {
        // SAFETY: the memory behind the handle has `len` values in whole words, and `width` divides their number or is
        // that of a word.
        #[expect(unsafe_code, reason = "the length is that of the memory")]
        unsafe {
            BufferArg::from_raw_parts(self.handle.clone(), self.len.div_ceil(width))
        }
    }
}
