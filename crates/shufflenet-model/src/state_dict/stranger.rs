//! Files that are often mistaken for weights, recognised by their first bytes or by the content of an archive. The
//! refusal says what the file is and what to do instead.

use std::path::Path;

use super::error::StateDictError;
use crate::words::counted;

/// What the file is, if it is known and holds no weights that are read here.
pub(super) fn check(path: &Path, bytes: &[u8]) -> Result<(), StateDictError> {
    let text = bytes.trim_ascii_start();
    let begins = |with: &[u8]| {
        let start = text.get(..with.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(with)
    };
    let magic = |at: usize, with: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(with));
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    let (what, instead) = if begins(b"version https://git-lfs") {
        (
            "a Git LFS pointer, a note of where the weights are",
            "run `git lfs pull` in the repository, or download the file itself",
        )
    } else if begins(b"<!doctype") || begins(b"<html") || begins(b"<?xml") || begins(b"<head") {
        (
            "a web page: the address led to a page about the file",
            "download the file itself, on many sites under \"raw\" or \"download\"",
        )
    } else if begins(b"{") && find(bytes, b"\"weight_map\"") {
        (
            "the index of weights that are split over several files",
            "load them in Python and save one file: state = {}; for each file state.update(load_file(file)); \
             save_file(state, \"whole.safetensors\")",
        )
    } else if begins(b"{") && bytes.get(8) != Some(&b'{') {
        ("a JSON text", "give the file with the weights")
    } else if magic(0, b"\x89HDF\r\n\x1a\n") {
        (
            "an HDF5 file, as Keras writes it",
            "convert the weights to PyTorch's names and save them with torch.save or safetensors",
        )
    } else if extension == "onnx" || is_onnx(bytes) {
        (
            "an ONNX file",
            "give the PyTorch weights that it was exported from: it has layers folded and renamed",
        )
    } else if magic(4, b"TFL3") || magic(0, b"GGUF") {
        (
            "a file for another program's inference",
            "give the PyTorch weights that it was made from",
        )
    } else if magic(0, b"\x93NUMPY") {
        (
            "a NumPy array",
            "save the network's tensors by name with torch.save or safetensors",
        )
    } else if magic(0, b"\x1f\x8b")
        || magic(0, b"BZh")
        || magic(0, b"\xfd7zXZ\0")
        || magic(0, b"7z\xbc\xaf\x27\x1c")
        || magic(0, b"Rar!")
        || magic(0, b"\x28\xb5\x2f\xfd")
    {
        (
            "a compressed archive",
            "unpack it and give the file of weights in it",
        )
    } else {
        return Ok(());
    };
    Err(foreign(path, what, instead))
}

/// Whether the bytes are a message of ONNX: its version, then the name of the program that wrote it.
fn is_onnx(bytes: &[u8]) -> bool {
    match bytes {
        &[0x08, 1..=20, 0x12, length, ref rest @ ..] => rest
            .get(..length.into())
            .is_some_and(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic)),
        _ => false,
    }
}

/// Whether `wanted` is near the start of a text.
fn find(bytes: &[u8], wanted: &[u8]) -> bool {
    // The order of keys is not fixed, and an index may be some megabytes long.
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// A file of `torch.save` that ends before its format does.
pub(super) fn cut(path: &Path, size: usize, message: &str) -> StateDictError {
    StateDictError::Unreadable {
        path: path.into(),
        message: format!(
            "it is cut off or damaged, with {size} bytes ({}); get it again, and compare its size with the \
             original's",
            message.replace('\n', " ")
        ),
    }
}

/// A whole file of `torch.save` in which something else was `found` than weights.
pub(super) fn no_weights(path: &Path, found: &str) -> StateDictError {
    foreign(
        path,
        &format!("a file of torch.save, and {found}"),
        "save a network's weights, in Python: torch.save(network.state_dict(), \"weights.pth\")",
    )
}

/// An archive of `torch.jit.save`.
pub(super) fn script(path: &Path) -> StateDictError {
    foreign(
        path,
        "a TorchScript archive (torch.jit.save), a program with its weights",
        "save the weights alone, in Python: torch.save(torch.jit.load(FILE).state_dict(), \"weights.pth\")",
    )
}

/// A tar archive of other files.
pub(super) fn tar(path: &Path) -> StateDictError {
    foreign(
        path,
        "a tar archive",
        "unpack it and give the file of weights in it",
    )
}

/// A zip archive without a pickle, by the names of its entries.
pub(super) fn archive(path: &Path, names: &[String]) -> StateDictError {
    let names = names.iter().map(String::as_str);
    let names: Vec<&str> = names.filter(|name| !name.ends_with('/')).collect();
    let ends = |end: &str| names.iter().any(|name| name.ends_with(end));
    if ends(".weights.h5") {
        let what = "a Keras archive";
        let instead =
            "convert the weights to PyTorch's names and save them with torch.save or safetensors";
        return foreign(path, what, instead);
    }
    if ends("archive_format") {
        let what = "a program of torch.export (.pt2)";
        let instead = "save the weights alone, in Python: torch.save(torch.export.load(FILE).state_dict, \
                       \"weights.pth\")";
        return foreign(path, what, instead);
    }
    if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) {
        let what = "a NumPy archive (.npz)";
        let instead = "save the network's tensors by name with torch.save or safetensors";
        return foreign(path, what, instead);
    }
    let mut first: Vec<&str> = names.iter().take(3).copied().collect();
    if names.len() > first.len() {
        first.push("...");
    }
    let what = format!(
        "a zip archive of {} ({})",
        counted(names.len(), "file", "files"),
        first.join(", ")
    );
    foreign(path, &what, "unpack it and give the file of weights in it")
}

fn foreign(path: &Path, what: &str, instead: &str) -> StateDictError {
    StateDictError::Foreign {
        path: path.into(),
        what: what.into(),
        instead: instead.into(),
    }
}
