//! Weights of a matrix product, packed once: panels of a few vectors, so that a panel is read in order.

use std::ops::Range;

use super::folded::Folded;
use super::site::cut;
use crate::kernels::operand::Operand;
use crate::kernels::packing;
use crate::kernels::panels::panel;
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::Isa;

/// Packed weights with the positions of the terms that they are multiplied by.
///
/// The product reads panels and bias without checks of its own ([`super::product`]): only [`Weights::new`] fills them.
pub(super) struct Weights<O: Operand = f32> {
    /// Positions of the left side's operands, from the start of its row.
    pub terms: Vec<u32>,
    pub panels: Vec<Panel>,
    /// The panels, one after the other.
    pub values: Buffer<O::Term>,
    /// Padded with zeros to whole vectors.
    pub bias: Buffer,
    outputs: usize,
    pub lanes: usize,
}

/// Some columns of the result, whole vectors.
pub(super) struct Panel {
    /// Index of the panel's first vector.
    pub first: usize,
    /// Number of the panel's vectors.
    pub width: usize,
    /// Index of the panel's first operand; the panel has `width` vectors per term.
    pub start: usize,
}

impl<O: Operand> Weights<O> {
    /// Packs `layer`, whose input `k` is at `places[k]`. Sums run in the order of the places.
    pub fn new(isa: Isa, layer: &Folded, places: &[usize]) -> Self {
        let (inputs, outputs, lanes) = (layer.inputs(), layer.outputs(), isa.lanes());
        assert_eq!(places.len(), inputs, "a place for each input");
        let mut terms: Vec<usize> = places.iter().map(|place| place / O::TERMS).collect();
        terms.sort_unstable();
        terms.dedup();
        let vectors = outputs.div_ceil(lanes);
        let mut values = Buffer::zeros(terms.len() * vectors * lanes * O::TERMS);
        let mut panels = Vec::new();
        let (mut first, mut start) = (0, 0);
        while first < vectors {
            let width = panel(isa.tile_rows(), vectors - first);
            let columns = first * lanes..((first + width) * lanes).min(outputs);
            for (k, place) in places.iter().enumerate() {
                let row = terms.partition_point(|term| *term < place / O::TERMS);
                let row = (start + row * width * lanes) * O::TERMS;
                let row = values[row..].iter_mut().skip(place % O::TERMS);
                for (value, j) in row.step_by(O::TERMS).zip(columns.clone()) {
                    *value = O::term(layer.weight[j * inputs + k]);
                }
            }
            panels.push(Panel {
                first,
                width,
                start,
            });
            first += width;
            start += terms.len() * width * lanes;
        }
        Self {
            terms: terms.into_iter().map(|term| term as u32).collect(),
            panels,
            values,
            bias: packing::padded(isa, &layer.bias, outputs),
            outputs,
            lanes,
        }
    }

    /// Number of columns of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of columns of the result, padded to whole vectors.
    pub fn padded(&self) -> usize {
        self.bias.len()
    }

    /// Range of all panels.
    pub fn all(&self) -> Range<usize> {
        0..self.panels.len()
    }

    /// Columns of the result that `panel` has, counted from those of the panel `first`.
    pub fn columns(&self, first: usize, panel: usize) -> Range<usize> {
        let start = (self.panels[panel].first - self.panels[first].first) * self.lanes;
        start..start + self.panels[panel].width * self.lanes
    }

    /// Runs `work` on all panels in `shares` shares, each with its columns of `out`. `out` has rows of
    /// [`Self::padded`] values; it may have more than one row only if there is a single share.
    pub fn share_out(
        &self,
        shares: usize,
        out: &mut [f32],
        work: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) {
        assert!(
            shares == 1 || out.len() == self.padded(),
            "a share is part of one row"
        );
        let share = self.panels.len().div_ceil(shares);
        let panels: Vec<_> = (0..self.panels.len())
            .step_by(share)
            .map(|start| start..(start + share).min(self.panels.len()))
            .collect();
        let pieces = cut(out, &panels, |panel| self.panels[panel].first * self.lanes);
        team::map(panels.into_iter().zip(pieces), |_, (panels, (_, out))| {
            work(panels, out);
        });
    }
}
