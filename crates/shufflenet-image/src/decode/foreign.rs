//! Recognises files that are not read here, by their first bytes or by the endings of their names, and says what to do
//! about them.

use std::path::Path;

/// What to do about a picture.
const CONVERT: &str = "convert it to JPEG or PNG";
/// What to do about a film or a document.
const EXTRACT: &str = "take its pictures out of it as JPEG or PNG";
const HEIC: &str = "a HEIC photograph";
const AVIF: &str = "an AVIF image";
const RAW: &str = "a camera's raw photograph";
const MP4: &str = "an MP4 film";
const MOV: &str = "a QuickTime film";

/// Beginnings of files, what such a file is, and what to do about it.
const BEGINNINGS: [(&[u8], &str, &str); 24] = [
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image", CONVERT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image", CONVERT),
    (b"\xff\x0a", "a JPEG XL image", CONVERT),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image", CONVERT),
    (b"8BPS", "a Photoshop document", CONVERT),
    (b"P7\n", "a PAM image", CONVERT),
    (b"v/1\x01", "an OpenEXR image", CONVERT),
    (b"#?RADIANCE", "a Radiance HDR image", CONVERT),
    (b"qoif", "a QOI image", CONVERT),
    (b"DDS ", "a DirectDraw texture", CONVERT),
    (b"gimp xcf", "a GIMP document", CONVERT),
    (b"\0\0\x01\0", "an icon", CONVERT),
    (b"FUJIFILMCCD-RAW", RAW, CONVERT),
    (b"IIRO", RAW, CONVERT),
    (b"IIRS", RAW, CONVERT),
    (b"MMOR", RAW, CONVERT),
    (b"IIU\0", RAW, CONVERT),
    (b"%PDF-", "a PDF document", EXTRACT),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM film", EXTRACT),
    (b"PK\x03\x04", "a ZIP archive", "unpack it"),
    (b"\x1f\x8b", "a gzip file", "unpack it"),
    (
        b"\0\x05\x16\x07",
        "what a Mac stores beside a file (its name begins with `._`)",
        "leave it out",
    ),
    (
        b"version https://git-lfs",
        "a Git LFS pointer",
        "fetch the file itself with `git lfs pull`",
    ),
    (b"\x93NUMPY", "a NumPy array", CONVERT),
];

/// Endings of names in lower case, and what such files are. All are pictures or films.
const ENDINGS: [(&str, &str); 43] = [
    ("heic", HEIC),
    ("heif", HEIC),
    ("hif", HEIC),
    ("avif", AVIF),
    ("jp2", "a JPEG 2000 image"),
    ("j2k", "a JPEG 2000 image"),
    ("jpx", "a JPEG 2000 image"),
    ("jxl", "a JPEG XL image"),
    ("svg", "an SVG drawing"),
    ("svgz", "an SVG drawing"),
    ("eps", "a PostScript drawing"),
    ("psd", "a Photoshop document"),
    ("psb", "a Photoshop document"),
    ("xcf", "a GIMP document"),
    ("tga", "a TGA image"),
    ("exr", "an OpenEXR image"),
    ("hdr", "a Radiance HDR image"),
    ("pam", "a PAM image"),
    ("ico", "an icon"),
    ("cr2", RAW),
    ("cr3", RAW),
    ("crw", RAW),
    ("nef", RAW),
    ("nrw", RAW),
    ("arw", RAW),
    ("srf", RAW),
    ("sr2", RAW),
    ("dng", RAW),
    ("raf", RAW),
    ("orf", RAW),
    ("rw2", RAW),
    ("pef", RAW),
    ("srw", RAW),
    ("3fr", RAW),
    ("iiq", RAW),
    ("pdf", "a PDF document"),
    ("mp4", MP4),
    ("m4v", MP4),
    ("mov", MOV),
    ("avi", "an AVI film"),
    ("mkv", "a Matroska or WebM film"),
    ("webm", "a Matroska or WebM film"),
    ("npy", "a NumPy array"),
];

/// What a file that is not read here is, by its first bytes. `None` for a file that is read, or is unknown.
pub fn foreign_kind(bytes: &[u8]) -> Option<&'static str> {
    known(bytes).map(|(kind, _)| kind)
}

