//! Files of `torch.save`: zip archives (PyTorch 1.6 and later, 2020), the format before it (magic number, protocol,
//! system, pickle, keys of the storages, storages), the tar archives before that, and bare pickles with NumPy arrays.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;
use std::rc::Rc;

use shufflenet_pickle::{Pickle, PickleError};
use zip::ZipArchive;

use super::error::StateDictError;
use super::rebuild::{announced, tensors};
use super::storages::{Storages, read_entry};
use super::tensor::Tensors;
use super::{stranger, tar};

/// The number at the start of an older file, as protocols 1 and up write it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Every protocol writes it within that many bytes.
const MAGIC_WITHIN: usize = 32;

/// The tensors of a file written by `torch.save` or `pickle.dump`, and the file format in words.
pub(super) fn read(path: &Path, bytes: Rc<[u8]>) -> Result<(String, Tensors), StateDictError> {
    let refuse = |message: String| StateDictError::Unreadable {
        path: path.into(),
        message: message.replace('\n', " "),
    };
    let start = bytes.get(..MAGIC_WITHIN).unwrap_or(&bytes);
    let (kind, tensors) = if bytes.starts_with(b"PK") {
        ("PyTorch (zip)", zip(path, bytes)?)
    } else if start.windows(MAGIC.len()).any(|window| window == MAGIC) {
        ("PyTorch (legacy)", legacy(path, bytes)?)
    } else if bytes
        .get(257..)
        .is_some_and(|rest| rest.starts_with(b"ustar"))
    {
        let found = tar::read(&bytes).map_err(refuse)?;
        ("PyTorch (tar)", found.ok_or_else(|| stranger::tar(path))?)
    } else if matches!(start.first(), Some(0x80 | b'(' | b'}' | b']' | b'c')) {
        let pickle = Pickle::read(&bytes).map_err(|error| match start.first() {
            Some(0x80) => broken(path, &bytes, error),
            // A text may begin with these letters, too.
            _ => refuse(ANOTHER_FORMAT.into()),
        })?;
        let found = tensors(&pickle, &Rc::new(Storages::None), &Tensors::new());
        ("pickle", found.map_err(refuse)?)
    } else {
        let what = match start {
            [] => "it is empty",
            _ => ANOTHER_FORMAT,
        };
        return Err(refuse(what.into()));
    };
    Ok((kind.into(), tensors))
}

fn zip(path: &Path, bytes: Rc<[u8]>) -> Result<Tensors, StateDictError> {
    let refuse = |message: String| StateDictError::Unreadable {
        path: path.into(),
        message: message.replace('\n', " "),
    };
    let size = bytes.len();
    let mut archive = match ZipArchive::new(Cursor::new(bytes)) {
        Ok(archive) => archive,
        Err(error) => return Err(stranger::cut(path, size, &error.to_string())),
    };
    let names = archive.file_names_raw();
    let names: Vec<String> = names
        .map(|name| String::from_utf8_lossy(name).into())
        .collect();
    let is_pickle = |name: &&String| {
        let folder = name.strip_suffix("data.pkl");
        folder.is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
    };
    let Some(name) = names.iter().find(is_pickle) else {
        return Err(stranger::archive(path, &names));
    };
    let folder = name.trim_end_matches("data.pkl");
    let is_code = |name: &String| {
        let name = name.strip_prefix(folder).unwrap_or_default();
        name == "constants.pkl" || name.starts_with("code/")
    };
    if names.iter().any(is_code) {
        return Err(stranger::script(path));
    }
    if let Ok(order) = read_entry(&mut archive, &format!("{folder}byteorder"))
        && order != b"little"
    {
        return Err(refuse(BIG_ENDIAN.into()));
    }
    let pickled = read_entry(&mut archive, name).map_err(|error| refuse(error.to_string()))?;
    let pickle = Pickle::read(&pickled).map_err(|error| refuse(error.to_string()))?;
    let storages = Rc::new(Storages::zip(archive, format!("{folder}data/")));
    tensors(&pickle, &storages, &Tensors::new()).map_err(|found| stranger::no_weights(path, &found))
}

const ANOTHER_FORMAT: &str = "it is neither a safetensors file nor one of torch.save";
const BIG_ENDIAN: &str =
    "its numbers have their highest byte first, as some old computers write them";

/// The older format. Tensors refer to storages, which follow the pickle in the order of a list of keys.
fn legacy(path: &Path, bytes: Rc<[u8]>) -> Result<Tensors, StateDictError> {
    let refuse = |message: String| StateDictError::Unreadable {
        path: path.into(),
        message: message.replace('\n', " "),
    };
    let mut at = 0;
    let mut next = || {
        let rest = bytes.get(at..).unwrap_or_default();
        let pickle = Pickle::read(rest).map_err(|error| broken(path, &bytes, error))?;
        at += pickle.length();
        Ok(pickle)
    };
    let (_magic, _protocol) = (next()?, next()?);
    let (system, pickle, keys) = (next()?, next()?, next()?);
    let little = system.entry(system.root(), "little_endian");
    if little.is_some_and(|id| system.get(id) == &shufflenet_pickle::Value::Bool(false)) {
        return Err(refuse(BIG_ENDIAN.into()));
    }
    let announced = announced(&pickle);
    let mut places = HashMap::new();
    for &key in keys.items(keys.root()).unwrap_or_default() {
        let name = match keys.int(key) {
            Some(number) => number.to_string(),
            None => keys.text(key).unwrap_or_default().to_string(),
        };
        let Some(storage) = announced.get(&name) else {
            return Err(refuse(format!("the storage {name} belongs to no tensor")));
        };
        let place = || {
            let count = bytes.get(at..)?.first_chunk::<8>()?;
            let count = usize::try_from(i64::from_le_bytes(*count)).ok()?;
            let start = at.checked_add(8)?;
            let end = start.checked_add(count.checked_mul(storage.size)?)?;
            (end <= bytes.len()).then_some(start..end)
        };
        let Some(place) = place() else {
            return Err(stranger::cut(
                path,
                bytes.len(),
                &format!("the storage {name} extends beyond the end of the file"),
            ));
        };
        at = place.end;
        places.insert(name, place);
    }
    drop((system, keys));
    let storages = Storages::Legacy {
        bytes: bytes.clone(),
        places,
    };
    let storages = Rc::new(storages);
    tensors(&pickle, &storages, &Tensors::new()).map_err(|found| stranger::no_weights(path, &found))
}

/// A pickle that ends early is a file that was cut off.
fn broken(path: &Path, bytes: &[u8], error: PickleError) -> StateDictError {
    match error {
        PickleError::Truncated(_) => stranger::cut(path, bytes.len(), &error.to_string()),
        other => StateDictError::Unreadable {
            path: path.into(),
            message: other.to_string(),
        },
    }
}
