//! TIFF (Adobe, revision 6.0) and BigTIFF: the first page, as Pillow shows it.
//!
//! Read are bits, grey, palette, RGB, CMYK and YCbCr, with alpha or without, in strips or tiles, uncompressed
//! or packed by LZW, Deflate, PackBits, JPEG or CCITT group 4. Grey levels that are 32-bit numbers or floats are cut
//! off at 0 and 255 and not scaled: that is what Pillow's `convert("RGB")` does. A float that is no number is
//! refused.
//!
//! The crate `tiff` reads the values. It knows no palettes: it gets a copy of the file that says grey.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind};

use ::tiff::decoder::{BufferLayoutPreference, Decoder, DecodingResult, Limits};
use ::tiff::tags::Tag;
use ::tiff::{ColorType, TiffError};
use image::metadata::Orientation;

use super::damage;
use super::pixels::{
    check_size, cmyk_to_rgb, on_white, picture, spread, unpremultiply, ycbcr_to_rgb,
};
use super::{Decoded, Header, MOST_PIXELS, jpeg};

type Tiff<'a> = Decoder<Cursor<Cow<'a, [u8]>>>;

// Values of tags, from the specification.
const WHITE_IS_ZERO: u16 = 0;
const PALETTE: u16 = 3;
const GROUP_4: u16 = 4;
const JPEG: u16 = 7;
const REVERSED_BITS: u16 = 2;
const PREMULTIPLIED: u16 = 1;
const ALPHA: u16 = 2;

