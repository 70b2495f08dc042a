//! The tar archives of PyTorch before 0.1.10 (2017). The entry `storages` has pickles of key, device and type,
//! each before its number of elements and the elements; then a pickled list of views. The entry `tensors` has
//! pickles of key, storage and type, each before rank, sizes, strides and offset. The entry `pickle` refers to
//! tensors by their keys.

use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;

use shufflenet_pickle::{Id, Pickle};

use super::rebuild::{self, element};
use super::storages::Storages;
use super::tensor::{ForeignTensor, Kind, Source, Tensors};

/// The tensors of an archive; `None` if it is another tar archive.
///
/// # Errors
/// A damaged archive, in words.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Tensors>, String> {
    let mut entries = HashMap::new();
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path().map_err(|error| error.to_string())?;
        let name = path.file_name().unwrap_or_default();
        let Some(name) = ["storages", "tensors", "pickle"]
            .into_iter()
            .find(|&own| own == name)
        else {
            continue;
        };
        if !entry.header().entry_type().is_file() || entry.size() > bytes.len() as u64 {
            // A sparse entry of a few bytes can stand for any number of zeros.
            return Err(format!("its entry {name} is not an ordinary file"));
        }
        let mut content = Vec::new();
        entry
            .read_to_end(&mut content)
            .map_err(|error| error.to_string())?;
        entries.insert(name, content);
    }
    let [Some(storages), Some(tensors), Some(pickle)] =
        ["storages", "tensors", "pickle"].map(|name| entries.get(name))
    else {
        return Ok(None);
    };
    let stored = tensors_of(tensors, &storages_of(storages)?)?;
    let pickle = Pickle::read(pickle).map_err(|error| error.to_string())?;
    rebuild::tensors(&pickle, &Rc::new(Storages::None), &stored).map(Some)
}

/// Elements that several tensors may share.
#[derive(Clone)]
struct Stored {
    kind: Kind,
    /// Bytes of an element.
    size: usize,
    bytes: Rc<[u8]>,
    /// The first element.
    start: usize,
}

fn storages_of(bytes: &[u8]) -> Result<HashMap<i64, Stored>, String> {
    let mut table = Table { bytes, at: 0 };
    let mut storages = HashMap::new();
    for _ in 0..table.count()? {
        let pickle = table.pickle()?;
        let (key, class) = match pickle.items(pickle.root()) {
            Some(&[key, _device, class]) => (pickle.int(key), pickle.class(class)),
            _ => (None, None),
        };
        let class = class.and_then(|class| class.rsplit('.').next()?.strip_suffix("Storage"));
        let (key, (kind, size)) = key.zip(class.and_then(element)).ok_or(DAMAGED)?;
        let length = table.number()?.checked_mul(size).ok_or(DAMAGED)?;
        let bytes = table.take(length)?.into();
        let start = 0;
        storages.insert(
            key,
            Stored {
                kind,
                size,
                bytes,
                start,
            },
        );
    }
    let views = table.pickle()?;
    for &view in views.items(views.root()).ok_or(DAMAGED)? {
        let Some(&[key, root, start, _elements]) = views.items(view) else {
            return Err(DAMAGED.into());
        };
        let root = views.int(root).and_then(|root| storages.get(&root));
        let mut stored = root.ok_or(DAMAGED)?.clone();
        let start = views
            .int(start)
            .and_then(|start| usize::try_from(start).ok());
        stored.start = start.ok_or(DAMAGED)?;
        storages.insert(views.int(key).ok_or(DAMAGED)?, stored);
    }
    Ok(storages)
}

fn tensors_of(bytes: &[u8], storages: &HashMap<i64, Stored>) -> Result<Tensors, String> {
    let mut table = Table { bytes, at: 0 };
    let mut tensors = Tensors::new();
    for _ in 0..table.count()? {
        let pickle = table.pickle()?;
        let int = |id: &Id| pickle.int(*id);
        let (key, storage) = match pickle.items(pickle.root()) {
            Some([key, storage, _class]) => (int(key), int(storage)),
            _ => (None, None),
        };
        let storage = storage.and_then(|storage| storages.get(&storage));
        let (key, stored) = key.zip(storage).ok_or(DAMAGED)?;
        // The rank, in four bytes, and four that mean nothing.
        let rank = table.number()? & 0xffff_ffff;
        let mut numbers = || {
            (0..rank)
                .map(|_| table.number())
                .collect::<Result<Vec<_>, _>>()
        };
        let (shape, strides) = (numbers()?, numbers()?);
        let offset = stored.start.checked_add(table.number()?).ok_or(DAMAGED)?;
        let tensor = ForeignTensor {
            shape,
            kind: stored.kind.clone(),
            source: Source::Bytes(stored.bytes.clone()),
            strides,
            offset,
            order: [None, None],
        };
        if !tensor.fits(stored.bytes.len() / stored.size) {
            return Err(DAMAGED.into());
        }
        tensors.insert(key.to_string(), tensor);
    }
    Ok(tensors)
}

const DAMAGED: &str = "its tables are damaged";

/// Pickles and numbers that follow each other.
struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Table<'a> {
    fn pickle(&mut self) -> Result<Pickle<'a>, String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let pickle = Pickle::read(rest).map_err(|error| error.to_string())?;
        self.at += pickle.length();
        Ok(pickle)
    }

    fn count(&mut self) -> Result<i64, String> {
        let pickle = self.pickle()?;
        pickle.int(pickle.root()).ok_or_else(|| DAMAGED.into())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length).ok_or(DAMAGED)?;
        let taken = self.bytes.get(self.at..end).ok_or(DAMAGED)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize, String> {
        let bytes = self.take(8)?.first_chunk().ok_or(DAMAGED)?;
        usize::try_from(i64::from_le_bytes(*bytes)).map_err(|_| DAMAGED.into())
    }
}
