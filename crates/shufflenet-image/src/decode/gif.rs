//! GIF (CompuServe, version 89a): the first frame, as Pillow shows it.
//!
//! The canvas has the size that the file's header gives, or more where the frame needs more. Around a smaller
//! frame it has the transparent colour or, without one, the first colour of the palette. Transparent pixels are
//! white, as in every other format.

use std::io::Cursor;

use ::gif::{ColorOutput, DecodeOptions, Decoder, DecodingError};
use image::RgbImage;

use super::damage;
use super::pixels::{check_size, picture};

type Gif<'a> = Decoder<Cursor<&'a [u8]>>;

const WHITE: [u8; 3] = [255; 3];

/// The first frame's place on the canvas.
struct Frame {
    canvas: (u32, u32),
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    /// The colour of each index, 256 of them.
    colors: Vec<[u8; 3]>,
    transparent: Option<u8>,
}

/// The size of the canvas.
pub(crate) fn measure(bytes: &[u8]) -> Result<(u32, u32), String> {
    Ok(header(bytes)?.1.canvas)
}

/// The canvas with the first frame.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let (mut decoder, frame) = header(bytes)?;
    let mut indices = vec![0; frame.width * frame.height];
    decoder.read_into_buffer(&mut indices).map_err(damaged)?;

    let colors = &frame.colors;
    let color = |index: u8| match frame.transparent {
        Some(transparent) if transparent == index => WHITE,
        _ => colors.get(usize::from(index)).copied().unwrap_or(WHITE),
    };
    let (width, height) = frame.canvas;
    let around = color(frame.transparent.unwrap_or(0));
    let mut canvas = around.repeat(width as usize * height as usize);
    let rows = canvas.chunks_exact_mut(3 * width as usize).skip(frame.top);
    for (row, indices) in rows.zip(indices.chunks_exact(frame.width)) {
        let pixels = row.as_chunks_mut().0.iter_mut().skip(frame.left);
        for (pixel, &index) in pixels.zip(indices) {
            *pixel = color(index);
        }
    }
    picture(width, height, canvas)
}

fn header(bytes: &[u8]) -> Result<(Gif<'_>, Frame), String> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(damaged)?;
    let screen = (decoder.width(), decoder.height());
    let found = decoder.next_frame_info().map_err(damaged)?;
    let found = found.ok_or("a GIF without a frame")?;

    let [left, top, width, height] =
        [found.left, found.top, found.width, found.height].map(u32::from);
    let transparent = found.transparent;
    let palette = found.palette.clone();
    let canvas = (
        u32::from(screen.0).max(left + width),
        u32::from(screen.1).max(top + height),
    );
    check_size((width, height))?;
    check_size(canvas)?;
    let palette = palette.or_else(|| decoder.global_palette().map(<[u8]>::to_vec));
    let mut colors = palette.unwrap_or_default().as_chunks().0.to_vec();
    // An index beyond the palette is black to Pillow.
    colors.resize(256, [0; 3]);
    let [left, top, width, height] = [left, top, width, height].map(|value| value as usize);
    let frame = Frame {
        canvas,
        left,
        top,
        width,
        height,
        colors,
        transparent,
    };
    Ok((decoder, frame))
}

fn damaged(error: DecodingError) -> String {
    match error {
        DecodingError::UnexpectedEof => damage::truncated("GIF"),
        other => damage::damaged("GIF", other),
    }
}
