//! A tensor of a file that another program wrote. Its values are read when they are asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use half::{bf16, f16};

use super::storages::Storages;

pub(super) type Tensors = BTreeMap<String, ForeignTensor>;

#[derive(Clone)]
pub(super) struct ForeignTensor {
    pub shape: Vec<usize>,
    pub kind: Kind,
    pub source: Source,
    /// Elements from one to the next of each dimension.
    pub strides: Vec<usize>,
    /// Place of the first element.
    pub offset: usize,
    /// For the first two dimensions: which index of the file is at each index of the tensor.
    pub order: [Option<Rc<[usize]>>; 2],
}

/// Type of a tensor's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F16,
    BF16,
    F64,
    /// A type that no weight has, in words. Such a tensor has a place in no network.
    Other(String),
}

/// Where the elements are.
#[derive(Clone)]
pub(super) enum Source {
    Bytes(Rc<[u8]>),
    /// The storage with this key.
    Storage(Rc<Storages>, String),
    /// Nowhere: all are 0.
    Zeros,
    /// The values cannot be read.
    Nothing,
}

impl ForeignTensor {
    /// A tensor whose elements follow each other row by row.
    pub fn rows(shape: Vec<usize>, kind: Kind, source: Source) -> Self {
        Self {
            strides: row_strides(&shape),
            shape,
            kind,
            source,
            offset: 0,
            order: [None, None],
        }
    }

    /// A tensor that cannot be read, of a kind in words.
    pub fn unreadable(kind: impl Into<String>) -> Self {
        Self::rows(Vec::new(), Kind::Other(kind.into()), Source::Nothing)
    }

    pub fn is_float(&self) -> bool {
        !matches!(self.kind, Kind::Other(_))
    }

    /// Number of elements; `None` where it overflows.
    pub fn count(&self) -> Option<usize> {
        let mut sizes = self.shape.iter();
        sizes.try_fold(1usize, |count, &size| count.checked_mul(size))
    }

    /// Whether every element lies within the first `elements` of its source.
    pub fn fits(&self, elements: usize) -> bool {
        if self.shape.contains(&0) {
            return true;
        }
        let mut sizes = self.shape.iter().zip(&self.strides);
        let last = sizes.try_fold(self.offset, |last, (&size, &stride)| {
            last.checked_add((size - 1).checked_mul(stride)?)
        });
        self.shape.len() == self.strides.len() && last.is_some_and(|last| last < elements)
    }

    /// The elements row by row; `None` for types that weights do not have. The caller has compared the
    /// shape with the network's, so that it bounds the memory.
    pub fn floats(&self) -> io::Result<Option<Vec<f32>>> {
        let bytes: Rc<[u8]> = match &self.source {
            Source::Bytes(bytes) => bytes.clone(),
            Source::Storage(storages, key) => storages.read(key)?,
            Source::Zeros => return Ok(self.count().map(|count| vec![0.0; count])),
            Source::Nothing => return Ok(None),
        };
        let two = || bytes.as_chunks::<2>().0;
        let four = || bytes.as_chunks::<4>().0;
        let eight = || bytes.as_chunks::<8>().0;
        Ok(match self.kind {
            Kind::F32 => self.gather(four(), |&bytes| f32::from_le_bytes(bytes)),
            Kind::F64 => self.gather(eight(), |&bytes| f64::from_le_bytes(bytes) as f32),
            Kind::F16 => self.gather(two(), |&bytes| f16::from_le_bytes(bytes).to_f32()),
            Kind::BF16 => self.gather(two(), |&bytes| bf16::from_le_bytes(bytes).to_f32()),
            Kind::Other(_) => None,
        })
    }

    /// Converts the elements at the tensor's places.
    fn gather<T>(&self, all: &[T], convert: impl Fn(&T) -> f32) -> Option<Vec<f32>> {
        if !self.fits(all.len()) {
            return None;
        }
        let mut places = vec![self.offset];
        for (dimension, (&size, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            let order = self.order.get(dimension).and_then(Option::as_deref);
            let index = |i: usize| order.map_or(i, |order| order.get(i).copied().unwrap_or(i));
            let steps: Vec<usize> = (0..size).map(|i| index(i) * stride).collect();
            let place = |place: usize| steps.iter().map(move |step| place + step);
            places = places.into_iter().flat_map(place).collect();
        }
        let values = places.into_iter().map(|place| all.get(place).map(&convert));
        values.collect()
    }
}

/// The strides of elements that follow each other row by row. Sizes that overflow are refused elsewhere.
fn row_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1usize;
    for &size in shape.iter().rev() {
        strides.push(stride);
        stride = stride.saturating_mul(size);
    }
    strides.reverse();
    strides
}

/// The strides of elements that follow each other column by column.
pub(super) fn column_strides(shape: &[usize]) -> Vec<usize> {
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    let mut strides = row_strides(&reversed);
    strides.reverse();
    strides
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F64 => "float64",
            Self::Other(kind) => kind,
        })
    }
}