/// What a file that is not read here is, by its name's ending. `None` for a file that is read, or that nobody
/// would expect to be.
pub fn foreign_ending(path: &Path) -> Option<&'static str> {
    let ending = path.extension()?;
    let mut endings = ENDINGS.iter();
    let found = endings.find(|(known, _)| ending.eq_ignore_ascii_case(known));
    found.map(|&(_, kind)| kind)
}

/// What a file that is not read here is, and what to do about it.
pub(super) fn refusal(bytes: &[u8]) -> Option<String> {
    known(bytes).map(|(kind, advice)| format!("{kind}, which is not read here; {advice}"))
}

fn known(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let mut beginnings = BEGINNINGS.iter();
    let begins = beginnings.find(|(beginning, ..)| bytes.starts_with(beginning));
    begins
        .map(|&(_, kind, advice)| (kind, advice))
        .or_else(|| of_boxes(bytes))
        .or_else(|| of_text(bytes))
        .or_else(|| is_raw_tiff(bytes).then_some((RAW, CONVERT)))
}

/// Files made of boxes (ISO 14496-12), by their brands.
fn of_boxes(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    match bytes.get(4..8)? {
        b"ftyp" => {}
        b"moov" | b"mdat" | b"wide" | b"free" if length >= 8 => return Some((MOV, EXTRACT)),
        _ => return None,
    }
    // The brand, a version, and the brands that it is compatible with.
    let brands = bytes.get(8..length.clamp(12, 256).min(bytes.len()))?;
    let has = |wanted: &[&[u8; 4]]| {
        let mut brands = brands.as_chunks::<4>().0.iter();
        brands.any(|brand| wanted.contains(&brand))
    };
    Some(if has(&[b"crx "]) {
        (RAW, CONVERT)
    } else if has(&[b"avif", b"avis"]) {
        (AVIF, CONVERT)
    } else if has(&[
        b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1",
    ]) {
        (HEIC, CONVERT)
    } else if has(&[b"qt  "]) {
        (MOV, EXTRACT)
    } else {
        (MP4, EXTRACT)
    })
}

/// Drawings in SVG, and web pages that a failed download left.
fn of_text(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ") {
        return Some(("an AVI film", EXTRACT));
    }
    let start = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let start = start.get(..1024).unwrap_or(start).to_ascii_lowercase();
    let has = |word: &[u8]| start.windows(word.len()).any(|part| part == word);
    if !start.starts_with(b"<") {
        None
    } else if start.starts_with(b"<svg") || (start.starts_with(b"<?xml") && has(b"<svg")) {
        Some(("an SVG drawing", CONVERT))
    } else if has(b"<html") || has(b"<!doctype html") {
        Some((
            "a web page",
            "it is what a failed download leaves: download the image again",
        ))
    } else {
        None
    }
}

