//! A page that classifies pictures in a browser: a folder for any static web server.
//!
//! ```text
//! site/index.html page.css page.js icon.svg   the page
//!      worker.js                              runs the network beside the page
//!      service-worker.js                      keeps the files, so that the page works offline
//!      shufflenet.wasm LICENCES.txt           the module of `shufflenet-web`, and the licences of its parts
//!      model.json                             classes, preparation of images, structure (`shufflenet_web::Manifest`)
//!      model.safetensors                      weights in float16: the file of `--format model`
//! ```
//!
//! `scripts/build_web` builds the module; the cargo feature `web` puts it into the binary.

use std::path::Path;

use shufflenet_model::{Layout, tensor_names};
use shufflenet_web::{MANIFEST_FORMAT, Manifest, sha256};

use super::{in_float16, require_new_folder};
use crate::device;
use crate::display::words::thousands;
use crate::error::{TrainError, require};
use crate::evaluation::predict::sides;
use crate::evaluation::trained::{self, Trained, Weights};
use crate::files::{write_folder, write_synced};

/// The files that are the same for every network.
const PAGE: [(&str, &str); 6] = [
    ("index.html", include_str!("site/index.html")),
    ("page.css", include_str!("site/page.css")),
    ("page.js", include_str!("site/page.js")),
    ("icon.svg", include_str!("site/icon.svg")),
    ("worker.js", include_str!("site/worker.js")),
    ("service-worker.js", include_str!("site/service-worker.js")),
];

/// The module and its licences, which `scripts/build_web` makes.
#[cfg(feature = "web")]
const MODULE: Option<[(&str, &[u8]); 2]> = Some([
    ("shufflenet.wasm", include_bytes!("site/shufflenet.wasm")),
    ("LICENCES.txt", include_bytes!("site/LICENCES.txt")),
]);
#[cfg(not(feature = "web"))]
const MODULE: Option<[(&str, &[u8]); 2]> = None;

/// The page to make.
pub struct PageRequest<'a> {
    /// The checkpoint, see [`crate::checkpoint::store::locate`].
    pub checkpoint: &'a Path,
    /// Which weights of the checkpoint. `None`: the weights that `best` was chosen by.
    pub weights: Option<Weights>,
    /// Licence of the weights, for the foot of the page. Empty: the page does not show one.
    pub licence: &'a str,
    /// The folder to make.
    pub out: &'a Path,
}

/// Makes the folder. Returns lines on what was written.
///
/// # Errors
/// Errors of the checkpoint or the folder; [`TrainError::Value`] in a binary without the module, for a network with
/// squeeze-and-excitation, and for images that are not square; [`TrainError::Weights`] for weights beyond float16.
pub fn write_page(request: &PageRequest) -> Result<Vec<String>, TrainError> {
    let out = request.out;
    let Some(module) = MODULE else {
        return Err(TrainError::Value {
            key: "--format web".into(),
            found: "not in this binary".into(),
            accepted: "a binary built by `scripts/build_web` and then `cargo build --release --features web`"
                .into(),
        });
    };
    require_new_folder(out)?;
    let device = device::open(device::DEFAULT)?;
    let trained = trained::open(request.checkpoint, request.weights, &device)?;
    let network = &trained.classifier.network;
    let half = in_float16(&trained)?;
    let manifest = manifest(&trained, request.licence.trim(), &half)?;
    let manifest = serde_json::to_vec(&manifest).map_err(|e| TrainError::Encode {
        what: "model.json",
        message: e.to_string(),
    })?;
    let page = PAGE.map(|(name, text)| (name, text.as_bytes()));
    let of_network = [
        ("model.json", &manifest[..]),
        ("model.safetensors", &half[..]),
    ];
    let files = page.into_iter().chain(module).chain(of_network);
    let mut bytes = 0;
    write_folder(out, |folder| {
        for (name, content) in files {
            bytes += content.len();
            write_synced(&folder.join(name), content)?;
        }
        Ok(())
    })?;
    let place = out.display();
    Ok(vec![
        format!(
            "{place}: {}, {} bytes in all",
            network.config(),
            thousands(bytes)
        ),
        format!(
            "serve the folder, for example: python3 -m http.server --directory '{place}', then open http://localhost:8000"
        ),
    ])
}

