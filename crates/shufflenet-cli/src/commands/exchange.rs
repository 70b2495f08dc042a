//! `shufflenet import` and `shufflenet export`: what their arguments ask for.

use std::process::ExitCode;

use shufflenet_train::exchange::export as exports;
use shufflenet_train::exchange::import::{
    ImportRequest, import as import_weights, read_class_names,
};

use crate::arguments::{Export, ExportFormat, Import};
use crate::process::print;

pub fn export(arguments: &Export) -> anyhow::Result<ExitCode> {
    let format = match arguments.format {
        ExportFormat::Safetensors => exports::ExportFormat::Safetensors,
        ExportFormat::Onnx => exports::ExportFormat::Onnx,
    };
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
