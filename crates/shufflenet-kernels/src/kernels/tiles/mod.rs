//! Matrix products in tiles of bfloat16: how operands are laid out, and how results become rows again.
//!
//! ```text
//! out[i][j] (+)= sum over k of left[i][k] * right[k][j]
//! ```
//!
//! The tile instructions ([`crate::simd::amx`]) multiply a tile of 16 rows and 32 terms by one of 32 terms and 16 columns.
//! Both operands are copied into **tile order** first, a few hundred rows at a time, while they are in the cache. All
//! tiles are whole, what a matrix lacks is zero, and the instructions read memory in sequence. A tile has 16 by 16
//! *pairs* of neighbouring terms, a pair in 32 bits:
//!
//! ```text
//! left,  tile (i, s), row r, pair p:      left[16 i + r][32 s + 2 p], left[16 i + r][32 s + 2 p + 1]
//! right, tile (j, s), row p, pair c:      right[32 s + 2 p][16 j + c], right[32 s + 2 p + 1][16 j + c]
//! ```
//!
//! Tiles that share `i` or `j` are a *line*, and the lines follow each other, an even number of them. A tile of the
//! right side is the transpose of a tile of the left side of the transposed matrix. So two kernels, each with or
//! without a transposition, make all operands of a 1x1 convolution from matrices that are stored by rows:
//!
//! | product | left | right |
//! |---|---|---|
//! | forward, `x W'` | [`ByRows`] of `x` | [`ByRows`] of `W`, transposed |
//! | input gradient, `dy W` | [`NormGradientTiles`] | [`ByColumns`] of `W` |
//! | weight gradient, `x' dy` | [`ByColumns`] of `x`, transposed | [`NormGradientTiles`] |

mod norm_gradient;
mod pack;
mod product;
#[cfg(test)]
mod tests;

pub(crate) use norm_gradient::NormGradientTiles;
pub(crate) use pack::{ByColumns, ByRows};
pub(crate) use product::{Product, add_product, blocks_to_rows, each_block};

use crate::simd::amx::Tiles;

/// Rows of a tile of the left side and of a line of tiles; columns on the right side.
const SIDE: usize = 16;

/// Terms of a tile.
const TERMS: usize = 32;

/// Values of a tile.
pub(crate) const TILE_VALUES: usize = SIDE * TERMS;

/// Rows and columns of a block of the result: two lines of each side.
pub(crate) const BLOCK: usize = 2 * SIDE;

/// Values of a block of the result.
pub(crate) const BLOCK_VALUES: usize = BLOCK * BLOCK;

/// Values of an operand in tile order. `outer` is its number of rows on the left side, and of columns on the right side.
pub(crate) fn packed_len(outer: usize, terms: usize) -> usize {
    outer.next_multiple_of(BLOCK) * terms.next_multiple_of(TERMS)
}

/// Values of a weight gradient's blocks.
pub(crate) fn blocks_len(rows: usize, columns: usize) -> usize {
    rows.next_multiple_of(BLOCK) * columns.next_multiple_of(BLOCK)
}

/// The tile registers of this thread, for operands in tile order: there are such only where the process may use tiles.
pub(crate) fn configured() -> Tiles {
    let Some(tiles) = Tiles::configure() else {
        unreachable!("operands are in tile order only where there are tiles");
    };
    tiles
}
