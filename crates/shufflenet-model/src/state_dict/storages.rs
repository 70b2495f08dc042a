//! Where `torch.save` puts the elements of tensors: an entry of the zip archive for each storage, or, in the
//! older format, one storage after the other behind the pickle.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::rc::Rc;

use zip::ZipArchive;

pub(super) type Zip = ZipArchive<Cursor<Rc<[u8]>>>;

pub(super) enum Storages {
    Zip {
        archive: RefCell<Zip>,
        /// Folder of the storages in the archive, with its last slash.
        folder: String,
        /// The storage that was read last: tensors that share one follow each other.
        last: RefCell<Option<(String, Rc<[u8]>)>>,
    },
    Legacy {
        bytes: Rc<[u8]>,
        places: HashMap<String, Range<usize>>,
    },
    None,
}

impl Storages {
    pub fn zip(archive: Zip, folder: String) -> Self {
        Self::Zip {
            archive: RefCell::new(archive),
            folder,
            last: RefCell::new(None),
        }
    }

    /// The bytes of the storage `key`. The archive's checksum is checked.
    pub fn read(&self, key: &str) -> io::Result<Rc<[u8]>> {
        match self {
            Self::Zip {
                archive,
                folder,
                last,
            } => {
                if let Some((name, bytes)) = &*last.borrow()
                    && name == key
                {
                    return Ok(bytes.clone());
                }
                let bytes: Rc<[u8]> =
                    read_entry(&mut archive.borrow_mut(), &format!("{folder}{key}"))?.into();
                *last.borrow_mut() = Some((key.into(), bytes.clone()));
                Ok(bytes)
            }
            Self::Legacy { bytes, places } => {
                let place = places.get(key).cloned();
                let found = place.and_then(|place| bytes.get(place));
                found.map(Rc::from).ok_or_else(|| missing(key))
            }
            Self::None => Err(missing(key)),
        }
    }
}

fn missing(key: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the storage {key} is not in the file"),
    )
}

/// The largest entry that is read, unpacked: PyTorch does not compress its archives, others may.
const MOST_BYTES: u64 = 1 << 30;

/// The content of the archive's entry `name`.
pub(super) fn read_entry(archive: &mut Zip, name: &str) -> io::Result<Vec<u8>> {
    let entry = archive.by_name(name).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    let read = entry.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if read as u64 > MOST_BYTES {
        Err(io::Error::other(format!(
            "{name} unpacks to more than {MOST_BYTES} bytes"
        )))
    } else {
        Ok(bytes)
    }
}
