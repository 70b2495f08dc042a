//! How a product is cut: its columns into panels of a few vectors, its rows into tiles whose sums fit the registers.

/// Vectors of the next panel, of the `left` ones: the widest tile, unless a narrower one divides the rest
/// evenly.
#[inline(always)]
pub(crate) fn panel(tile_rows: [usize; 4], left: usize) -> usize {
    let widest = (1..=4).rev().find(|n| tile_rows[4 - n] > 0).unwrap_or(1);
    if left <= widest {
        return left;
    }
    if !left.is_multiple_of(widest)
        && widest > 2
        && (left.is_multiple_of(widest - 1) || left == widest + 1)
    {
        return widest - 1;
    }
    widest
}

/// Calls `$tile::<S, ROWS, WIDTH>(s, at)` for a tile of `$width` vectors and `$count` rows. The sizes are
/// constants, so the tile's sums stay in registers. The call is unsafe if `$tile` is.
macro_rules! sized_tile {
    ($tile:ident::<$simd:ident>($s:expr, $at:expr), $width:expr, $count:expr) => {
        match $width {
            1 => sized_tile!(@ $tile, $simd, $s, $at, $count, 1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            2 => sized_tile!(@ $tile, $simd, $s, $at, $count, 2: 1 2 3 4 5 6 7 8 9 10 11 12),
            3 => sized_tile!(@ $tile, $simd, $s, $at, $count, 3: 1 2 3 4 5 6 7 8),
            _ => sized_tile!(@ $tile, $simd, $s, $at, $count, 4: 1 2 3 4 5 6),
        }
    };
    (@ $tile:ident, $simd:ident, $s:expr, $at:expr, $count:expr, $width:literal: $($rows:literal)*) => {
        match $count {
            $($rows if $rows <= $simd::TILE_ROWS[4 - $width] => {
                $tile::<$simd, $rows, $width>($s, $at)
            })*
            _ => unreachable!("a tile has as many rows as registers allow"),
        }
    };
}
pub(crate) use sized_tile;
