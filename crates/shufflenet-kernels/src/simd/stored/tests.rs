use super::*;
use crate::simd::{Isa, Kernel};

/// Rounds `x` to `out`, and interleaves `x` with its reverse, in pieces of `piece` values. The first of `pairs` is rounded
/// before it is interleaved, the second as it is interleaved.
struct Round<'a> {
    x: &'a [f32],
    piece: usize,
    out: &'a mut [bf16],
    pairs: [&'a mut [bf16]; 2],
}

impl Kernel for Round<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let reversed: Vec<f32> = self.x.iter().rev().copied().collect();
        let piece = self.piece.min(S::LANES);
        for first in (0..self.x.len()).step_by(piece) {
            let n = piece.min(self.x.len() - first);
            // SAFETY: `n` values from `first` on are within `x` and `out`, and `n` pairs within `pairs`.
            unsafe {
                let a = s.load_first(self.x.as_ptr().add(first), n);
                let b = s.load_first(reversed.as_ptr().add(first), n);
                bf16::store_first(s, self.out.as_mut_ptr().add(first), n, a);
                let to = self
                    .pairs
                    .each_mut()
                    .map(|to| to.as_mut_ptr().add(2 * first));
                s.store_first(to[1].cast(), n, f32::bf16_pairs(s, a, b));
                let (a, b) = (bf16::rounded(s, a), bf16::rounded(s, b));
                bf16::store_pairs(s, to[0], n, a, b);
            }
        }
    }
}

/// Widens `x` to `out`, and separates the pairs of `x` into `sides`, in pieces of `piece` values.
struct Widen<'a> {
    x: &'a [bf16],
    piece: usize,
    out: &'a mut [f32],
    sides: [&'a mut [f32]; 2],
}

impl Kernel for Widen<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let piece = self.piece.min(S::LANES);
        for first in (0..self.x.len() / 2).step_by(piece) {
            let n = piece.min(self.x.len() / 2 - first);
            // SAFETY: `n` pairs from pair `first` on are within `x` and `out`, and `n` values within each side.
            unsafe {
                for half in [2 * first, 2 * first + n] {
                    let v = bf16::load_first(s, self.x.as_ptr().add(half), n);
                    s.store_first(self.out.as_mut_ptr().add(half), n, v);
                }
                let (a, b) = bf16::load_pairs(s, self.x.as_ptr().add(2 * first), n);
                s.store_first(self.sides[0].as_mut_ptr().add(first), n, a);
                s.store_first(self.sides[1].as_mut_ptr().add(first), n, b);
            }
        }
    }
}

/// The nearest bfloat16, found by comparing distances in float64.
fn nearest(x: f32) -> u16 {
    let below = (x.to_bits() >> 16) as u16;
    if x.is_nan() {
        return below | 0x40;
    }
    if x.is_infinite() {
        return below;
    }
    // The next value after the largest finite value would be 2^128.
    let magnitude = |bits: u16| match bits & 0x7fff {
        0x7f80 => 2f64.powi(128),
        bits => f64::from(f32::from_bits(u32::from(bits) << 16)),
    };
    let x = f64::from(x.abs());
    let (down, up) = (x - magnitude(below), magnitude(below + 1) - x);
    match down.total_cmp(&up) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => below + 1,
        std::cmp::Ordering::Equal => below + below % 2,
    }
}

/// Every bfloat16, and float32 numbers between it and the next bfloat16: next to each of the two, half way, and next to
/// half way. Among them are zeros, subnormals, infinities and NaN of every kind.
fn numbers() -> Vec<f32> {
    let low = [0, 1, 0x3fff, 0x7fff, 0x8000, 0x8001, 0xc000, 0xffff];
    let near = |upper: u32| low.map(|low| f32::from_bits(upper << 16 | low));
    (0..=0xffff).flat_map(near).collect()
}

