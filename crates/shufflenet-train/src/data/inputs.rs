//! The images that a command line names: files, folders, patterns, standard input.
//!
//! - A file is an image, whatever its extension.
//! - A folder stands for every image below it, as training lists them: by extension, in the order of the names' bytes, without
//!   hidden and system files.
//! - An argument that is not a file and has `*`, `?` or `[` in it is a pattern. With `**` it selects from the images that the
//!   folder before it stands for.
//! - `-` is standard input: an image, or the names of files, one per line, in UTF-8 with or without a byte order mark.
//!
//! Names are produced one by one, so that a list may be larger than memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern, PatternError};
use shufflenet_data::decode::dimensions;
use shufflenet_data::{DataError, images_below, text};

/// Largest size of an image file, in bytes.
const MOST_BYTES: u64 = 1 << 30;
const TOO_LONG: &str = "more than 1 GiB";

/// The name of an image, and its bytes or the reason why it has none.
pub struct Input {
    /// Path of the image; `-` for standard input.
    pub name: String,
    /// Where the encoded image is.
    pub source: Source,
}

/// Where an image's bytes are.
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Bytes(Vec<u8>),
    /// Nowhere, for this reason.
    Nothing(String),
}

impl Input {
    fn file(path: PathBuf) -> Self {
        Self {
            name: path.display().to_string(),
            source: Source::File(path),
        }
    }

    fn nothing(path: &Path, reason: impl ToString) -> Self {
        Self {
            name: path.display().to_string(),
            source: Source::Nothing(reason.to_string()),
        }
    }

    /// The encoded image.
    ///
    /// # Errors
    /// The reason why it cannot be read, in words.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let path = match &self.source {
            Source::File(path) => path,
            Source::Bytes(bytes) => return Ok(bytes.clone()),
            Source::Nothing(reason) => return Err(reason.clone()),
        };
        let mut bytes = Vec::new();
        let read = |bytes: &mut Vec<u8>| File::open(path)?.take(MOST_BYTES + 1).read_to_end(bytes);
        read(&mut bytes).map_err(|error| error.to_string())?;
        match bytes.len() as u64 > MOST_BYTES {
            true => Err(TOO_LONG.into()),
            false => Ok(bytes),
        }
    }
}

/// The images that `arguments` name, in order.
pub fn inputs(arguments: &[PathBuf]) -> impl Iterator<Item = Input> + '_ {
    arguments.iter().flat_map(|argument| one(argument))
}

fn one(argument: &Path) -> Inputs {
    if argument == Path::new("-") {
        return from_stream(io::stdin().lock());
    }
    if argument.is_dir() {
        return Box::new(below(argument).into_iter());
    }
    let text = argument.to_string_lossy();
    if argument.exists() || !text.contains(['*', '?', '[']) {
        return Box::new(std::iter::once(Input::file(argument.into())));
    }
    let found = match text.contains("**") {
        true => matching_below(&text),
        false => matching(&text),
    };
    let mut found = match found {
        Ok(found) => found.peekable(),
        Err(error) => return Box::new(std::iter::once(Input::nothing(argument, error))),
    };
    if found.peek().is_none() {
        return Box::new(std::iter::once(Input::nothing(argument, "no file matches")));
    }
    Box::new(found)
}

type Inputs = Box<dyn Iterator<Item = Input>>;

/// The files that a pattern without `**` selects, and the images of the folders that it selects.
fn matching(pattern: &str) -> Result<Inputs, PatternError> {
    let paths = glob::glob(pattern)?;
    Ok(Box::new(paths.flat_map(|path| match path {
        Ok(path) if path.is_dir() => below(&path),
        Ok(path) => vec![Input::file(path)],
        Err(error) => vec![Input::nothing(error.path(), error.error())],
    })))
}

/// The images that a pattern with `**` selects. Links that lead back to a folder above are entered once, unlike by
/// [`glob::glob`].
fn matching_below(pattern: &str) -> Result<Inputs, PatternError> {
    let options = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    let is_literal =
        |part: &Component| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let folder: PathBuf = Path::new(pattern)
        .components()
        .take_while(is_literal)
        .collect();
    let below = match folder.as_os_str().is_empty() {
        true => images_below(Path::new(".")),
        false => images_below(&folder),
    };
    let pattern = Pattern::new(pattern)?;
    let files = below.images.into_iter().chain(below.foreign);
    let images = files.map(move |image| folder.join(image));
    let images = images.filter(move |image| pattern.matches_path_with(image, options));
    Ok(Box::new(images.map(Input::file)))
}

