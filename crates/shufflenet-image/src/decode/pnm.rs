//! PBM, PGM and PPM (netpbm's P1 to P6): bits, grey levels and RGB, in plain text or binary.
//!
//! A file is a magic number, width, height, the largest value (not for bits) and the values. Values are scaled
//! from 0..=largest to 0..=255, rounded as Pillow rounds; grey levels of more than eight bits are scaled to 16
//! and keep the upper eight, as in PNG and TIFF.

use image::RgbImage;

use super::damage;
use super::pixels::{check_size, picture, spread};

/// What the two first bytes and the text after them say.
struct Header<'a> {
    /// Name of the format.
    name: &'static str,
    kind: Kind,
    is_plain: bool,
    size: (u32, u32),
    largest: u16,
    /// What follows the header.
    rest: &'a [u8],
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bits,
    Grey,
    Rgb,
}

impl Kind {
    /// Name of the format.
    fn name(self) -> &'static str {
        match self {
            Self::Bits => "PBM",
            Self::Grey => "PGM",
            Self::Rgb => "PPM",
        }
    }
}

/// Width and height.
pub(crate) fn measure(bytes: &[u8]) -> Result<(u32, u32), String> {
    Ok(header(bytes)?.size)
}

/// The pixels.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let header = header(bytes)?;
    let (width, height) = header.size;
    let pixels = width as usize * height as usize;
    let values = match (header.kind, header.is_plain) {
        (Kind::Bits, false) => packed_bits(&header)?,
        (Kind::Bits, true) => plain_bits(&header, pixels)?,
        (Kind::Grey, _) => levels(&header, pixels)?,
        (Kind::Rgb, _) => levels(&header, 3 * pixels)?,
    };
    let rgb = match header.kind {
        Kind::Rgb => values,
        Kind::Bits | Kind::Grey => spread(&values),
    };
    picture(width, height, rgb)
}

/// Whether netpbm separates words by this byte.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn header(bytes: &[u8]) -> Result<Header<'_>, String> {
    let (kind, is_plain, rest) = match bytes {
        [b'P', number, space, rest @ ..] if is_space(*space) => {
            let kind = match number {
                b'1' | b'4' => Kind::Bits,
                b'2' | b'5' => Kind::Grey,
                b'3' | b'6' => Kind::Rgb,
                _ => return Err("bytes of another kind of file".into()),
            };
            (kind, *number <= b'3', rest)
        }
        _ => return Err("bytes of another kind of file".into()),
    };
    let name = kind.name();
    let (width, rest) = number(name, "width", rest)?;
    let (height, rest) = number(name, "height", rest)?;
    let (largest, rest) = match kind {
        Kind::Bits => (1, rest),
        Kind::Grey | Kind::Rgb => number(name, "largest value", rest)?,
    };
    let size = (width, height);
    check_size(size)?;
    let largest = match u16::try_from(largest) {
        Ok(largest @ 1..) => largest,
        _ => {
            return Err(format!(
                "a {name} with {largest} as its largest value; 1 to 65535 are read"
            ));
        }
    };
    Ok(Header {
        name,
        kind,
        is_plain,
        size,
        largest,
        rest,
    })
}

/// The next number of a file of the format `name`, its `field`, and what follows the one byte after it.
fn number<'a>(name: &str, field: &str, bytes: &'a [u8]) -> Result<(u32, &'a [u8]), String> {
    let mut value: Option<u32> = None;
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                let sum = value.unwrap_or(0).checked_mul(10);
                let sum = sum.and_then(|sum| sum.checked_add(digit));
                let too_long = || format!("a {name} whose {field} is above {}", u32::MAX);
                value = Some(sum.ok_or_else(too_long)?);
            }
            b'#' => rest = after_line(rest),
            _ if is_space(byte) && value.is_none() => {}
            _ if is_space(byte) => break,
            _ => return Err(format!("a damaged {name} (its {field} is not a number)")),
        }
    }
    let value = value.ok_or_else(|| damage::truncated(name))?;
    Ok((value, rest))
}