#[test]
fn rounding_is_to_the_nearest_with_ties_to_even() {
    let x = numbers();
    // The instruction of AVX512-BF16 treats subnormal numbers as zero.
    let flushed = |x: f32| {
        if x.is_subnormal() {
            x.signum() * 0.0
        } else {
            x
        }
    };
    for isa in Isa::available() {
        let read = |x: f32| match isa {
            Isa::Avx512Bf16(_) => flushed(x),
            _ => x,
        };
        let expected: Vec<u16> = x.iter().map(|x| nearest(read(*x))).collect();
        for piece in [16, 8, 5] {
            let mut out = vec![bf16::ZERO; x.len()];
            let mut pairs = [0, 1].map(|_| vec![bf16::ZERO; 2 * x.len()]);
            isa.run(Round {
                x: &x,
                piece,
                out: &mut out,
                pairs: pairs.each_mut().map(|pairs| &mut pairs[..]),
            });
            let reversed = expected.iter().rev();
            for (i, (&a, &b)) in expected.iter().zip(reversed).enumerate() {
                assert_eq!(out[i].to_bits(), a, "{isa:?}, {:#010x}", x[i].to_bits());
                for pairs in &pairs {
                    let found = [pairs[2 * i], pairs[2 * i + 1]].map(bf16::to_bits);
                    assert_eq!(found, [a, b], "{isa:?}, {:#010x}", x[i].to_bits());
                }
            }
        }
    }
}

#[test]
fn special_values_are_rounded_as_documented() {
    let rounded = |bits: u32| nearest(f32::from_bits(bits));
    // Half a step above the largest finite value, and just below that.
    assert_eq!(
        [rounded(0x7f7f_8000), rounded(0x7f7f_7fff)],
        [0x7f80, 0x7f7f]
    );
    // A signalling NaN, and a NaN whose payload would overflow if it were rounded like a number.
    assert_eq!(
        [rounded(0x7f80_0001), rounded(0xffff_ffff)],
        [0x7fc0, 0xffff]
    );
    // The largest subnormal float32 becomes the smallest normal number. The smallest becomes zero and keeps its sign.
    assert_eq!(
        [rounded(0x007f_ffff), rounded(0x8000_0001)],
        [0x0080, 0x8000]
    );
}

#[test]
fn widening_is_exact_and_rounding_undoes_it() {
    // Signalling NaN are left out, because rounding makes them quiet.
    let all = (0..=u16::MAX).map(bf16::from_bits);
    let x: Vec<bf16> = all
        .filter(|x| !x.is_nan() || x.to_bits() & 0x40 > 0)
        .collect();
    let bits = |x: &[f32]| -> Vec<u32> { x.iter().map(|x| x.to_bits()).collect() };
    let upper = |x: bf16| u32::from(x.to_bits()) << 16;
    let expected: Vec<u32> = x.iter().map(|x| upper(*x)).collect();
    for isa in Isa::available() {
        for piece in [16, 8, 7, 2, 1] {
            let mut out = vec![0.0; x.len()];
            let [mut left, mut right] = [0, 1].map(|_| vec![0.0; x.len() / 2]);
            isa.run(Widen {
                x: &x,
                piece,
                out: &mut out,
                sides: [&mut left, &mut right],
            });
            assert_eq!(bits(&out), expected, "{isa:?}");
            let pairs = x
                .chunks_exact(2)
                .map(|pair| [upper(pair[0]), upper(pair[1])]);
            let (lefts, rights): (Vec<_>, Vec<_>) = pairs.map(|[a, b]| (a, b)).unzip();
            assert_eq!((bits(&left), bits(&right)), (lefts, rights), "{isa:?}");
        }
    }
    for x in x {
        assert_eq!(nearest(x.widened()), x.to_bits());
    }
}

#[test]
fn a_tail_is_cut_to_its_length() {
    for isa in Isa::available() {
        for n in 1..isa.lanes() {
            // The slices are exactly as long as the tail, so a sanitizer detects reads and writes after it.
            let x: Vec<bf16> = (0..2 * n).map(|i| bf16::from_f32(i as f32)).collect();
            let mut out = vec![0.0; 2 * n];
            let [mut left, mut right] = [0, 1].map(|_| vec![0.0; n]);
            isa.run(Widen {
                x: &x,
                piece: n,
                out: &mut out,
                sides: [&mut left, &mut right],
            });
            let mut narrow = vec![bf16::ZERO; 2 * n + 1];
            let mut pairs = [0, 1].map(|_| vec![bf16::ZERO; 4 * n]);
            isa.run(Round {
                x: &out,
                piece: n,
                out: &mut narrow[..2 * n],
                pairs: pairs.each_mut().map(|pairs| &mut pairs[..]),
            });
            assert_eq!(narrow[..2 * n], x);
            assert_eq!(narrow[2 * n], bf16::ZERO, "{isa:?}, {n}");
        }
    }
}
