//! Running a chain: stem, units, head, classifier.
//!
//! With at least as many images as threads, each thread takes groups of images through all layers. With fewer, all threads
//! share one image.

use super::maps::Maps;
use super::pass::{Next, pass};
use super::place::Place;
use super::product::Product;
use super::site::Site;
use super::units::Basic;
use super::{Chain, Stage};
use crate::kernels::rows::Rows;
use crate::runtime::buffer::Buffer;
use crate::runtime::team;
use crate::simd::Products;
use crate::simd::stored::Stored;

/// Greatest number of bytes of the images that a thread takes through all layers together.
const GROUP_BYTES: usize = 4 << 20;

/// Pixels that a pass computes together. What stays within a pass has to fit the cache.
const BLOCK: usize = 96;

/// Rows of the head's convolution that are averaged, in float32, while they are in the cache.
const HEAD_ROWS: usize = 48;

/// Rows of the head's convolution where products are in tiles: whole tiles, and all pixels of a photograph's last map.
const TILED_HEAD_ROWS: usize = 64;

/// Computes the logits of a batch. Threads take groups of images, or parts of one image if there are
/// fewer images than threads.
pub(super) fn batch<T: Stored>(
    chain: &Chain,
    images: &[f32],
    [count, height, width]: [usize; 3],
) -> Vec<f32> {
    let image = chain.stem.channels() * height * width;
    let classes = chain.classifier.outputs();
    assert!(image > 0, "images have pixels");
    assert_eq!(images.len(), count * image, "values of {count} images");
    let mut logits = vec![0.0; count * classes];
    let threads = team::threads();
    if count < threads {
        for (images, logits) in images
            .chunks_exact(image)
            .zip(logits.chunks_exact_mut(classes))
        {
            group::<T>(chain, images, [height, width], threads, logits);
        }
        return logits;
    }
    let most = images_of_group(chain, [height, width], size_of::<T>());
    // As many groups for each thread, of equal size.
    let size = count.div_ceil(count.div_ceil(most * threads) * threads);
    let groups = images
        .chunks(size * image)
        .zip(logits.chunks_mut(size * classes));
    team::map(groups, |_, (images, logits)| {
        group::<T>(chain, images, [height, width], 1, logits);
    });
    logits
}

/// Number of images that a thread takes through all layers together, stored in `stored` bytes a value. All images of a
/// group use a layer's weights while they are in the cache, but a large group drives its own rows and maps out of it. So
/// a group has about as many bytes as the weights: more images of few pixels, fewer of many, fewer of a narrow network.
fn images_of_group(chain: &Chain, size: [usize; 2], stored: usize) -> usize {
    let (mut site, mut row) = (chain.stem.site(1, size), chain.stem.row());
    let (mut image, mut weights) = (site.pixels() * row, 0);
    for stage in &chain.stages {
        let maps: usize = stage.downsample.map_channels().iter().sum();
        image = image.max(site.pixels() * (row + maps));
        (site, row) = (site.halved(), stage.row);
        let units: usize = stage.units.iter().map(Basic::weights).sum();
        weights += stage.downsample.weights() + units;
    }
    let bytes = (weights * size_of::<f32>()).min(GROUP_BYTES);
    // Rounded to the nearest.
    ((2 * bytes / (image * stored)).div_ceil(2)).max(1)
}

/// Computes the logits of some images in `bands` bands. Only a single image may have more than one band.
fn group<T: Stored>(
    chain: &Chain,
    images: &[f32],
    size: [usize; 2],
    bands: usize,
    logits: &mut [f32],
) {
    let (isa, stem) = (chain.isa, &chain.stem);
    let count = logits.len() / chain.classifier.outputs();
    let bordered = stem.bordered(images, size, bands);
    let mut site = stem.site(count, size);
    // Bands of whole lines.
    let lines = Site { width: 1, ..site }.bands(bands).into_iter();
    let lines: Vec<_> = lines
        .map(|lines| lines.start * site.width..lines.end * site.width)
        .collect();
    let mut rows = (Buffer::<T>::any(site.pixels() * stem.row()), stem.row());
    let first = chain.stages.first();
    let next = first.map_or(Next::End, |stage| Next::Downsample(&stage.downsample));
    let target = (&mut rows.0[..], rows.1);
    // The stem's pooling keeps lines of the convolution, so it computes whole images.
    let image = site.height * site.width;
    let mut maps: Maps<T> = pass(isa, site, &lines, image, target, next, |band| {
        stem.run(isa, &bordered, site, band);
    });
    for (number, stage) in chain.stages.iter().enumerate() {
        site = site.halved();
        rows = (Buffer::any(site.pixels() * stage.row), stage.row);
        let behind = chain.stages.get(number + 1);
        let behind = behind.map_or(Next::End, |stage| Next::Downsample(&stage.downsample));
        let target = (&mut rows.0[..], rows.1);
        maps = units(chain, stage, behind, site, bands, target, maps);
    }
    let features = head(chain, site, bands, (&rows.0, rows.1));
    classify(chain, &features, bands, logits);
}

