//! Reads Python's pickles, protocols 0 to 5, as inert values.
//!
//! A pickle is a program for a small stack machine
//! ([`pickletools`](https://docs.python.org/3/library/pickletools.html) lists its instructions). The machine
//! here builds values and nothing else. A call stays a value: an [`Object`] with the name of its callable and
//! its arguments. So a file may hold objects of any type, and none of them is executed, imported or refused.
//!
//! Values live in one table and refer to each other by [`Id`]. A value that a pickle repeats a million times
//! is stored once, a list may contain itself, and nesting costs no stack. Each instruction makes at most
//! two values and a value has a bounded size, so a pickle costs no more than a multiple of its length.
//! A caller that walks the values must expect repetitions and circles.

mod array;
mod constants;
mod cursor;
mod machine;

use std::borrow::Cow;

pub use array::Array;

/// The largest number of values in a pickle. Weights and data sets have some hundred thousand.
pub const MOST_VALUES: usize = 4_000_000;

/// The reason why bytes are not a pickle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// The bytes end before the pickle does.
    #[error("the pickle ends at byte {0}, before its last instruction")]
    Truncated(usize),
    /// An instruction that does not exist.
    #[error("byte {at} of the pickle is {code:#04x}, which is not an instruction")]
    Instruction {
        /// Position of the byte.
        at: usize,
        /// The byte.
        code: u8,
    },
    /// An instruction that does not work where it stands.
    #[error("the instruction {code:#04x} at byte {at} of the pickle {problem}")]
    Misplaced {
        /// Position of the instruction.
        at: usize,
        /// The instruction.
        code: u8,
        /// What is wrong.
        problem: &'static str,
    },
    /// Too many values.
    #[error("the pickle has more than {MOST_VALUES} values")]
    TooLarge,
}

/// A value's place in its [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u32);

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// Bytes, or a string of Python 2.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A set or frozen set.
    Set(Vec<Id>),
    /// A dictionary: keys of any type and their values, in the order of the file.
    Dict(Vec<(Id, Id)>),
    /// A class or function, `module.name`.
    Class(String),
    /// The result of a call that was not made.
    Object(Box<Object>),
    /// An object that is stored outside the pickle, by its id.
    Persistent(Id),
    /// Anything else: an integer of more than 64 bits, an entry of Python's extension registry.
    Other,
}

/// A call, with what the pickle then does to its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What is called, usually a [`Value::Class`].
    pub callable: Id,
    /// The arguments, in order.
    pub arguments: Vec<Id>,
    /// The state that the object is given (`__setstate__`).
    pub state: Option<Id>,
    /// What is appended to the object.
    pub items: Vec<Id>,
    /// Keys that are set on the object, and their values.
    pub entries: Vec<(Id, Id)>,
}

/// The values of one pickle.
#[derive(Clone, Debug)]
pub struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that `bytes` begin with.
    ///
    /// # Errors
    /// Any [`PickleError`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        machine::read(bytes)
    }

    /// The value that the pickle stands for.
    pub fn root(&self) -> Id {
        self.root
    }

    /// Length of the pickle in bytes. More may follow it: files of old PyTorch are several pickles.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The value at `id`, which is an id of this pickle.
    pub fn get(&self, id: Id) -> &Value<'a> {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    /// All values, in the order in which the pickle makes them.
    pub fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// The text at `id`. Python 2 wrote text as bytes.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The integer at `id`.
    pub fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The bytes at `id`. Protocols below 3 have no bytes: Python 3 writes a call that encodes a string there.
    pub fn bytes(&self, id: Id) -> Option<Cow<'_, [u8]>> {
        if let Value::Bytes(bytes) = self.get(id) {
            return Some(Cow::Borrowed(bytes));
        }
        let latin = |text: &str| {
            let codes = text.chars().map(|char| u8::try_from(char).ok());
            codes.collect::<Option<Vec<u8>>>()
        };
        match self.call(id)? {
            ("_codecs.encode", &[text, encoding]) if self.text(encoding) == Some("latin1") => {
                match self.get(text) {
                    Value::Text(text) => latin(text).map(Cow::Owned),
                    _ => None,
                }
            }
            ("__builtin__.bytes" | "builtins.bytes", []) => Some(Cow::Borrowed(&[])),
            _ => None,
        }
    }

    /// The items of the list or tuple at `id`.
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::List(items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The non-negative integers of the list or tuple at `id`.
    pub fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let size = |&id: &Id| usize::try_from(self.int(id)?).ok();
        self.items(id)?.iter().map(size).collect()
    }

    /// Keys and values of the dictionary at `id`, or of an object that is used as one, such as an
    /// `OrderedDict`.
    pub fn entries(&self, id: Id) -> Option<Cow<'_, [(Id, Id)]>> {
        match self.get(id) {
            Value::Dict(entries) => Some(Cow::Borrowed(entries)),
            Value::Object(object) if !object.entries.is_empty() => {
                Some(Cow::Borrowed(&object.entries))
            }
            // Python 2 wrote an ordered dictionary as the call with a list of pairs.
            _ => match self.call(id)? {
                ("collections.OrderedDict", []) => Some(Cow::Borrowed(&[])),
                ("collections.OrderedDict", &[pairs, ..]) => {
                    let pair = |&pair: &Id| match *self.items(pair)? {
                        [key, value] => Some((key, value)),
                        _ => None,
                    };
                    let pairs: Option<Vec<_>> = self.items(pairs)?.iter().map(pair).collect();
                    Some(Cow::Owned(pairs?))
                }
                _ => None,
            },
        }
    }

    /// The value under the text `key` of the dictionary at `id`.
    pub fn entry(&self, id: Id, key: &str) -> Option<Id> {
        let entries = self.entries(id)?;
        let mut entries = entries.iter();
        let (_, value) = entries.find(|(found, _)| self.text(*found) == Some(key))?;
        Some(*value)
    }

    /// The name of the class or function at `id`.
    pub fn class(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Class(name) => Some(name),
            _ => None,
        }
    }

    /// Name and arguments of the call at `id`.
    pub fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        match self.get(id) {
            Value::Object(object) => Some((self.class(object.callable)?, &object.arguments)),
            _ => None,
        }
    }

    /// The state of the object at `id`.
    pub fn state(&self, id: Id) -> Option<Id> {
        match self.get(id) {
            Value::Object(object) => object.state,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