/// What follows the end of a line.
fn after_line(bytes: &[u8]) -> &[u8] {
    let end = bytes
        .iter()
        .position(|&byte| byte == b'\n' || byte == b'\r');
    end.and_then(|end| bytes.get(end + 1..)).unwrap_or_default()
}

fn truncated(name: &str, found: usize, expected: usize, things: &str) -> String {
    let start = damage::truncated(name);
    format!("{start} ({found} of {expected} {things})")
}

/// Rows of bits, each from a new byte on; a bit that is set is black.
fn packed_bits(header: &Header<'_>) -> Result<Vec<u8>, String> {
    let bytes = header.rest;
    let (width, height) = (header.size.0 as usize, header.size.1 as usize);
    let stride = width.div_ceil(8);
    let expected = stride * height;
    if bytes.len() < expected {
        return Err(truncated(header.name, bytes.len(), expected, "bytes"));
    }
    let rows = bytes.chunks_exact(stride).take(height);
    let level = |row: &[u8], x: usize| {
        let byte = row.get(x / 8).copied().unwrap_or(0);
        if byte & (0x80 >> (x % 8)) == 0 {
            255
        } else {
            0
        }
    };
    Ok(rows
        .flat_map(|row| (0..width).map(move |x| level(row, x)))
        .collect())
}

/// Digits 0 and 1, with or without spaces between them.
fn plain_bits(header: &Header<'_>, count: usize) -> Result<Vec<u8>, String> {
    let (name, mut rest) = (header.name, header.rest);
    let mut values = Vec::with_capacity(count.min(rest.len()));
    while values.len() < count {
        let Some((&byte, after)) = rest.split_first() else {
            return Err(truncated(name, values.len(), count, "values"));
        };
        rest = after;
        match byte {
            b'0' => values.push(255),
            b'1' => values.push(0),
            b'#' => rest = after_line(rest),
            _ if is_space(byte) => {}
            _ => {
                return Err(format!("a damaged {name} (a bit that is neither 0 nor 1)"));
            }
        }
    }
    Ok(values)
}

/// Grey levels or colours, scaled to eight bits.
fn levels(header: &Header<'_>, count: usize) -> Result<Vec<u8>, String> {
    let largest = header.largest;
    let is_deep_grey = header.kind == Kind::Grey && largest > 255;
    let full = if is_deep_grey { 65535.0 } else { 255.0 };
    let scale = |value: u16| {
        let scaled = f64::from(value) / f64::from(largest) * full;
        let scaled = scaled.round_ties_even().min(full) as u16;
        if is_deep_grey {
            (scaled >> 8) as u8
        } else {
            scaled as u8
        }
    };
    if header.is_plain {
        return plain_levels(header, count, scale);
    }
    let width = if largest > 255 { 2 } else { 1 };
    let Some(data) = header.rest.get(..width * count) else {
        let found = header.rest.len() / width;
        return Err(truncated(header.name, found, count, "values"));
    };
    if largest > 255 {
        let pairs = data.as_chunks().0.iter();
        return Ok(pairs.map(|&pair| scale(u16::from_be_bytes(pair))).collect());
    }
    let table: [u8; 256] = std::array::from_fn(|value| scale(value as u16));
    Ok(data
        .iter()
        .map(|&value| table[usize::from(value)])
        .collect())
}

/// Numbers in text.
fn plain_levels(
    header: &Header<'_>,
    count: usize,
    scale: impl Fn(u16) -> u8,
) -> Result<Vec<u8>, String> {
    let (name, largest, mut rest) = (header.name, header.largest, header.rest);
    // A value takes at least two bytes.
    let mut values = Vec::with_capacity(count.min(rest.len() / 2 + 1));
    while values.len() < count {
        let (value, after) = number(name, "value", rest)?;
        rest = after;
        match u16::try_from(value) {
            Ok(value) if value <= largest => values.push(scale(value)),
            _ => {
                return Err(format!(
                    "a damaged {name} (a value of {value} above {largest})"
                ));
            }
        }
    }
    Ok(values)
}
