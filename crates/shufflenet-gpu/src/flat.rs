//! Many tensors as one, so that few launches serve all parameters of a network.
//!
//! [`gather`] puts tensors one behind the other. Each begins at a multiple of [`ALIGNMENT`] values, and zeros fill the
//! gaps. What is computed of the whole elementwise is [`split`] again without a copy. So from the second step on the
//! weights lie behind each other already, and gathering them takes no launch.
//!
//! Gradients lie in one allocation for each operation of the network ([`crate::arena`]). A launch reads from
//! [`MOST_SOURCES`] allocations.

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::arena::{ALIGNMENT, padded};
use crate::buffer::Buffer;
use crate::stored::Stored;
use crate::{traffic, vector};

/// Allocations that a launch reads from.
pub const MOST_SOURCES: usize = 6;

/// Threads of a workgroup.
const THREADS: u32 = 256;

/// Words that describe the copy of a chunk: the number of its first value in the result, that in the source, the number of
/// the source, and how many values are copied. Zeros fill the rest of the chunk.
const WORDS: usize = 4;

#[cube(launch_unchecked)]
fn gather_chunks(
    copies: &[u32],
    source0: &[f32],
    source1: &[f32],
    source2: &[f32],
    source3: &[f32],
    source4: &[f32],
    source5: &[f32],
    out: &mut [f32],
    chunks: usize,
) {
    let chunk = ABSOLUTE_POS / ALIGNMENT;
    let place = ABSOLUTE_POS % ALIGNMENT;
    if chunk < chunks {
        let to = copies[chunk * WORDS] as usize + place;
        let from = copies[chunk * WORDS + 1] as usize + place;
        let source = copies[chunk * WORDS + 2];
        let mut value = 0.0f32;
        if place < copies[chunk * WORDS + 3] as usize {
            if source == 0 {
                value = source0[from];
            } else if source == 1 {
                value = source1[from];
            } else if source == 2 {
                value = source2[from];
            } else if source == 3 {
                value = source3[from];
            } else if source == 4 {
                value = source4[from];
            } else {
                value = source5[from];
            }
        }
        out[to] = value;
    }
}

/// Values of the tensors of these sizes together.
pub fn len(lens: impl IntoIterator<Item = usize>) -> usize {
    lens.into_iter().map(padded).sum()
}

/// The tensors one behind the other. It takes no launch if they lie so already.
///
/// # Panics
/// If there is no tensor.
pub fn gather(tensors: &[Buffer]) -> Buffer {
    let client = &tensors[0].client;
    if let Some(flat) = gathered(tensors) {
        return flat;
    }
    let out = Buffer::empty(client, len(tensors.iter().map(|tensor| tensor.len)));
    let mut launch = Launch::default();
    let mut to = 0;
    for tensor in tensors {
        let source = match launch.source(tensor) {
            Some(source) => source,
            None => {
                launch.run(client, &out);
                launch = Launch::default();
                launch.source(tensor).unwrap_or_default()
            }
        };
        launch.copy(source, tensor, to);
        to += padded(tensor.len);
    }
    launch.run(client, &out);
    out
}

/// The tensors of these sizes that [`gather`] has put together, without a copy.
pub fn split(flat: &Buffer, lens: &[usize]) -> Vec<Buffer> {
    let mut start = 0;
    let part = |&len| {
        let part = flat.part(start, len);
        start += padded(len);
        part
    };
    lens.iter().map(part).collect()
}

/// The allocation of `tensors`, if they are the parts that [`split`] made of it.
fn gathered(tensors: &[Buffer]) -> Option<Buffer> {
    let first = &tensors[0];
    let len = len(tensors.iter().map(|tensor| tensor.len));
    let mut start = 0;
    let mut lies_at = |tensor: &Buffer| {
        let found = first_value(&tensor.handle) == start && same(&tensor.handle, &first.handle);
        start += padded(tensor.len);
        found
    };
    let together =
        first.handle.size() == (len * size_of::<f32>()) as u64 && tensors.iter().all(&mut lies_at);
    together.then(|| Buffer {
        client: first.client.clone(),
        handle: whole(&first.handle),
        len,
        stored: Stored::F32,
    })
}

/// The number of the first value within the allocation.
fn first_value(handle: &Handle) -> usize {
    handle.offset_start.unwrap_or(0) as usize / size_of::<f32>()
}

/// Whether both are parts of one allocation.
fn same(a: &Handle, b: &Handle) -> bool {
    a.memory.descriptor() == b.memory.descriptor()
}

/// The allocation of which the handle is a part.
fn whole(handle: &Handle) -> Handle {
    let mut whole = handle.clone();
    (whole.offset_start, whole.offset_end) = (None, None);
    whole
}

/// The copies of a launch.
#[derive(Default)]
struct Launch {
    sources: Vec<Handle>,
    copies: Vec<u32>,
}

impl Launch {
    /// The number of the tensor's allocation among the sources. `None`: there are as many as a launch has.
    fn source(&mut self, tensor: &Buffer) -> Option<usize> {
        let mut known = self.sources.iter();
        let known = known.position(|source| same(source, &tensor.handle));
        if known.is_none() && self.sources.len() < MOST_SOURCES {
            self.sources.push(whole(&tensor.handle));
            return Some(self.sources.len() - 1);
        }
        known
    }

    fn copy(&mut self, source: usize, tensor: &Buffer, to: usize) {
        let from = first_value(&tensor.handle);
        for start in (0..tensor.len).step_by(ALIGNMENT) {
            let values = (tensor.len - start).min(ALIGNMENT);
            let words = [to + start, from + start, source, values];
            self.copies.extend(words.map(|word| word as u32));
        }
    }

    fn run(&self, client: &Client, out: &Buffer) {
        let Some(first) = self.sources.first() else {
            return;
        };
        let source = |number: usize| {
            let handle = self.sources.get(number).unwrap_or(first).clone();
            Buffer {
                client: client.clone(),
                len: handle.size() as usize / size_of::<f32>(),
                handle,
                stored: Stored::F32,
            }
            .arg(1)
        };
        let copies = Buffer {
            client: client.clone(),
            handle: client.create_from_slice(u32::as_bytes(&self.copies)),
            len: self.copies.len(),
            stored: Stored::F32,
        };
        let chunks = self.copies.len() / WORDS;
        let launch = traffic::Launch::of("gather")
            .reads(out, chunks * ALIGNMENT)
            .reads_all([&copies])
            .writes(out, chunks * ALIGNMENT);
        launch.run(|| {
            // SAFETY: the chunk is compared with their number, and a copy stays within its tensors.
            #[expect(unsafe_code, reason = "unchecked indices in a kernel")]
            unsafe {
                gather_chunks::launch_unchecked(
                    client,
                    vector::workgroups(chunks * ALIGNMENT, THREADS),
                    CubeDim::new_1d(THREADS),
                    copies.arg(1),
                    source(0),
                    source(1),
                    source(2),
                    source(3),
                    source(4),
                    source(5),
                    out.arg(1),
                    chunks,
                );
            }
        });
    }
}
