//! Where a pass writes: rows of pixels one after the other, or pixels of maps with a border.

use crate::kernels::map::MapShape;

/// Positions of pixels, counted over all images.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Position of pixel 0.
    pub origin: usize,
    /// Number of pixels of an image. `line_pixels` is that of one of its lines.
    pub image_pixels: usize,
    pub line_pixels: usize,
    /// Values from image to image. `line` is the distance from line to line, `pixel` from pixel to pixel.
    pub image: usize,
    pub line: usize,
    pub pixel: usize,
}

impl Place {
    /// Positions of rows of `stride` values, written from column `column` on.
    pub fn rows(stride: usize, column: usize) -> Self {
        Self {
            origin: column,
            image_pixels: usize::MAX,
            line_pixels: usize::MAX,
            image: 0,
            line: 0,
            pixel: stride,
        }
    }

    /// Positions of the pixels of all images in maps of `shape`.
    pub fn maps(shape: MapShape) -> Self {
        Self {
            origin: shape.at(0, 0),
            image_pixels: shape.height * shape.width,
            line_pixels: shape.width,
            image: shape.len(),
            line: shape.row(),
            pixel: shape.channels,
        }
    }

    /// Position of the first value of pixel `i`.
    pub fn at(&self, i: usize) -> usize {
        self.from(i).at
    }

    /// The positions of pixel `first` and those after it. (A division for each pixel would take as long as the
    /// products of narrow layers.)
    #[inline(always)]
    pub fn from(self, first: usize) -> Positions {
        let (image, i) = (first / self.image_pixels, first % self.image_pixels);
        let (line, column) = (i / self.line_pixels, i % self.line_pixels);
        let image_at = self.origin + image * self.image;
        let line_at = image_at + line * self.line;
        Positions {
            place: self,
            image_at,
            line_at,
            at: line_at + column * self.pixel,
            lines: self.image_pixels / self.line_pixels - line,
            pixels: self.line_pixels - column,
        }
    }
}

/// Positions of pixels, one after the other.
pub(super) struct Positions {
    place: Place,
    /// Positions of the pixel's image, of its line, and of the pixel.
    image_at: usize,
    line_at: usize,
    at: usize,
    /// Lines of the image from the pixel's on, and pixels of the line from the pixel on.
    lines: usize,
    pixels: usize,
}

impl Positions {
    /// Position of the next pixel.
    #[inline(always)]
    pub fn step(&mut self) -> usize {
        let here = self.at;
        self.at += self.place.pixel;
        self.pixels -= 1;
        if self.pixels == 0 {
            self.pixels = self.place.line_pixels;
            self.line_at += self.place.line;
            self.lines -= 1;
            if self.lines == 0 {
                self.lines = self.place.image_pixels / self.place.line_pixels;
                self.image_at += self.place.image;
                self.line_at = self.image_at;
            }
            self.at = self.line_at;
        }
        here
    }
}
