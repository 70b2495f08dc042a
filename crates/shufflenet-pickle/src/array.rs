//! NumPy's arrays in pickles: `_reconstruct` with a state (to protocol 4) and `_frombuffer` (protocol 5).

use std::borrow::Cow;

use crate::{Id, Pickle};

/// A NumPy array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'p> {
    /// The sizes.
    pub shape: Vec<usize>,
    /// Type of an element without its byte order: `u1`, `f4`, `i8`...
    pub kind: String,
    /// Whether the highest byte of an element comes first.
    pub big_endian: bool,
    /// Whether the elements are stored column by column.
    pub by_columns: bool,
    /// The elements. Their number need not be the shape's.
    pub bytes: Cow<'p, [u8]>,
}

impl Pickle<'_> {
    /// The array at `id`; `None` for anything else, and for arrays of objects.
    pub fn array(&self, id: Id) -> Option<Array<'_>> {
        let (name, arguments) = self.call(id)?;
        let [_, name] = name
            .strip_prefix("numpy.")?
            .rsplit_once('.')
            .map(|(a, b)| [a, b])?;
        let (shape, kind, by_columns, bytes) = match (name, arguments) {
            ("_reconstruct", _) => {
                let &[_, shape, kind, by_columns, bytes] = self.items(self.state(id)?)? else {
                    return None;
                };
                let by_columns = matches!(self.get(by_columns), crate::Value::Bool(true));
                (shape, kind, by_columns, bytes)
            }
            ("_frombuffer", &[bytes, kind, shape, order]) => {
                (shape, kind, self.text(order) == Some("F"), bytes)
            }
            _ => return None,
        };
        let (kind, big_endian) = self.element(kind)?;
        Some(Array {
            shape: self.sizes(shape)?,
            kind,
            big_endian,
            by_columns,
            bytes: self.bytes(bytes)?,
        })
    }

    /// Type and byte order of `numpy.dtype('f4')` with its state.
    fn element(&self, id: Id) -> Option<(String, bool)> {
        let (name, arguments) = self.call(id)?;
        let kind = self.text(*arguments.first()?)?;
        if name != "numpy.dtype" || kind.starts_with('O') {
            return None;
        }
        let order = self.state(id).and_then(|state| self.items(state)?.get(1));
        let big_endian = order.is_some_and(|&order| self.text(order) == Some(">"));
        Some((kind.trim_start_matches(['<', '|', '=']).into(), big_endian))
    }
}
