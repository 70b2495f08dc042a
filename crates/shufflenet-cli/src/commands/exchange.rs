//! `shufflenet import` and `shufflenet export`.

use std::process::ExitCode;

use shufflenet_train::TrainError;
use shufflenet_train::exchange::export as exports;
use shufflenet_train::exchange::import::{
    ImportRequest, import as import_weights, read_class_names,
};
use shufflenet_train::exchange::shipped::{ShipRequest, ship};
use shufflenet_train::exchange::web::{PageRequest, write_page};

use crate::arguments::{Export, ExportFormat, Import};
use crate::process::print;

pub fn export(arguments: &Export) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        ExportFormat::Safetensors => exports::ExportFormat::Safetensors,
        ExportFormat::Onnx => exports::ExportFormat::Onnx,
        ExportFormat::Model => return model(arguments),
        ExportFormat::Web => return web(arguments),
    };
    refuse(arguments, &["--licence", "--data"])?;
    let sizes = match arguments.dynamic_size {
        true => exports::Sizes::Dynamic,
        false => exports::Sizes::Fixed,
    };
    let weights = arguments.weights.chosen();
    let line = exports::export(
        &arguments.checkpoint,
        weights,
        format,
        sizes,
        &arguments.out,
    )?;
    print(&format!("{line}\n"))
}

/// Refuses those of `flags` that were given, because they belong to another format.
fn refuse(arguments: &Export, flags: &[&str]) -> Result<(), TrainError> {
    let all = [
        (
            "--licence",
            arguments.licence.is_some(),
            "--format model or web",
        ),
        ("--data", arguments.data.is_some(), "--format model"),
        ("--dynamic-size", arguments.dynamic_size, "--format onnx"),
    ];
    let mut given = all.into_iter().filter(|(_, is_given, _)| *is_given);
    match given.find(|(flag, _, _)| flags.contains(flag)) {
        Some((flag, _, format)) => Err(TrainError::Value {
            key: flag.into(),
            found: "given with another format".into(),
            accepted: format!("{flag} with {format}"),
        }),
        None => Ok(()),
    }
}

/// The folder of --format web.
fn web(arguments: &Export) -> anyhow::Result<ExitCode> {
    refuse(arguments, &["--data", "--dynamic-size"])?;
    let lines = write_page(&PageRequest {
        checkpoint: &arguments.checkpoint,
        weights: arguments.weights.chosen(),
        licence: arguments.licence.as_deref().unwrap_or_default(),
        out: &arguments.out,
    })?;
    print(&format!("{}\n", lines.join("\n")))
}

/// The folder of --format model.
fn model(arguments: &Export) -> anyhow::Result<ExitCode> {
    refuse(arguments, &["--dynamic-size"])?;
    let lines = ship(&ShipRequest {
        checkpoint: arguments.checkpoint.clone(),
        weights: arguments.weights.chosen(),
        // An empty licence is refused later, with what is accepted.
        licence: arguments.licence.clone().unwrap_or_default(),
        data: arguments.data.clone(),
        out: arguments.out.clone(),
    })?;
    print(&format!("{}\n", lines.join("\n")))
}

pub fn import(arguments: &Import) -> anyhow::Result<ExitCode> {
    let class_names = arguments.class_names.as_deref().map(read_class_names);
    let lines = import_weights(&ImportRequest {
        weights: arguments.weights.clone(),
        prefix: arguments.prefix.clone(),
        config: arguments.network.config.clone(),
        overrides: arguments.network.overrides(),
        bgr: arguments.bgr,
        normalization: arguments.normalization(),
        class_names: class_names.transpose()?,
        size: arguments.size.map(usize::from),
        partial: arguments.partial,
        out: arguments.out.clone(),
    })?;
    print(&format!("{}\n", lines.join("\n")))
}
