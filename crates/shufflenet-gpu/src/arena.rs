//! Many small tensors in one allocation.
//!
//! A launch reads few buffers ([`MOST_BUFFERS`](crate::MOST_BUFFERS)), so what moves all parameters of a network in few
//! launches needs their gradients in few buffers. Each operation writes the gradients of its parameters to one arena,
//! and its running statistics to another.

use std::cell::Cell;

use cubecl::prelude::*;

use crate::buffer::Buffer;

/// Every tensor in an arena begins at a multiple of this many values: 256 bytes, which every adapter accepts as the start
/// of a buffer's part.
pub const ALIGNMENT: usize = 64;

/// Values that a tensor of `len` values takes up in an arena.
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// One allocation, which is given away part by part.
pub struct Arena {
    whole: Buffer,
    used: Cell<usize>,
}

impl Arena {
    /// Memory for tensors of these numbers of values.
    pub fn new(client: &Client, lens: impl IntoIterator<Item = usize>) -> Self {
        let len = lens.into_iter().map(padded).sum();
        Self {
            whole: Buffer::empty(client, len),
            used: Cell::new(0),
        }
    }

    /// The next part, of `len` values. A tensor for which the arena has no room is an allocation of its own.
    pub fn take(&self, len: usize) -> Buffer {
        let start = self.used.get();
        let end = start + padded(len);
        if end > self.whole.len {
            return Buffer::empty(&self.whole.client, len);
        }
        self.used.set(end);
        self.whole.part(start, len)
    }
}
