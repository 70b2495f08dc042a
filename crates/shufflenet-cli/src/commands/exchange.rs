//! `shufflenet import` and `shufflenet export`: what their arguments ask for.

use std::process::ExitCode;

use shufflenet_train::TrainError;
use shufflenet_train::exchange::export as exports;
use shufflenet_train::exchange::import::{
    ImportRequest, import as import_weights, read_class_names,
};
use shufflenet_train::exchange::shipped::{ShipRequest, ship};
use shufflenet_train::exchange::web::web as write_page;

use crate::arguments::{Export, ExportFormat, Import};
use crate::process::print;

pub fn export(arguments: &Export) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        ExportFormat::Safetensors => exports::ExportFormat::Safetensors,
        ExportFormat::Onnx => exports::ExportFormat::Onnx,
        ExportFormat::Model => return model(arguments),
        ExportFormat::Web => return web(arguments),
    };
    refuse_flags_of_model(arguments)?;
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

/// The flags that belong to --format model, given with another.
fn refuse_flags_of_model(arguments: &Export) -> Result<(), TrainError> {
    let flags = [
        ("--licence", arguments.licence.is_some()),
        ("--data", arguments.data.is_some()),
    ];
    match flags.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(misplaced(flag, "--format model")),
        None => Ok(()),
    }
}

/// The flag that belongs to --format onnx, given with another.
fn refuse_flag_of_onnx(arguments: &Export) -> Result<(), TrainError> {
    match arguments.dynamic_size {
        true => Err(misplaced("--dynamic-size", "--format onnx")),
        false => Ok(()),
    }
}

/// The folder of --format web.
fn web(arguments: &Export) -> anyhow::Result<ExitCode> {
    refuse_flags_of_model(arguments)?;
    refuse_flag_of_onnx(arguments)?;
    let lines = write_page(
        &arguments.checkpoint,
        arguments.weights.chosen(),
        &arguments.out,
    )?;
    print(&format!("{}\n", lines.join("\n")))
}

/// The folder of --format model.
fn model(arguments: &Export) -> anyhow::Result<ExitCode> {
    refuse_flag_of_onnx(arguments)?;
    let lines = ship(&ShipRequest {
        checkpoint: arguments.checkpoint.clone(),
        weights: arguments.weights.chosen(),
        // Without one, its refusal says what is accepted.
        licence: arguments.licence.clone().unwrap_or_default(),
        data: arguments.data.clone(),
        out: arguments.out.clone(),
    })?;
    print(&format!("{}\n", lines.join("\n")))
}

/// The refusal of a flag that belongs to another format.
fn misplaced(flag: &str, format: &str) -> TrainError {
    TrainError::Value {
        key: flag.into(),
        found: "given with another format".into(),
        accepted: format!("{flag} with {format}"),
    }
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
