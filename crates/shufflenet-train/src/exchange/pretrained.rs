//! `shufflenet weights`: the networks that torchvision trained on ImageNet, fetched, checked and imported.
//!
//! Names, checksums and accuracies are those of torchvision's `ShuffleNet_V2_X*_Weights.IMAGENET1K_V1`. The name of a file
//! contains the first digits of its SHA-256.

use std::path::{Path, PathBuf};

use shufflenet_data::Normalization;
use shufflenet_data::fetch::fetch_file;

use crate::checkpoint;
use crate::error::TrainError;
use crate::exchange::import::{ImportRequest, import};

/// Address of torchvision's weights.
const SERVER: &str = "https://download.pytorch.org/models";
/// Names of ImageNet's 1,000 classes in the order of the logits, as in torchvision's metadata.
const CLASSES: &str = include_str!("imagenet.txt");
/// torchvision's mean and standard deviation of ImageNet's colours.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A published network.
struct Pretrained {
    /// Width of the network, as in `x1.0`.
    name: &'static str,
    file: &'static str,
    /// First digits of the file's SHA-256.
    digits: &'static str,
    /// Length of the shorter side before the crop of 224 pixels.
    resize: usize,
    /// Published top-1 on ImageNet, in percent.
    top1: f64,
}

const PUBLISHED: [Pretrained; 4] = [
    Pretrained {
        name: "x0.5",
        file: "shufflenetv2_x0.5-f707e7126e.pth",
        digits: "f707e7126e",
        resize: 256,
        top1: 60.552,
    },
    Pretrained {
        name: "x1.0",
        file: "shufflenetv2_x1-5666bf0f80.pth",
        digits: "5666bf0f80",
        resize: 256,
        top1: 69.362,
    },
    Pretrained {
        name: "x1.5",
        file: "shufflenetv2_x1_5-3c479a10.pth",
        digits: "3c479a10",
        resize: 232,
        top1: 72.996,
    },
    Pretrained {
        name: "x2.0",
        file: "shufflenetv2_x2_0-8be3c8ee.pth",
        digits: "8be3c8ee",
        resize: 232,
        top1: 76.23,
    },
];

/// Names of the networks that can be fetched.
pub fn names() -> Vec<&'static str> {
    PUBLISHED.iter().map(|network| network.name).collect()
}