/// The images below `folder`, the folders in it that cannot be read, and a line on pictures in formats that are not read.
fn below(folder: &Path) -> Vec<Input> {
    let listing = images_below(folder);
    let images = listing
        .images
        .iter()
        .map(|name| Input::file(folder.join(name)));
    let unreadable = listing.unreadable.iter().map(|error| match error {
        DataError::Io { path, error } => Input::nothing(path, error),
        other => Input::nothing(folder, other),
    });
    let mut found: Vec<Input> = images.chain(unreadable).collect();
    if found.is_empty() || !listing.foreign.is_empty() {
        let passed_over = match listing.passed_over.is_empty() {
            true => String::new(),
            false => format!(" ({})", listing.passed_over),
        };
        let what = match found.is_empty() {
            true => "a folder without an image in it",
            false => "a folder with pictures in formats that are not read",
        };
        found.push(Input::nothing(folder, format!("{what}{passed_over}")));
    }
    found
}

/// The images from `input`, which is an image or a list of names.
fn from_stream(mut input: impl Read + 'static) -> Inputs {
    let nothing = |reason: String| -> Inputs {
        Box::new(std::iter::once(Input::nothing(Path::new("-"), reason)))
    };
    let start = match start_of(&mut input) {
        Ok(start) if start.is_empty() => return nothing("an empty input".into()),
        Ok(start) if is_utf_16(&start) => {
            return nothing(text::decode(&start).err().unwrap_or_default());
        }
        Ok(start) => start,
        Err(error) => return nothing(error.to_string()),
    };
    if is_image(&start) {
        let mut bytes = start;
        let source = match input.take(MOST_BYTES + 1).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 > MOST_BYTES => Source::Nothing(TOO_LONG.into()),
            Ok(_) => Source::Bytes(bytes),
            Err(error) => Source::Nothing(error.to_string()),
        };
        let name = "-".into();
        return Box::new(std::iter::once(Input { name, source }));
    }
    let mark = "\u{feff}".as_bytes();
    let names = start.strip_prefix(mark).unwrap_or(&start).to_vec();
    let lines = BufReader::new(Cursor::new(names).chain(input)).lines();
    let lines = lines.filter(|line| !matches!(line, Ok(line) if line.is_empty()));
    // Behind bytes that are no text there is no name.
    let until_an_error = lines.scan(false, |has_failed, line| {
        let ended = std::mem::replace(has_failed, line.is_err());
        (!ended).then_some(line)
    });
    Box::new(until_an_error.map(|line| match line {
        Ok(line) => Input::file(line.into()),
        Err(error) => Input::nothing(Path::new("-"), error),
    }))
}

/// The first bytes of `input`, enough to tell an image from a list of names. They may come in pieces.
fn start_of(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    input.by_ref().take(64).read_to_end(&mut start)?;
    // The header of a PPM has comments of any length.
    if start.starts_with(b"P") {
        input.by_ref().take(8192).read_to_end(&mut start)?;
    }
    Ok(start)
}

/// Whether bytes are an image and not a list of names. Every supported format has an early zero byte, is not text,
/// or has a header that does not look like a name.
fn is_image(start: &[u8]) -> bool {
    let is_readable = start.starts_with(b"P") && dimensions(start).is_ok();
    let start = start.get(..64).unwrap_or(start);
    let marks: [&[u8]; 4] = [b"\xff\xd8", b"\x89PNG", b"GIF87a", b"GIF89a"];
    start.contains(&0) || marks.iter().any(|mark| start.starts_with(mark)) || is_readable
}

/// Whether bytes are names in UTF-16, as Windows' shell redirects them. No image begins in this way.
fn is_utf_16(start: &[u8]) -> bool {
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => true,
        [first, 0, second, 0, ..] => first.is_ascii_graphic() && second.is_ascii_graphic(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