/// Whether a TIFF is a raw photograph (CR2, NEF, ARW, DNG and others): its first page is then a small preview
/// and the photograph is a page below it; DNG and CR2 also say what they are.
fn is_raw_tiff(bytes: &[u8]) -> bool {
    const NEW_SUBFILE_TYPE: u16 = 254;
    const SUB_IFDS: u16 = 330;
    const DNG_VERSION: u16 = 50706;
    let is_big_endian = match bytes {
        [b'I', b'I', 42, 0, ..] => false,
        [b'M', b'M', 0, 42, ..] => true,
        _ => return false,
    };
    if bytes.get(8..10) == Some(b"CR") {
        return true;
    }
    let word = |at: usize| -> Option<u16> {
        let pair = *bytes.get(at..)?.first_chunk()?;
        Some(match is_big_endian {
            true => u16::from_be_bytes(pair),
            false => u16::from_le_bytes(pair),
        })
    };
    let long = |at: usize| -> Option<usize> {
        let (first, second) = (usize::from(word(at)?), usize::from(word(at + 2)?));
        Some(match is_big_endian {
            true => (first << 16) + second,
            false => (second << 16) + first,
        })
    };
    let Some((page, count)) = long(4).and_then(|page| Some((page, word(page)?))) else {
        return false;
    };
    let entries = (0..usize::from(count)).map(|entry| page + 2 + 12 * entry);
    let (mut is_preview, mut has_pages_below) = (false, false);
    for entry in entries {
        match word(entry) {
            Some(NEW_SUBFILE_TYPE) => {
                is_preview = long(entry + 8).is_some_and(|kind| kind & 1 == 1)
            }
            Some(SUB_IFDS) => has_pages_below = true,
            Some(DNG_VERSION) => return true,
            Some(_) => {}
            None => break,
        }
    }
    is_preview && has_pages_below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_kinds_are_told_by_their_first_bytes() {
        let brand = |brands: &str| {
            let length = 8 + brands.len() as u32;
            [
                &length.to_be_bytes()[..],
                b"ftyp",
                brands.as_bytes(),
                b"rest",
            ]
            .concat()
        };
        let cases: &[(&[u8], &str)] = &[
            (&brand("heic\0\0\0\0mif1heic"), HEIC),
            (&brand("mif1\0\0\0\0mif1heic"), HEIC),
            (&brand("mif1\0\0\0\0mif1avif"), AVIF),
            (&brand("avif\0\0\0\0avifmif1"), AVIF),
            (&brand("crx \0\0\0\x01crx isom"), RAW),
            (&brand("isom\0\0\x02\0isomavc1mp41"), MP4),
            (&brand("qt  \0\0\0\0qt  "), MOV),
            (b"\0\0\0\x08wide\0\0\0\0mdat", MOV),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
            (b"\xff\x0a\xfa\x1f", "a JPEG XL image"),
            (b"<svg xmlns='x'/>", "an SVG drawing"),
            (
                b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg/>",
                "an SVG drawing",
            ),
            (b"8BPS\0\x01", "a Photoshop document"),
            (b"%PDF-1.7\n", "a PDF document"),
            (b"II*\0\x10\0\0\0CR\x02\0", RAW),
            (b"FUJIFILMCCD-RAW 0201", RAW),
            (b"IIRO\x08\0\0\0", RAW),
            (b"IIU\0\x18\0\0\0", RAW),
            (b"<!DOCTYPE html><html>", "a web page"),
            (
                b"version https://git-lfs.github.com/spec/v1\n",
                "a Git LFS pointer",
            ),
            (b"RIFF\0\0\0\0AVI LIST", "an AVI film"),
        ];
        for (bytes, kind) in cases {
            assert_eq!(
                foreign_kind(bytes),
                Some(*kind),
                "{:?}",
                bytes.escape_ascii().to_string()
            );
            assert!(super::super::decode(bytes).unwrap_err().starts_with(kind));
            assert!(
                super::super::dimensions(bytes)
                    .unwrap_err()
                    .starts_with(kind)
            );
        }
        let line = super::super::decode(&brand("heic\0\0\0\0mif1heic")).unwrap_err();
        assert_eq!(
            line,
            "a HEIC photograph, which is not read here; convert it to JPEG or PNG"
        );
        for bytes in [
            &b""[..],
            b"text",
            b"GIF89a",
            b"\xff\xd8\xff",
            b"<note>",
            b"II*\0\x08\0\0\0",
        ] {
            assert_eq!(foreign_kind(bytes), None);
        }
    }

    #[test]
    fn raw_photographs_in_tiff_are_not_taken_for_their_previews() {
        // A page with these tags, each with the value 1.
        let page = |tags: &[u16]| {
            let mut bytes = b"II*\0\x08\0\0\0".to_vec();
            bytes.extend((tags.len() as u16).to_le_bytes());
            for tag in tags {
                bytes.extend(tag.to_le_bytes());
                bytes.extend([4, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
            }
            bytes
        };
        assert!(is_raw_tiff(&page(&[254, 256, 330])));
        assert!(is_raw_tiff(&page(&[256, 50706])));
        assert!(!is_raw_tiff(&page(&[254, 256])));
        assert!(!is_raw_tiff(&page(&[256, 330])));
        let whole = page(&[254, 256, 330]);
        for cut in 0..whole.len() {
            is_raw_tiff(&whole[..cut]);
        }
    }

    #[test]
    fn endings_tell_what_was_passed_over() {
        assert_eq!(foreign_ending(Path::new("a/IMG_1.HEIC")), Some(HEIC));
        assert_eq!(foreign_ending(Path::new("x.Cr2")), Some(RAW));
        assert_eq!(foreign_ending(Path::new("x.mov")), Some(MOV));
        for name in ["x.jpg", "x.txt", "heic", "notes.heic.txt"] {
            assert_eq!(foreign_ending(Path::new(name)), None, "{name}");
        }
        for ending in super::super::ENDINGS {
            assert_eq!(foreign_ending(Path::new(&format!("x.{ending}"))), None);
        }
    }
}
