//! Translates the labels of data into the order of a network's outputs.

use shufflenet_data::{ClassOrder, Dataset, UnknownClasses, orders_differ};

use super::DataRequest;
use crate::checkpoint::description::Description;
use crate::display::words::{counted, first_classes};
use crate::error::TrainError;

/// Numbers the labels of `set` as the network's outputs: by the names of the classes, or in the assumed order for a network
/// without names. Adds lines on assumptions and left-out images to `notes`. Also returns the number of left-out images.
///
/// # Errors
/// [`TrainError::Data`]: classes that the network does not know, if the request refuses them. [`TrainError::Value`]: a
/// network without names, and another number of classes or an ambiguous order.
pub(super) fn match_names(
    mut set: Dataset,
    description: &Description,
    request: &DataRequest,
    notes: &mut Vec<String>,
) -> Result<(Dataset, usize), TrainError> {
    let names = &description.class_names;
    if description.unnamed {
        check_count(names, &set)?;
        notes.push(assume_order(&mut set, request.order)?);
        return Ok((set, 0));
    }
    if request.order.is_some() {
        notes.push("--class-order is not used: the network has class names".into());
    }
    let (set, left_out) = set.with_classes(names, "the network", request.unknown)?;
    for (class, count) in &left_out {
        notes.push(format!(
            "{} of class {class} left out: the network does not know it",
            counted(*count, "image")
        ));
    }
    let count = left_out.iter().map(|(_, count)| count).sum();
    Ok((set, count))
}

/// Refuses a number of classes that is not the number of outputs of a network without names.
fn check_count(outputs: &[String], set: &Dataset) -> Result<(), TrainError> {
    if outputs.len() == set.classes() {
        return Ok(());
    }
    Err(TrainError::Value {
        key: "the number of classes".into(),
        found: format!("{} in {}", set.classes(), set.name),
        accepted: format!(
            "{}, the outputs of the network; an import with --class-names matches classes by name, whatever their \
             number",
            outputs.len()
        ),
    })
}

/// Numbers the classes of `set` in the order that a network without names is assumed to have. Returns a line that
/// says so.
fn assume_order(set: &mut Dataset, asked: Option<ClassOrder>) -> Result<String, TrainError> {
    if asked.is_none() && orders_differ(&set.class_names) {
        return Err(TrainError::Value {
            key: "the order of the classes".into(),
            found: format!("unknown to a network without class names, and ambiguous for {}", first_classes(&set.class_names, 5)),
            accepted: "--class-order bytes (1, 10, 2: folders in torchvision) or --class-order value (1, 2, 10), or an \
                       import with --class-names"
                .into(),
        });
    }
    if let Some(order) = asked {
        let names = order.sorted(&set.class_names);
        let (sorted, _) = set
            .clone()
            .with_classes(&names, "the data", UnknownClasses::Refuse)?;
        *set = sorted;
    }
    Ok(format!(
        "the network has no class names: its outputs are taken as {} (import with --class-names says otherwise)",
        first_classes(&set.class_names, 10)
    ))
}