/// Size and orientation of the first page.
pub(crate) fn measure(bytes: &[u8]) -> Result<Header, String> {
    let mut tiff = open(bytes.into())?;
    let size = tiff.dimensions().map_err(damaged)?;
    check_size(size)?;
    let orientation = match tiff.find_tag_unsigned::<u8>(Tag::Orientation) {
        Ok(Some(number)) => Orientation::from_exif(number),
        _ => None,
    };
    Ok((size, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// The first page, not turned yet.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    let (size, orientation) = measure(bytes)?;
    let mut tiff = open(bytes.into())?;
    let interpretation = number(&mut tiff, Tag::PhotometricInterpretation)?;
    if number(&mut tiff, Tag::FillOrder)? == Some(REVERSED_BITS) {
        return Err("a TIFF whose bits are in reversed order (FillOrder 2)".into());
    }
    check_chunks(&mut tiff, bytes)?;

    let mut palette = None;
    if interpretation == Some(PALETTE) {
        let colors = tiff
            .find_tag_unsigned_vec::<u16>(Tag::ColorMap)
            .map_err(damaged)?;
        palette = Some(colors.ok_or("a TIFF without its palette")?);
        let pointer = tiff.ifd_pointer().map(|pointer| pointer.0);
        let grey = pointer.and_then(|pointer| called_grey(bytes, pointer));
        tiff = open(Cow::Owned(grey.ok_or("a damaged TIFF")?))?;
    }
    let extra = tiff
        .find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)
        .map_err(damaged)?;
    let alpha = extra.and_then(|extra| extra.first().copied());
    let color = tiff.colortype().map_err(damaged)?;
    check_samples(&mut tiff, color)?;
    let is_inverted = interpretation == Some(WHITE_IS_ZERO);

    let mut values = DecodingResult::U8(Vec::new());
    let layout = tiff.read_image_to_buffer(&mut values).map_err(damaged)?;
    let values = eight_bits(values, color, size, palette.is_some(), is_inverted)?;
    let values = interleaved(values, &layout)?;
    let rgb = match (palette, color) {
        (Some(palette), _) => colored(&values, &palette, color)?,
        (None, _) => rgb(values, color, alpha)?,
    };
    picture(size.0, size.1, rgb).map(|picture| (picture, orientation))
}

fn open(bytes: Cow<'_, [u8]>) -> Result<Tiff<'_>, String> {
    let mut limits = Limits::default();
    // A pixel takes at most eight bytes. Compressed data is at most as long as the file.
    limits.decoding_buffer_size = 9 * MOST_PIXELS as usize;
    limits.intermediate_buffer_size = bytes.len();
    let tiff = Decoder::new(Cursor::new(bytes)).map_err(damaged)?;
    Ok(tiff.with_limits(limits))
}

/// A kind of pixels in words.
fn kind(color: ColorType) -> String {
    let name = match color {
        ColorType::Gray(_) => "grey",
        ColorType::GrayA(_) => "grey and alpha",
        ColorType::RGB(_) => "RGB",
        ColorType::RGBA(_) => "RGB and alpha",
        ColorType::Palette(_) => "palette",
        ColorType::CMYK(_) => "CMYK",
        ColorType::CMYKA(_) => "CMYK and alpha",
        ColorType::YCbCr(_) => "YCbCr",
        ColorType::Lab(_) => "CIELAB",
        ColorType::Multiband { num_samples, .. } => {
            return format!("{}-bit {num_samples}-channel", color.bit_depth());
        }
        _ => "unknown",
    };
    format!("{}-bit {name}", color.bit_depth())
}

/// What is wrong, in one line.
fn damaged(error: TiffError) -> String {
    use ::tiff::TiffUnsupportedError::{
        UnknownCompressionMethod, UnsupportedColorType, UnsupportedCompressionMethod,
    };
    match error {
        TiffError::UnsupportedError(UnsupportedColorType(color)) => unread_pixels(color),
        TiffError::UnsupportedError(UnsupportedCompressionMethod(method)) => format!(
            "a TIFF with compression number {}, which is not read",
            method.to_u16()
        ),
        TiffError::UnsupportedError(UnknownCompressionMethod) => {
            "a TIFF with a compression that is not read".into()
        }
        TiffError::UnsupportedError(other) => damage::unread("TIFF", other),
        TiffError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            damage::truncated("TIFF")
        }
        // The limit is the length of the file.
        TiffError::LimitsExceeded => {
            "a damaged or truncated TIFF, which announces more data than it has".into()
        }
        TiffError::FormatError(error) => damage::damaged("TIFF", error),
        other => damage::damaged("TIFF", other),
    }
}

fn unread_pixels(color: ColorType) -> String {
    format!("a TIFF of {} pixels, which are not read", kind(color))
}

fn number(tiff: &mut Tiff<'_>, tag: Tag) -> Result<Option<u16>, String> {
    tiff.find_tag_unsigned(tag).map_err(damaged)
}

/// Refuses a file that ends before its data, where the decoder would fill in what is missing.
fn check_chunks(tiff: &mut Tiff<'_>, bytes: &[u8]) -> Result<(), String> {
    let compression = number(tiff, Tag::Compression)?;
    if !matches!(compression, Some(GROUP_4 | JPEG)) {
        return Ok(());
    }
    let mut words = |first: Tag, second: Tag| -> Result<Vec<u64>, String> {
        let words = tiff.find_tag_unsigned_vec(first).map_err(damaged)?;
        match words {
            Some(words) => Ok(words),
            None => Ok(tiff
                .find_tag_unsigned_vec(second)
                .map_err(damaged)?
                .unwrap_or_default()),
        }
    };
    let offsets = words(Tag::StripOffsets, Tag::TileOffsets)?;
    let lengths = words(Tag::StripByteCounts, Tag::TileByteCounts)?;
    for (offset, length) in offsets.into_iter().zip(lengths) {
        let end = offset
            .checked_add(length)
            .and_then(|end| usize::try_from(end).ok());
        let chunk = end.and_then(|end| bytes.get(offset as usize..end));
        match chunk {
            Some(chunk) if compression != Some(JPEG) || jpeg::is_whole(chunk) => {}
            _ => return Err(damage::truncated("TIFF")),
        }
    }
    Ok(())
}

/// Refuses samples beside the colours that the decoder would mix up.
fn check_samples(tiff: &mut Tiff<'_>, color: ColorType) -> Result<(), String> {
    let samples = number(tiff, Tag::SamplesPerPixel)?.unwrap_or(1);
    let is_predicted = number(tiff, Tag::Predictor)?.is_some_and(|kind| kind != 1);
    if is_predicted && samples > color.num_samples() {
        Err(format!(
            "a TIFF of {samples} samples a pixel with a predictor"
        ))
    } else {
        Ok(())
    }
}

/// A copy of the file in which the page at `pointer` is grey instead of a palette's.
fn called_grey(bytes: &[u8], pointer: u64) -> Option<Vec<u8>> {
    const INTERPRETATION: u16 = 262;
    const GREY: u16 = 1;
    let is_big_endian = bytes.first() == Some(&b'M');
    let word = |at: usize| -> Option<u16> {
        let pair = *bytes.get(at..)?.first_chunk()?;
        Some(match is_big_endian {
            true => u16::from_be_bytes(pair),
            false => u16::from_le_bytes(pair),
        })
    };
    // Bytes of the number of entries, of an entry, and from an entry's start to its value.
    let (head, entry, value) = match word(2)? {
        43 => (8, 20, 12),
        _ => (2, 12, 8),
    };
    let mut at = usize::try_from(pointer).ok()?.checked_add(head)?;
    // Entries are sorted by their tags.
    while word(at)? != INTERPRETATION {
        at = at.checked_add(entry)?;
    }
    let mut copy = bytes.to_vec();
    let grey = match is_big_endian {
        true => GREY.to_be_bytes(),
        false => GREY.to_le_bytes(),
    };
    copy.get_mut(at + value..at + value + 2)?
        .copy_from_slice(&grey);
    Some(copy)
}

/// Values of any kind as bytes, one a sample.
fn eight_bits(
    values: DecodingResult,
    color: ColorType,
    (width, _): (u32, u32),
    are_indices: bool,
    is_inverted: bool,
) -> Result<Vec<u8>, String> {
    let is_grey = matches!(color, ColorType::Gray(_));
    let refuse = || {
        Err(format!(
            "a TIFF of {} pixels whose numbers are of a kind that is not read",
            kind(color)
        ))
    };
    Ok(match values {
        DecodingResult::U8(values) => match color {
            ColorType::Gray(bits @ (1 | 2 | 4)) => unpack(&values, bits, width, are_indices),
            _ if color.bit_depth() == 8 => values,
            _ => return refuse(),
        },
        DecodingResult::U16(values) if color.bit_depth() == 16 && !are_indices => {
            values.into_iter().map(|value| (value >> 8) as u8).collect()
        }
        _ if !is_grey || is_inverted || are_indices => return refuse(),
        DecodingResult::I16(values) => values.into_iter().map(|v| v.clamp(0, 255) as u8).collect(),
        DecodingResult::I32(values) => values.into_iter().map(|v| v.clamp(0, 255) as u8).collect(),
        DecodingResult::U32(values) => values.into_iter().map(|v| v.min(255) as u8).collect(),
        DecodingResult::F32(values) => from_floats(values.into_iter().map(f64::from))?,
        DecodingResult::F64(values) => from_floats(values.into_iter())?,
        _ => return refuse(),
    })
}

/// Whole parts, cut off at 0 and 255.
fn from_floats(values: impl Iterator<Item = f64>) -> Result<Vec<u8>, String> {
    let level = |value: f64| match value.is_finite() {
        true => Ok(value.clamp(0.0, 255.0) as u8),
        false => Err(format!("a TIFF with a pixel that is {value}")),
    };
    values.map(level).collect()
}

/// Rows of values of 1, 2 or 4 bits, each row from a new byte on. Levels are scaled to 255, indices are not.
fn unpack(packed: &[u8], bits: u8, width: u32, are_indices: bool) -> Vec<u8> {
    let (bits, width) = (usize::from(bits), width as usize);
    let largest = (1u8 << bits) - 1;
    let step = if are_indices { 1 } else { 255 / largest };
    let rows = packed.chunks_exact((bits * width).div_ceil(8));
    let values = |row: &[u8]| -> Vec<u8> {
        let of_byte = |&byte: &u8| {
            (0..8 / bits).map(move |part| ((byte >> (8 - bits * (part + 1))) & largest) * step)
        };
        row.iter().flat_map(of_byte).take(width).collect()
    };
    rows.flat_map(values).collect()
}

/// Samples pixel by pixel, where the file has a plane for each channel.
fn interleaved(values: Vec<u8>, layout: &BufferLayoutPreference) -> Result<Vec<u8>, String> {
    if layout.planes <= 1 {
        return Ok(values);
    }
    let length = values.len() / layout.planes;
    let planes: Vec<&[u8]> = values.chunks_exact(length.max(1)).collect();
    let mut mixed = vec![0; length * layout.planes];
    for (channel, plane) in planes.iter().enumerate() {
        let places = mixed.iter_mut().skip(channel).step_by(layout.planes);
        places
            .zip(*plane)
            .for_each(|(place, &value)| *place = value);
    }
    Ok(mixed)
}

/// The palette's colours: its words are all reds, then all greens, then all blues.
fn colored(values: &[u8], palette: &[u16], color: ColorType) -> Result<Vec<u8>, String> {
    let size = 1usize << color.bit_depth().min(16);
    if palette.len() != 3 * size {
        return Err(format!("a TIFF with a palette of {} words", palette.len()));
    }
    let channel = |first: usize, index: u8| {
        let word = palette.get(first + usize::from(index)).copied();
        (word.unwrap_or(0) >> 8) as u8
    };
    let indices = values.iter().step_by(usize::from(color.num_samples()));
    Ok(indices
        .flat_map(|&index| [0, size, 2 * size].map(|first| channel(first, index)))
        .collect())
}

fn rgb(values: Vec<u8>, color: ColorType, alpha: Option<u16>) -> Result<Vec<u8>, String> {
    let is_premultiplied = alpha == Some(PREMULTIPLIED);
    Ok(match color {
        ColorType::Gray(_) => spread(&values),
        ColorType::RGB(_) => values,
        ColorType::RGBA(_) if is_premultiplied => on_white::<4>(&unpremultiply::<4>(values)),
        ColorType::RGBA(_) => on_white::<4>(&values),
        ColorType::CMYK(_) => cmyk_to_rgb(&values),
        ColorType::YCbCr(8) => ycbcr_to_rgb(&values),
        ColorType::Multiband { num_samples: 2, .. } => match alpha {
            Some(PREMULTIPLIED) => on_white::<2>(&unpremultiply::<2>(values)),
            Some(ALPHA) => on_white::<2>(&values),
            _ => spread(&values.into_iter().step_by(2).collect::<Vec<_>>()),
        },
        other => return Err(unread_pixels(other)),
    })
}