fn manifest(trained: &Trained, licence: &str, weights: &[u8]) -> Result<Manifest, TrainError> {
    let (network, description) = (&trained.classifier.network, &trained.checkpoint.description);
    let config = network.config();
    require(
        !config.squeeze_excitation,
        "model.squeeze_excitation",
        "true",
        "false: the page's module has no squeeze-and-excitation",
    )?;
    let [size, resize] = sides(description)?;
    Ok(Manifest {
        format: MANIFEST_FORMAT,
        name: match config.layout {
            Layout::Standard => format!("ShuffleNetV2, {}", config.size()),
            Layout::Seed => format!("ShuffleNetV2, seed layout, {}", config.size()),
        },
        licence: licence.into(),
        weights_sha256: sha256(weights),
        class_names: description.class_names.clone(),
        size,
        resize,
        normalization: description.normalization.clone(),
        network: tensor_names(network),
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use shufflenet_data::Normalization;
    use shufflenet_model::{
        Inference, ModelConfig, ShuffleNetV2, load_safetensors, to_half_state_dict,
    };
    use shufflenet_web::{Classifier, LayerNames};

    use super::*;

    const SIDE: u32 = 21;

    fn network(layout: Layout) -> ShuffleNetV2 {
        let config = ModelConfig {
            layout,
            widths: Some([10, 22, 38, 50, 33].into()),
            repeats: vec![2, 1, 3],
            split_ratio: 0.3,
            classes: Some(3),
            ..ModelConfig::default()
        };
        ShuffleNetV2::new(&config, 5, &Device::flex()).unwrap()
    }

    fn manifest_of(network: &ShuffleNetV2, weights: &[u8]) -> Manifest {
        Manifest {
            format: MANIFEST_FORMAT,
            name: "a network".into(),
            licence: String::new(),
            weights_sha256: sha256(weights),
            class_names: ["a", "b", "c"].map(String::from).into(),
            size: SIDE,
            resize: SIDE,
            normalization: Normalization::identity(3),
            network: tensor_names(network),
        }
    }

    #[test]
    fn the_module_computes_the_logits_of_predict_on_the_same_weights() {
        for layout in [Layout::Standard, Layout::Seed] {
            let network = network(layout);
            let half = to_half_state_dict(&network).unwrap();
            let manifest = serde_json::to_vec(&manifest_of(&network, &half)).unwrap();
            let classifier = Classifier::new(&manifest, &half).unwrap();
            let side = SIDE as usize;
            let pixels: Vec<f32> = (0..3 * side * side)
                .map(|i| (i as f32 * 0.37).sin())
                .collect();
            let images = TensorData::new(pixels.clone(), [1, 3, side, side]);
            let rounded = load_safetensors(network, &half).unwrap();
            let logits =
                Inference::new(&rounded).forward(Tensor::from_data(images, &Device::flex()));
            assert_eq!(
                logits.into_data().try_to_vec::<f32>().unwrap(),
                classifier.logits(&pixels)
            );
        }
    }

    #[test]
    fn a_page_that_does_not_fit_its_module_reports_it() {
        let network = network(Layout::Standard);
        let half = to_half_state_dict(&network).unwrap();
        let manifest = manifest_of(&network, &half);
        let refusal = |manifest: &Manifest, weights: &[u8]| {
            let manifest = serde_json::to_vec(manifest).unwrap();
            Classifier::new(&manifest, weights)
                .err()
                .unwrap()
                .to_string()
        };
        let newer = Manifest {
            format: MANIFEST_FORMAT + 1,
            ..manifest.clone()
        };
        assert_eq!(
            refusal(&newer, &half),
            "model.json: its format is 2, accepted: 1"
        );
        let mut renamed = manifest.clone();
        renamed.network.head = LayerNames::Linear {
            weight: "gone".into(),
            bias: "fc.bias".into(),
        };
        let line = refusal(&renamed, &half);
        assert!(
            line.starts_with("the weights: ") && line.contains("gone"),
            "{line}"
        );
        let other = "the weights are damaged, or of another network than model.json";
        assert_eq!(refusal(&manifest, &half[..half.len() / 2]), other);
        let mut short = manifest.clone();
        short.class_names.pop();
        assert_eq!(
            refusal(&short, &half),
            "model.json: class_names is 2 values; accepted: 3, as the network has"
        );
        assert!(
            Classifier::new(b"{}", &half)
                .err()
                .unwrap()
                .to_string()
                .starts_with("model.json: ")
        );
    }
}
