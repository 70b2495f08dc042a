//! The list of the images of a run's data, `images.csv.gz`: part, class, bytes and path of each.
//!
//! A checkpoint has only a checksum of its data. If the checksum differs, the list shows which images differ. Sets that do
//! not consist of image files have no list.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use crate::checkpoint::description::Description;
use crate::data::sources::{Sources, divided};
use crate::display::words::counted;
use crate::error::TrainError;
use crate::files::replace;

/// Name of the list in a run folder.
pub const NAME: &str = "images.csv.gz";

/// An image: part, class, size in bytes, path.
type Image = [String; 4];

/// Images by part and path, each with its class and size in bytes.
type Images = BTreeMap<(String, String), (String, String)>;

/// The images of `sources`, part after part. Images that are not files of their own are left out.
fn images(sources: &Sources) -> impl Iterator<Item = Image> {
    sources.parts().into_iter().flat_map(|(part, set)| {
        let records = set.labels().iter().enumerate();
        records.filter_map(move |(record, &label)| {
            let (path, bytes) = set.file(record)?;
            let class = set.class_names.get(usize::from(label))?;
            let path = path.display().to_string();
            Some([part.into(), class.clone(), bytes.to_string(), path])
        })
    })
}

/// Writes the list of the images of `sources` into the run folder `run`.
///
/// # Errors
/// [`TrainError::Io`].
pub fn write(run: &Path, sources: &Sources) -> Result<(), TrainError> {
    let mut images = images(sources).peekable();
    if images.peek().is_none() {
        return Ok(());
    }
    let path = run.join(NAME);
    let mut table = csv::Writer::from_writer(GzEncoder::new(Vec::new(), Compression::fast()));
    let pack = || -> std::io::Result<Vec<u8>> {
        table.write_record(["part", "class", "bytes", "path"])?;
        for image in images {
            table.write_record(image)?;
        }
        let packer = table
            .into_inner()
            .map_err(csv::IntoInnerError::into_error)?;
        packer.finish()
    };
    replace(
        &path,
        &pack().map_err(|e| TrainError::io("write", &path, e))?,
    )
}

/// Describes the differences between the list in the run folder `run` and the images of `sources`. `None`: there is no
/// readable list, or the data does not consist of image files.
pub fn differences(run: &Path, sources: &Sources) -> Option<String> {
    let before = read(&run.join(NAME))?;
    let now: Images = images(sources).map(keyed).collect();
    if now.is_empty() {
        return None;
    }
    let name = |(part, file): &(String, String)| format!("{part}: {file}");
    let missing = |from: &Images, other: &Images| -> Vec<String> {
        let keys = from.keys().filter(|key| !other.contains_key(*key));
        keys.map(name).collect()
    };
    let both = before
        .iter()
        .filter_map(|(key, old)| Some((key, old, now.get(key)?)));
    let changed = both
        .filter(|(_, old, new)| old != new)
        .map(|(key, ..)| name(key));
    let kinds = [
        ("gone", missing(&before, &now)),
        ("new", missing(&now, &before)),
        ("changed", changed.collect()),
    ];
    let differing = kinds.iter().filter(|(_, names)| !names.is_empty());
    let words: Vec<String> = differing
        .map(|(kind, names)| described(kind, names))
        .collect();
    Some(match words.is_empty() {
        // Images that are left out leave the others elsewhere in the order than images that are not there.
        true => "the images are the same, but in another order".into(),
        false => words.join("; "),
    })
}

/// `2 images are gone (train: a/1.png, train: a/2.png)`.
fn described(kind: &str, names: &[String]) -> String {
    const MOST: usize = 5;
    let shown = names.get(..MOST).unwrap_or(names).join(", ");
    let more = if names.len() > MOST { ", ..." } else { "" };
    let are = if names.len() == 1 { "is" } else { "are" };
    format!(
        "{} {are} {kind} ({shown}{more})",
        counted(names.len(), "image")
    )
}

/// Path and size in bytes of each image that the run in the folder `run`, of the network that `description` describes, has
/// trained on. `None`: there is no list that can be read.
pub fn trained_on(run: &Path, description: &Description) -> Option<HashSet<(String, String)>> {
    let mut images = rows(&run.join(NAME))?;
    images.retain(|[part, ..]| part == "train");
    let names = &description.class_names;
    let numbers = names.iter().map(String::as_str).zip(0..=u16::MAX);
    let numbers: HashMap<&str, u16> = numbers.collect();
    let label = |[_, class, ..]: &Image| numbers.get(class.as_str()).copied();
    let labels: Vec<u16> = images.iter().map(label).collect::<Option<_>>()?;
    let (records, _) = divided(&description.experiment, &labels, names).ok()?;
    let image = |&record: &u32| {
        let [_, _, bytes, path] = images.get(record as usize)?;
        Some((path.clone(), bytes.clone()))
    };
    records.iter().map(image).collect()
}

fn read(path: &Path) -> Option<Images> {
    Some(rows(path)?.into_iter().map(keyed).collect())
}

/// The images of the list at `path`, in its order.
fn rows(path: &Path) -> Option<Vec<Image>> {
    let unpacked = GzDecoder::new(BufReader::new(File::open(path).ok()?));
    let image = |row: csv::Result<csv::StringRecord>| {
        let row = row.ok()?;
        let field = |at: usize| row.get(at).map(String::from);
        Some([field(0)?, field(1)?, field(2)?, field(3)?])
    };
    csv::Reader::from_reader(unpacked)
        .records()
        .map(image)
        .collect()
}

fn keyed([part, class, bytes, path]: Image) -> ((String, String), (String, String)) {
    ((part, path), (class, bytes))
}