/// Runs a stage's units and returns the filled maps of the unit after the stage, `behind`. `maps` are the
/// filled maps of the first unit.
fn units<T: Stored>(
    chain: &Chain,
    stage: &Stage,
    behind: Next,
    site: Site,
    bands: usize,
    (rows, row): (&mut [T], usize),
    mut maps: Maps<T>,
) -> Maps<T> {
    let (isa, bands) = (chain.isa, site.bands(bands));
    let next = |unit: usize| stage.units.get(unit).map_or(behind, Next::Basic);
    maps = pass(
        isa,
        site,
        &bands,
        BLOCK,
        (&mut *rows, row),
        next(0),
        |band| {
            stage.downsample.exit(isa, &maps, band);
        },
    );
    for (number, unit) in stage.units.iter().enumerate() {
        maps = pass(
            isa,
            site,
            &bands,
            BLOCK,
            (&mut *rows, row),
            next(number + 1),
            |band| {
                unit.exit(isa, &maps, band);
            },
        );
    }
    maps
}

/// Computes the last 1x1 convolution, averaged over each image's pixels. Threads take columns, because
/// there are few pixels and the weights are large. All images use a panel of the weights while it is in the cache.
/// In tiles one thread computes all columns, image after image, because that takes few microseconds.
fn head<T: Stored>(chain: &Chain, site: Site, bands: usize, (rows, row): (&[T], usize)) -> Buffer {
    let (isa, weights, all) = (chain.isa, &chain.head.weights, site.pixels());
    let (pixels, padded) = (site.height * site.width, weights.padded());
    let read = chain.last.read(isa, Rows::new(rows, row), all);
    let left = read.left();
    let mut features = Buffer::zeros(site.images * padded);
    let weight = 1.0 / pixels as f32;
    if chain.head.products() == Products::Tiles {
        let mut y = Buffer::<f32>::any(TILED_HEAD_ROWS * padded);
        for (image, out) in features.chunks_exact_mut(padded).enumerate() {
            for start in (0..pixels).step_by(TILED_HEAD_ROWS) {
                let count = TILED_HEAD_ROWS.min(pixels - start);
                let left = left.behind(image * pixels + start);
                let to = (&mut y[..], 0);
                let place = (Place::rows(padded, 0), 0);
                chain.head.run(isa, count, left, weights.all(), to, place);
                add_rows(out, &y[..count * padded], weight);
            }
        }
        return features;
    }
    weights.share_out(bands, &mut features, |panels, out| {
        // Columns of this share: all of them, or a part of them for a single image.
        let share = out.len().min(padded);
        let mut y = Buffer::<f32>::any(HEAD_ROWS * share);
        for panel in panels.clone() {
            let columns = weights.columns(panels.start, panel);
            let width = columns.len();
            for (image, out) in out.chunks_exact_mut(share).enumerate() {
                let out = &mut out[columns.clone()];
                for start in (0..pixels).step_by(HEAD_ROWS) {
                    let count = HEAD_ROWS.min(pixels - start);
                    let left = left.behind(image * pixels + start);
                    let (to, panels) = ((&mut y[..], 0), panel..panel + 1);
                    let place = (Place::rows(width, 0), 0);
                    chain.head.run(isa, count, left, panels, to, place);
                    add_rows(out, &y[..count * width], weight);
                }
            }
        }
    });
    features
}

/// Adds `weight` times each row of `y` to `out`.
fn add_rows(out: &mut [f32], y: &[f32], weight: f32) {
    for y in y.chunks_exact(out.len()) {
        out.iter_mut()
            .zip(y)
            .for_each(|(out, y)| *out += weight * y);
    }
}

/// Applies the linear classifier to the features.
fn classify(chain: &Chain, features: &[f32], bands: usize, logits: &mut [f32]) {
    let (isa, weights, row) = (chain.isa, &chain.classifier, chain.head.weights.padded());
    let (images, classes) = (features.len() / row, weights.outputs());
    let mut padded = Buffer::any(images * weights.padded());
    weights.share_out(bands, &mut padded, |panels, out| {
        let width = out.len().min(weights.padded());
        isa.run(Product {
            rows: images,
            left: features,
            left_row: row,
            terms: &weights.terms,
            weights,
            panels,
            relu: false,
            out,
            out_start: 0,
            place: Place::rows(width, 0),
            first: 0,
        });
    });
    let rows = padded.chunks_exact(weights.padded());
    for (logits, padded) in logits.chunks_exact_mut(classes).zip(rows) {
        logits.copy_from_slice(&padded[..classes]);
    }
}
