//! Reads text as other programs write it: UTF-8, with or without a byte order mark.
//!
//! Windows' editors write a mark before UTF-8, and its shell redirects output as UTF-16. The mark is removed. Any
//! other encoding is refused by name, with advice on how to convert it. Lines may end in CRLF: [`str::lines`]
//! accepts both.

use std::fs;
use std::path::Path;

use crate::DataError;

const MARK: &[u8] = b"\xef\xbb\xbf";
const ADVICE: &str =
    "save it as UTF-8 (an editor's \"Save as\"; in PowerShell `Set-Content -Encoding utf8`)";

/// The text in `bytes`, without a byte order mark.
///
/// # Errors
/// One line that says which encoding `bytes` have instead of UTF-8, and what to do.
pub fn decode(bytes: &[u8]) -> Result<&str, String> {
    if let Some(encoding) = other_encoding(bytes) {
        return Err(format!("text in {encoding}; {ADVICE}"));
    }
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        let byte = rest.first().copied().unwrap_or(0);
        format!("a byte 0x{byte:02x} in line {line} that is not UTF-8; {ADVICE}")
    })
}

/// The text in the file at `path`.
///
/// # Errors
/// [`DataError::Io`] for a file that cannot be read, [`DataError::Content`] for one that is not UTF-8.
pub fn read(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|error| DataError::io(path, error))?;
    let text = decode(&bytes).map_err(|found| DataError::content(path, found, "text in UTF-8"))?;
    Ok(text.into())
}

/// Recognises UTF-16 and UTF-32 by their marks, or by the zero bytes of English letters.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some("UTF-16"),
        _ => {}
    }
    let start = bytes.get(..1024).unwrap_or(bytes);
    let zeros = start.iter().filter(|&&byte| byte == 0).count();
    match 4 * zeros {
        0 => None,
        many if many > 2 * start.len() => Some("UTF-32, or not text"),
        many if many >= start.len() => Some("UTF-16, or not text"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn a_mark_before_utf8_is_removed() {
        assert_eq!(decode(b"\xef\xbb\xbfcat\r\ndog").unwrap(), "cat\r\ndog");
        assert_eq!(decode("a é 中 🦀".as_bytes()).unwrap(), "a é 中 🦀");
        assert_eq!(decode(b"").unwrap(), "");
        // Only the first character can be a byte order mark.
        assert_eq!(decode(b"\xef\xbb\xbf\xef\xbb\xbf").unwrap(), "\u{feff}");
    }

    #[test]
    fn other_encodings_are_refused_by_name() {
        let marked = [b"\xff\xfe".to_vec(), utf_16("cat\r\n")].concat();
        let wide: Vec<u8> = "cat"
            .chars()
            .flat_map(|c| (c as u32).to_le_bytes())
            .collect();
        for (bytes, name) in [
            (marked, "text in UTF-16; save it as UTF-8"),
            (b"\xfe\xff\0c\0a".to_vec(), "text in UTF-16; save"),
            (utf_16("cat\r\n"), "text in UTF-16, or not text; save"),
            (
                [b"\xff\xfe\0\0".to_vec(), wide.clone()].concat(),
                "text in UTF-32; save",
            ),
            (b"\0\0\xfe\xff\0\0\0c".to_vec(), "text in UTF-32; save"),
            (wide, "text in UTF-32, or not text; save"),
        ] {
            let line = decode(&bytes).unwrap_err();
            assert!(line.starts_with(name), "{line}");
            assert!(line.contains("UTF-8 (an editor's"), "{line}");
        }
        // A letter of Windows-1252.
        let line = decode(b"cat\nd\xe9j\xe0 vu\n").unwrap_err();
        assert!(
            line.starts_with("a byte 0xe9 in line 2 that is not UTF-8; save"),
            "{line}"
        );
        let line = decode(b"\xef\xbb\xbf\xe9").unwrap_err();
        assert!(line.starts_with("a byte 0xe9 in line 1"), "{line}");
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.csv");
        std::fs::write(&path, utf_16("a,b\n1,2\n")).unwrap();
        let line = read(&path).unwrap_err().to_string();
        assert!(line.contains("list.csv: found text in UTF-16"), "{line}");
        assert!(line.ends_with("expected text in UTF-8"), "{line}");
        std::fs::write(&path, b"\xef\xbb\xbfa,b\r\n").unwrap();
        assert_eq!(read(&path).unwrap(), "a,b\r\n");
        let line = read(&folder.path().join("nowhere"))
            .unwrap_err()
            .to_string();
        assert!(line.contains("nowhere: cannot be read"), "{line}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn text_without_zeros_is_unchanged(text in "[^\u{0}\u{feff}]*") {
            proptest::prop_assert_eq!(decode(text.as_bytes()).unwrap(), text.as_str());
        }
    }
}
