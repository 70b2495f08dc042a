//! The pictures that a network classifies wrongly.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shufflenet_data::{DataError, png};

use super::percent;
use crate::display::html::escape;
use crate::display::words::counted;
use crate::evaluation::Evaluated;
use crate::evaluation::measures::Outcome;

/// Pictures of each kind.
const MOST_SHOWN: usize = 12;
/// Largest side, in pixels, of images that are enlarged without smoothing.
const SMALL: usize = 64;

/// Two rows of pictures: the mistakes with the highest confidence, and those with the highest loss.
pub(super) fn section(evaluated: &Evaluated) -> String {
    let records = evaluated.loader.indices().iter().copied();
    let mut wrong: Vec<(u32, Outcome)> = records
        .zip(evaluated.outcomes.iter().copied())
        .filter(|(_, outcome)| !outcome.is_right())
        .collect();
    let count = wrong.len();
    let mut text = format!(
        "<h2>Mistakes</h2>\n<p>{count} of {}. What it is, what it was taken for, and the probability of \
         either.</p>\n",
        counted(evaluated.outcomes.len(), "record")
    );
    wrong.sort_by(|(_, a), (_, b)| b.probability.total_cmp(&a.probability));
    text += &row(evaluated, "The most confident", &wrong);
    wrong.sort_by(|(_, a), (_, b)| b.loss.total_cmp(&a.loss));
    text += &row(
        evaluated,
        "The worst: least probability for what it is",
        &wrong,
    );
    text
}

/// The first outcomes of an order.
fn row(evaluated: &Evaluated, title: &str, wrong: &[(u32, Outcome)]) -> String {
    let shown = wrong.iter().take(MOST_SHOWN);
    let pictures = shown.map(|(record, outcome)| picture(evaluated, *record, outcome));
    let pictures: String = pictures.collect();
    format!("<h3>{title}</h3>\n<div class=\"pictures\">\n{pictures}</div>\n")
}

fn picture(evaluated: &Evaluated, record: u32, outcome: &Outcome) -> String {
    let dataset = evaluated.loader.dataset();
    let name = |class: usize| dataset.class_names.get(class).map_or("?", String::as_str);
    let small = match dataset.shape.width.max(dataset.shape.height) <= SMALL {
        true => " class=\"small\"",
        false => "",
    };
    let image = || -> Result<String, DataError> {
        let pixels = dataset.image(record as usize)?;
        Ok(STANDARD.encode(png(&pixels, dataset.shape)?))
    };
    let image = match image() {
        Ok(image) => format!("<img{small} alt=\"\" src=\"data:image/png;base64,{image}\">"),
        Err(error) => escape(&error.to_string()),
    };
    format!(
        "<div class=\"picture\" title=\"{}\">{image}<b>{}</b> {}<br>as {} {}</div>\n",
        escape(&dataset.record_name(record as usize)),
        escape(name(outcome.label)),
        percent(outcome.own, 1),
        escape(name(outcome.predicted)),
        percent(outcome.probability, 1),
    )
}
