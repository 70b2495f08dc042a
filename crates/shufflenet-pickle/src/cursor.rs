//! The bytes of a pickle, read from front to back.

use std::borrow::Cow;

use crate::PickleError;

pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Number of bytes that were read.
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], PickleError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(PickleError::Truncated(self.bytes.len()))?;
        self.at += length;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let taken = self.take(N)?.first_chunk();
        taken
            .copied()
            .ok_or(PickleError::Truncated(self.bytes.len()))
    }

    pub fn byte(&mut self) -> Result<u8, PickleError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// A length of 4 bytes.
    pub fn length4(&mut self) -> Result<usize, PickleError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    /// A length of 8 bytes.
    pub fn length8(&mut self) -> Result<usize, PickleError> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).map_err(|_| PickleError::Truncated(self.bytes.len()))
    }

    /// The bytes up to the next line feed, without it.
    pub fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or(PickleError::Truncated(self.bytes.len()))?;
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    /// A line as text.
    pub fn text_line(&mut self) -> Result<Cow<'a, str>, PickleError> {
        Ok(String::from_utf8_lossy(self.line()?))
    }
}

/// An integer of any length, in two's complement from its lowest byte; `None` above 64 bits.
pub(crate) fn long(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let (low, high) = bytes.split_at(bytes.len().min(8));
    if high.iter().any(|&byte| byte != fill) {
        return None;
    }
    let mut whole = [fill; 8];
    whole[..low.len()].copy_from_slice(low);
    let value = i64::from_le_bytes(whole);
    // 2^63 fits into eight bytes and a ninth of zero, and not into the type.
    ((value < 0) == negative).then_some(value)
}

/// The content of a string in quotation marks, as Python 2 prints it.
pub(crate) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let (first, rest) = line.trim_ascii().split_first()?;
    let (last, content) = rest.split_last()?;
    (first == last && matches!(first, b'\'' | b'"')).then(|| unescaped(content))
}

/// Replaces `\n`, `\x41` and the like by what they stand for.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let (true, Some((&escape, after))) = (byte == b'\\', after.split_first()) else {
            out.push(byte);
            continue;
        };
        rest = after;
        match escape {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'x' => match hexadecimal(rest, 2) {
                Some(code) => {
                    out.push(code as u8);
                    rest = rest.get(2..).unwrap_or_default();
                }
                None => out.extend(b"\\x"),
            },
            other => out.push(other),
        }
    }
    out
}

/// The text of a line in Python's encoding `raw-unicode-escape`.
pub(crate) fn raw_unicode(line: &[u8]) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        let escape = after.get(1..).unwrap_or_default();
        let escaped = match digits {
            0 => None,
            _ => hexadecimal(escape, digits).and_then(char::from_u32),
        };
        match escaped {
            Some(char) => {
                out.push(char);
                rest = escape.get(digits..).unwrap_or_default();
            }
            None => {
                out.push(char::from(byte));
                rest = after;
            }
        }
    }
    out
}

fn hexadecimal(text: &[u8], digits: usize) -> Option<u32> {
    let text = std::str::from_utf8(text.get(..digits)?).ok()?;
    u32::from_str_radix(text, 16).ok()
}
