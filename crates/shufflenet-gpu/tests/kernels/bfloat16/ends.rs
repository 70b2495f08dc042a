//! Tests of the end of a unit (concatenation and shuffle) in bfloat16, forward and backward.

use shufflenet_gpu::join::{Side, join};
use shufflenet_gpu::pointwise::Columns;
use shufflenet_gpu::separate::{Branch, Passed, branches, passed_and_branch};

use super::{BOTH, assert_rounded, assert_sums, branch, map};
use crate::host::{client, upload, upload_as};

#[test]
fn the_end_of_a_unit_that_passes_channels_on() {
    let client = client();
    let pixels = 97;
    // The first two splits are in half. After the others both values of a word may come from the same side.
    for (left, right, residual) in [
        (24, 24, false),
        (58, 58, true),
        (12, 36, true),
        (6, 8, false),
    ] {
        let row = left + right;
        let runs = BOTH.map(|stored| {
            let data = map(&client, pixels * row, 1, stored);
            let [x, input] = [0, left].map(|first| Columns {
                data: data.clone(),
                row,
                first,
            });
            let (y, norm) = branch(&client, pixels * right, right, 2, stored);
            let rows = upload(&client, &norm.rows());
            let passed = Side::Passed {
                x: &x,
                channels: left,
            };
            let transformed = Side::Transformed {
                y: &y,
                norm: &rows,
                channels: right,
                residual: residual.then_some(&input),
            };
            let out = join(&passed, &transformed, pixels);

            let dout = map(&client, pixels * row, 3, stored);
            let dx = upload_as(&client, &vec![9.0; pixels * row], stored);
            let of = Branch {
                y: &y,
                norm: &rows,
                columns: right,
            };
            let passed = Passed {
                dx: &dx,
                channels: left,
                residual,
            };
            let (g, sums) = passed_and_branch(&dout, pixels, &passed, &of);
            assert_sums(&g, &sums, &y, &norm);
            [out, dx, g]
        });
        for (i, what) in ["out", "dx", "g"].iter().enumerate() {
            assert_rounded(what, runs.each_ref().map(|run| &run[i]));
        }
    }
}

#[test]
fn the_end_of_a_unit_with_two_branches() {
    let client = client();
    let pixels = 97;
    for (left, right) in [(24, 24), (58, 58), (6, 10)] {
        let runs = BOTH.map(|stored| {
            let sides = [(left, 1), (right, 2)];
            let sides = sides
                .map(|(channels, seed)| branch(&client, pixels * channels, channels, seed, stored));
            let rows = sides
                .each_ref()
                .map(|(_, norm)| upload(&client, &norm.rows()));
            let side = |i: usize, channels| Side::Transformed {
                y: &sides[i].0,
                norm: &rows[i],
                channels,
                residual: None,
            };
            let out = join(&side(0, left), &side(1, right), pixels);
            let dout = map(&client, pixels * (left + right), 3, stored);
            let of = |i: usize, columns| Branch {
                y: &sides[i].0,
                norm: &rows[i],
                columns,
            };
            let made = branches(&dout, pixels, &[of(0, left), of(1, right)], false);
            for ((g, sums), (y, norm)) in made.iter().zip(&sides) {
                assert_sums(g, sums, y, norm);
            }
            let [(g_left, _), (g_right, _)] = made;
            [out, g_left, g_right]
        });
        for (i, what) in ["out", "g of the left", "g of the right"]
            .iter()
            .enumerate()
        {
            assert_rounded(what, runs.each_ref().map(|run| &run[i]));
        }
    }
}
