//! The images that a command line names: files, folders, patterns, standard input.
//!
//! - A file is an image whatever its name says.
//! - A folder is every image below it, by the endings of names, in order of their bytes, as training lists them:
//!   hidden and system files are ignored.
//! - What is no file and has `*`, `?` or `[` in it is a pattern.
//! - `-` is standard input: an image, or the names of files, one a line.
//!
//! Names are produced one by one, so that a list may be longer than memory.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use shufflenet_data::{DataError, images_below};

/// The most bytes that an image's file may have.
const MOST_BYTES: u64 = 1 << 30;

/// An image by its name, with its bytes or the reason why it has none.
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
    /// Why it cannot be read, in words.
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
            true => Err("more than 1 GiB".into()),
            false => Ok(bytes),
        }
    }
}

/// The images that `arguments` name, in order.
pub fn inputs(arguments: &[PathBuf]) -> impl Iterator<Item = Input> + '_ {
    arguments.iter().flat_map(|argument| one(argument))
}

fn one(argument: &Path) -> Box<dyn Iterator<Item = Input>> {
    if argument == Path::new("-") {
        return standard_input();
    }
    if argument.is_dir() {
        let mut found = below(argument);
        if found.is_empty() {
            found.push(Input::nothing(argument, "a folder without an image in it"));
        }
        return Box::new(found.into_iter());
    }
    let text = argument.to_string_lossy();
    if argument.exists() || !text.contains(['*', '?', '[']) {
        return Box::new(std::iter::once(Input::file(argument.into())));
    }
    match glob::glob(&text) {
        Err(error) => Box::new(std::iter::once(Input::nothing(argument, error))),
        Ok(paths) => {
            let mut paths = paths.peekable();
            if paths.peek().is_none() {
                let nothing = Input::nothing(argument, "no file matches");
                return Box::new(std::iter::once(nothing));
            }
            Box::new(paths.map(|path| match path {
                Ok(path) => Input::file(path),
                Err(error) => Input::nothing(error.path(), error.error()),
            }))
        }
    }
}

/// The images below `folder`, and the folders in it that cannot be read.
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
    images.chain(unreadable).collect()
}

fn standard_input() -> Box<dyn Iterator<Item = Input>> {
    let mut input = io::stdin().lock();
    let is_image = match input.fill_buf() {
        Ok(start) => is_image(start),
        Err(error) => return Box::new(std::iter::once(Input::nothing(Path::new("-"), error))),
    };
    if is_image {
        let mut bytes = Vec::new();
        let source = match input.take(MOST_BYTES).read_to_end(&mut bytes) {
            Ok(_) => Source::Bytes(bytes),
            Err(error) => Source::Nothing(error.to_string()),
        };
        let name = "-".into();
        return Box::new(std::iter::once(Input { name, source }));
    }
    let lines = input
        .lines()
        .filter(|line| !matches!(line, Ok(line) if line.is_empty()));
    Box::new(lines.map(|line| match line {
        Ok(line) => Input::file(line.into()),
        Err(error) => Input::nothing(Path::new("-"), error),
    }))
}

/// Whether bytes are an image and not a list of names: every supported format has an early zero byte or is not text.
fn is_image(start: &[u8]) -> bool {
    let start = start.get(..64).unwrap_or(start);
    start.contains(&0) || start.starts_with(&[0xff, 0xd8]) || start.starts_with(b"\x89PNG")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(arguments: &[PathBuf], root: &Path) -> Vec<String> {
        let relative = |input: Input| {
            let path = Path::new(&input.name).strip_prefix(root).unwrap();
            let bad = matches!(input.source, Source::Nothing(_));
            format!("{}{}", path.display(), if bad { "!" } else { "" })
        };
        inputs(arguments).map(relative).collect()
    }

    #[test]
    fn files_folders_and_patterns_are_found_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["b/2.png", "b/1.JPG", "b/notes.txt", "a.webp", "c"] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::create_dir(root.join("empty")).unwrap();
        assert_eq!(
            names(&[root.into()], root),
            ["a.webp", "b/1.JPG", "b/2.png"]
        );
        let named = [
            root.join("c"),
            root.join("b/*.png"),
            root.join("no*"),
            root.join("empty"),
        ];
        assert_eq!(names(&named, root), ["c", "b/2.png", "no*!", "empty!"]);
    }

    #[test]
    fn images_are_told_from_names() {
        assert!(is_image(b"\x89PNG\r\n"));
        assert!(is_image(b"BM\x36\x00\x00"));
        assert!(is_image(b"RIFF\x24\x00\x00\x00WEBP"));
        assert!(!is_image(b"BMW/1.jpg\nRIFF.png\n"));
    }
}
