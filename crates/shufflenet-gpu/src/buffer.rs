//! Memory on a device.

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::traffic;

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
        let values = if traffic::is_rehearsed() { 1 } else { len };
        let bytes = values * size_of::<f32>();
        Self {
            client: client.clone(),
            handle: client.empty(bytes),
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
