//! The stem in training, backward: the gradients of [`crate::training::stem`].
//!
//! ```text
//! g = relu'(norm(y)) unpool(dout),    dy = norm'(g),    dW' = windows(images)^T dy
//! ```
//!
//! Training needs no gradient of the images, so [`Stem::backward`] does not compute it. A caller that needs it
//! starts from [`Stem::convolution_gradient`].

use crate::kernels::matmul::Matmul;
use crate::kernels::max_pool::MaxPoolGradient;
use crate::kernels::packing;
use crate::kernels::prefetch::Ahead;
use crate::kernels::rows::{NormGradient, ReluGradient, Rows};
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::stored::Stored;
use crate::training::join_backward::BranchGradient;
use crate::training::moments::GradientMoments;
use crate::training::pointwise::{ConvNormGradient, Normed};
use crate::training::stem::{Saved, Stem};

impl Stem<'_> {
    /// The gradient of the convolution's output from that of the stem's output. Only the gradient of the
    /// images needs it as a whole.
    pub(crate) fn convolution_gradient<T: Stored>(&self, saved: &Saved<T>, dout: &[T]) -> Buffer {
        let (g, sums) = self.unpool(saved, dout);
        let columns = self.conv.outputs();
        let Normed { y, norm } = &saved.normed;
        let backward = norm.backward(&sums);
        let [a, b, c] = &backward.factors;
        // One row at a time, because rows of the result have no padding to whole vectors.
        let mut row = Buffer::any(self.at.isa.padded(columns));
        let mut dy = Buffer::any(y.len());
        for (i, dy) in dy.chunks_exact_mut(columns).enumerate() {
            let rows_of = |data| Rows::new(data, columns);
            self.at.isa.run(NormGradient {
                rows: 1,
                columns,
                g: rows_of(&g[i * columns..]),
                y: rows_of(&y[i * columns..]),
                mean: &norm.mean,
                factors: [a, b, c],
                out_stride: row.len(),
                out: &mut row,
            });
            dy.copy_from_slice(&row[..columns]);
        }
        dy
    }

    /// The gradients of the convolution and its batch norm from the gradient of the stem's output.
    pub(crate) fn backward<T: Stored>(
        &self,
        images: &[f32],
        saved: &Saved<T>,
        dout: &[T],
    ) -> ConvNormGradient {
        let (g, sums) = self.unpool(saved, dout);
        let (at, columns) = (self.at, self.conv.outputs());
        let isa = at.isa;
        let norm = saved.normed.norm.backward(&sums);
        let [a, b, c] = &norm.factors;
        let (inner, padded) = (9 * self.channels, isa.padded(columns));
        let parts = at.images.div_ceil(at.part);
        let products: Vec<Buffer> = team::map(0..parts, |_, part| {
            let mut product = Buffer::zeros(inner * padded);
            let mut dy = Buffer::any(self.block_pixels() * padded);
            self.windows(images, part, |first, rows, windows| {
                let from = first * columns;
                let rows_of = |data| Rows::new(data, columns);
                isa.run(NormGradient {
                    rows,
                    columns,
                    g: rows_of(&g[from..]),
                    y: rows_of(&saved.normed.y[from..]),
                    mean: &saved.normed.norm.mean,
                    factors: [a, b, c],
                    out: &mut dy,
                    out_stride: padded,
                });
                isa.run(Matmul {
                    rows: inner,
                    inner: rows,
                    columns,
                    left: windows,
                    left_strides: [1, inner],
                    right: &dy,
                    right_row: padded,
                    out: &mut product,
                    out_row: padded,
                    accumulate: true,
                    ahead: Ahead::NONE,
                });
            });
            product
        });
        let weight = self.weight_by_channel(&packing::summed(&products, inner, columns));
        ConvNormGradient::new(weight, norm)
    }

    /// The gradient of the batch norm's output, and the two sums of the norm's backward.
    fn unpool<T: Stored>(&self, saved: &Saved<T>, dout: &[T]) -> BranchGradient<T> {
        let (at, columns) = (self.at, self.conv.outputs());
        let isa = at.isa;
        let Normed { y, norm } = &saved.normed;
        let image = at.pixels_out() * columns;
        let [height, width] = self.output();
        let image_out = height * width * columns;
        let mut g = Buffer::<T>::any(y.len());
        let moments: Vec<GradientMoments> = team::map(g.chunks_mut(at.part * image), |part, g| {
            let mut moments = GradientMoments::new(isa, columns);
            let pooling = self
                .pool
                .map(|padding| self.pool_map(padding))
                .zip(saved.places.as_ref());
            let mut map = Buffer::any(pooling.map_or(0, |(shape, _)| shape.len()));
            for (i, g) in g.chunks_exact_mut(image).enumerate() {
                let number = part * at.part + i;
                let y = Rows::new(&y[number * image..], columns);
                let dout = &dout[number * image_out..][..image_out];
                let (scale, shift, out_stride) = (&norm.scale, &norm.shift, columns);
                match pooling {
                    None => isa.run(ReluGradient {
                        rows: at.pixels_out(),
                        columns,
                        g: Rows::new(dout, columns),
                        y,
                        scale,
                        shift,
                        out: g,
                        out_stride,
                    }),
                    Some((shape, places)) => {
                        let places = &places[number * image_out..][..image_out];
                        map.fill(0.0);
                        isa.run(MaxPoolGradient {
                            shape,
                            columns,
                            dout,
                            places,
                            map: &mut map,
                        });
                        for (line, g) in g.chunks_exact_mut(shape.width * columns).enumerate() {
                            let from = Rows::new(&map[shape.at(line, 0)..], shape.channels);
                            let y = Rows::new(&y.data[line * shape.width * columns..], columns);
                            isa.run(ReluGradient {
                                rows: shape.width,
                                columns,
                                g: from,
                                y,
                                scale,
                                shift,
                                out: g,
                                out_stride,
                            });
                        }
                    }
                }
                moments.add(isa, at.pixels_out(), Rows::new(g, columns), y, norm);
            }
            moments
        });
        (g, GradientMoments::merge(&moments))
    }
}
