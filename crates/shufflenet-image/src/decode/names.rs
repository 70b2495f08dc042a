//! Which files of a folder count as images, by their names.

use std::ffi::OsStr;
use std::path::{Component, Path};

/// The endings of images' names, in lower case: those of torchvision's `ImageFolder`, and further names of the
/// same formats.
pub const ENDINGS: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm",
    "gif",
];

/// Files and folders that systems leave behind. `._x.jpg`, which a Mac writes beside `x.jpg`, is hidden.
const LEFT_BEHIND: [&str; 5] = [
    "__MACOSX",
    "Thumbs.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "@eaDir",
];

/// Whether a file or folder of this name is hidden or a system's own, and so no part of a data set.
pub fn is_passed_over(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
        || LEFT_BEHIND.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// Whether a file counts as an image when a whole folder is read: by its name's ending, and unless the file is
/// hidden or a system's own, or lies inside `__MACOSX`.
pub fn is_image_name(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    let is_in_archive_of_mac = |part: Component<'_>| part.as_os_str() == "__MACOSX";
    ENDINGS
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known))
        && !path.file_name().is_some_and(is_passed_over)
        && !path.components().any(is_in_archive_of_mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_endings_in_any_case() {
        for ending in ENDINGS {
            assert!(is_image_name(Path::new(&format!("a/x.{ending}"))));
            assert!(is_image_name(Path::new(&format!(
                "X.{}",
                ending.to_uppercase()
            ))));
        }
        for name in ["x", "x.txt", "x.jpg.txt", "jpg", "x.heic", ""] {
            assert!(!is_image_name(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn hidden_files_and_those_of_systems_are_passed_over() {
        for name in [
            "._x.jpg",
            ".DS_Store",
            ".git",
            "__MACOSX",
            "Thumbs.db",
            "thumbs.db",
            "Desktop.ini",
            "$RECYCLE.BIN",
            "@eaDir",
        ] {
            assert!(is_passed_over(OsStr::new(name)), "{name}");
        }
        for name in ["x.jpg", "_x", "Thumbs", "cat"] {
            assert!(!is_passed_over(OsStr::new(name)), "{name}");
        }
        assert!(!is_image_name(Path::new("a/._x.jpg")));
        assert!(!is_image_name(Path::new(".hidden.png")));
        assert!(!is_image_name(Path::new("set/__MACOSX/cat/x.jpg")));
        // A folder above the set may be hidden.
        assert!(is_image_name(Path::new("/home/me/.cache/set/cat/x.jpg")));
    }
}