/// Fetches the network `name` into its own folder below `into`, which becomes a checkpoint. The source is torchvision's
/// server, the address `from` (of a folder with the file), or the file `from`. Returns lines to print.
///
/// # Errors
/// [`TrainError::Value`] for an unknown name; errors of the server, the file or the folder.
pub fn fetch(
    name: &str,
    into: &Path,
    from: Option<&str>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Vec<String>, TrainError> {
    let network = PUBLISHED.iter().find(|network| network.name == name);
    let network = network.ok_or_else(|| TrainError::Value {
        key: "the network".into(),
        found: name.into(),
        accepted: names().join(", "),
    })?;
    fetch_network(network, into, from, progress)
}

fn fetch_network(
    network: &Pretrained,
    into: &Path,
    from: Option<&str>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Vec<String>, TrainError> {
    let out = into.join(network.name);
    if out.exists() {
        checkpoint::load(&out)?;
        return Ok(vec![format!("{}: already there, complete", out.display())]);
    }
    let is_address = |from: &&str| from.starts_with("http://") || from.starts_with("https://");
    let server = from
        .filter(is_address)
        .unwrap_or(SERVER)
        .trim_end_matches('/');
    let local = from.filter(|from| !is_address(from)).map(Path::new);
    let url = format!("{server}/{}", network.file);
    let file = into.join(network.file);
    let was_there = file.exists();
    fetch_file(&url, network.digits, &file, local, progress)?;
    let mut lines = import(&request(network, file.clone(), out))?;
    if !was_there {
        // The checkpoint contains the downloaded file's weights.
        let _ = std::fs::remove_file(&file);
    }
    lines.push(format!(
        "source     torchvision, IMAGENET1K_V1: {:.2} % top-1 on ImageNet; BSD-3-Clause, and ImageNet's own terms",
        network.top1
    ));
    Ok(lines)
}

fn request(network: &Pretrained, weights: PathBuf, out: PathBuf) -> ImportRequest {
    ImportRequest {
        weights,
        prefix: None,
        config: None,
        overrides: vec![
            format!("name=torchvision-{}", network.name),
            "model.stem=imagenet".into(),
            "data.options.size=224".into(),
            format!("data.options.resize={}", network.resize),
        ],
        bgr: false,
        normalization: Some(Normalization {
            mean: MEAN.into(),
            std: STD.into(),
        }),
        class_names: Some(CLASSES.lines().map(String::from).collect()),
        size: Some(224),
        partial: false,
        out,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use burn::tensor::Device;
    use sha2::{Digest, Sha256};
    use shufflenet_model::{ModelConfig, Scale, ShuffleNetV2, Stem, to_safetensors};

    use super::*;
    use crate::files::hex;

    /// A file with random weights of one width, and the entry of a network with this file's checksum.
    fn published() -> (Vec<u8>, Pretrained) {
        let config = ModelConfig {
            scale: Scale::Half,
            stem: Some(Stem::Imagenet),
            classes: Some(1000),
            ..ModelConfig::default()
        };
        let network = ShuffleNetV2::new(&config, 3, &Device::flex()).unwrap();
        let bytes = to_safetensors(&network).unwrap();
        let digits = hex(&Sha256::digest(&bytes));
        let published = Pretrained {
            digits: Box::leak(digits.into_boxed_str()),
            ..PUBLISHED[2]
        };
        (bytes, published)
    }

    /// A server that answers each request with `answer` of its number and the start of its range. Returns its address.
    fn serve(answer: impl Fn(usize, usize, &mut TcpStream) + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        // The thread ends with the process.
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let lines = lines
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty());
                let ranges = lines.filter_map(|line| {
                    let line = line.to_lowercase();
                    let range = line.strip_prefix("range: bytes=")?;
                    range.trim_end_matches('-').parse().ok()
                });
                let start = ranges.last().unwrap_or(0);
                answer(number, start, &mut stream);
            }
        });
        address
    }

    /// Sends `bytes` from `start`, at most `most` of them.
    fn send(stream: &mut TcpStream, bytes: &[u8], start: usize, most: usize) {
        let (rest, all) = (&bytes[start..], bytes.len());
        let status = if start == 0 {
            "200 OK"
        } else {
            "206 Partial Content"
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{all}\r\n\r\n",
            rest.len(),
            all - 1
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&rest[..most.min(rest.len())]);
    }

    #[test]
    fn a_cut_download_continues_and_a_wrong_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, published) = published();
        let cut = bytes.clone();
        let address = serve(move |number, start, stream| {
            let most = if number == 0 { 1_000_000 } else { usize::MAX };
            assert_eq!(start > 0, number > 0, "received bytes were requested again");
            send(stream, &cut, start, most);
        });
        let into = folder.path().join("cut");
        fetch_network(&published, &into, Some(&address), &mut |_, _| {}).unwrap();
        assert_eq!(checkpoint::load(&into.join("x1.5")).unwrap().weights, bytes);

        let mut lie = bytes;
        lie[500_000] ^= 1;
        let address = serve(move |_, start, stream| send(stream, &lie, start, usize::MAX));
        let into = folder.path().join("lie");
        let refused = fetch_network(&published, &into, Some(&address), &mut |_, _| {});
        let line = refused.unwrap_err().to_string();
        assert!(
            line.starts_with(&address) && line.contains("the published one; nothing was changed"),
            "{line}"
        );
        assert!(!into.exists(), "an empty folder is left");
    }

    #[test]
    fn a_fetched_network_is_a_checkpoint_with_classes_normalisation_and_resize() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, published) = published();
        let file = folder.path().join("file");
        fs::write(&file, &bytes).unwrap();
        let into = folder.path().join("weights");
        let fetch = || fetch_network(&published, &into, file.to_str(), &mut |_, _| {});
        let lines = fetch().unwrap();
        assert!(
            lines.last().unwrap().starts_with("source     torchvision"),
            "{lines:?}"
        );
        let loaded = checkpoint::load(&into.join("x1.5")).unwrap();
        assert_eq!(loaded.weights, bytes);
        let described = loaded.description;
        assert_eq!(
            (
                described.class_names[0].as_str(),
                described.class_names[999].as_str()
            ),
            ("tench", "toilet tissue")
        );
        assert_eq!((described.input, described.unnamed), ([3, 224, 224], false));
        assert_eq!(described.normalization.mean, MEAN);
        assert_eq!(described.experiment.data.options.resize(), 232);
        assert!(fetch().unwrap()[0].contains("already there"));
        assert_eq!(
            fs::read_dir(&into).unwrap().count(),
            1,
            "the file itself is gone"
        );
    }

    #[test]
    fn a_file_that_the_user_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (bytes, published) = published();
        let file = folder.path().join(published.file);
        fs::write(&file, &bytes).unwrap();
        for (from, into) in [(None, folder.path()), (file.to_str(), folder.path())] {
            fetch_network(&published, into, from, &mut |_, _| {}).unwrap();
            assert!(fs::read(&file).unwrap() == bytes);
            fs::remove_dir_all(folder.path().join(published.name)).unwrap();
        }
    }

    #[test]
    fn a_file_with_another_checksum_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file.pth");
        fs::write(&file, "other").unwrap();
        let refused = fetch("x1.0", folder.path(), file.to_str(), &mut |_, _| {});
        let line = refused.unwrap_err().to_string();
        assert!(
            line.contains("expected 5666bf0f80..., the published one"),
            "{line}"
        );
        let line = fetch("x3", folder.path(), None, &mut |_, _| {})
            .unwrap_err()
            .to_string();
        assert!(
            line.contains("the network is x3; accepted: x0.5, x1.0, x1.5, x2.0"),
            "{line}"
        );
    }
}
