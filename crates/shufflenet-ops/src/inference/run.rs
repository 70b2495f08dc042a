//! Running a chain: stem, units, head, classifier.

use super::pass::{Maps, Next, Site, pass};
use super::product::{Place, Product};
use super::{Chain, Stage};
use crate::runtime::buffer::Buffer;
use crate::runtime::team;

/// Images that a thread takes through all layers together. Late layers have few pixels and large
/// weights; all images of a group use the weights while they are in the cache.
const GROUP: usize = 4;

/// Rows of the head's convolution that are averaged while they are in the cache.
const HEAD_ROWS: usize = 48;

/// Computes the logits of a batch. Threads take groups of images, or parts of one image if there are
/// fewer images than threads.
pub(super) fn batch(chain: &Chain, images: &[f32], [count, height, width]: [usize; 3]) -> Vec<f32> {
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
            group(chain, images, [height, width], threads, logits);
        }
        return logits;
    }
    let size = count.div_ceil(threads).min(GROUP);
    let groups = images
        .chunks(size * image)
        .zip(logits.chunks_mut(size * classes));
    team::map(groups, |_, (images, logits)| {
        group(chain, images, [height, width], 1, logits);
    });
    logits
}

/// Computes the logits of some images in `bands` bands. Only a single image may have more than one band.
fn group(chain: &Chain, images: &[f32], size: [usize; 2], bands: usize, logits: &mut [f32]) {
    let (isa, stem) = (chain.isa, &chain.stem);
    let count = logits.len() / chain.classifier.outputs();
    let bordered = stem.bordered(images, size, bands);
    let mut site = stem.site(count, size);
    // Bands of whole lines.
    let lines = Site { width: 1, ..site }.bands(bands).into_iter();
    let lines: Vec<_> = lines
        .map(|lines| lines.start * site.width..lines.end * site.width)
        .collect();
    let mut rows = (Buffer::any(site.pixels() * stem.row()), stem.row());
    let first = chain.stages.first();
    let next = first.map_or(Next::End, |stage| Next::Downsample(&stage.downsample));
    let target = (&mut rows.0[..], rows.1);
    let mut maps = pass(isa, site, &lines, target, next, |band| {
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
fn units(
    chain: &Chain,
    stage: &Stage,
    behind: Next,
    site: Site,
    bands: usize,
    (rows, row): (&mut [f32], usize),
    mut maps: Maps,
) -> Maps {
    let (isa, bands) = (chain.isa, site.bands(bands));
    let next = |unit: usize| stage.units.get(unit).map_or(behind, Next::Basic);
    maps = pass(isa, site, &bands, (&mut *rows, row), next(0), |band| {
        stage.downsample.exit(isa, &maps, band);
    });
    for (number, unit) in stage.units.iter().enumerate() {
        maps = pass(
            isa,
            site,
            &bands,
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
/// there are few pixels and the weights are large.
fn head(chain: &Chain, site: Site, bands: usize, (rows, row): (&[f32], usize)) -> Buffer {
    let (isa, weights) = (chain.isa, &chain.head);
    let (pixels, padded) = (site.height * site.width, weights.padded());
    let mut features = Buffer::zeros(site.images * padded);
    let weight = 1.0 / pixels as f32;
    weights.share_out(bands, &mut features, |panels, out| {
        // Columns of this share: all of them, or a part of them for a single image.
        let width = out.len().min(padded);
        let mut y = Buffer::any(HEAD_ROWS * width);
        for (image, out) in out.chunks_exact_mut(width).enumerate() {
            for start in (0..pixels).step_by(HEAD_ROWS) {
                let count = HEAD_ROWS.min(pixels - start);
                isa.run(Product {
                    rows: count,
                    left: &rows[(image * pixels + start) * row..],
                    left_row: row,
                    terms: &weights.terms,
                    weights,
                    panels: panels.clone(),
                    relu: true,
                    out: &mut y,
                    out_start: 0,
                    place: Place::rows(width, 0),
                    first: 0,
                });
                for y in y.chunks_exact(width).take(count) {
                    out.iter_mut()
                        .zip(y)
                        .for_each(|(out, y)| *out += weight * y);
                }
            }
        }
    });
    features
}

/// Applies the linear classifier to the features.
fn classify(chain: &Chain, features: &[f32], bands: usize, logits: &mut [f32]) {
    let (isa, weights, row) = (chain.isa, &chain.classifier, chain.head.padded());
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
