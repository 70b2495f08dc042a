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
        root.join("[b]"),
        root.join("no*"),
        root.join("empty"),
    ];
    assert_eq!(
        names(&named, root),
        ["c", "b/2.png", "b/1.JPG", "b/2.png", "no*!", "empty!"]
    );
}

#[cfg(unix)]
#[test]
fn a_pattern_for_all_folders_below_ends_at_circular_links() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["cat/x.png", "cat/y.png", "dog/deep/x.png", "x.png"] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    std::os::unix::fs::symlink(".", root.join("cat/loop")).unwrap();
    std::os::unix::fs::symlink("..", root.join("cat/up")).unwrap();
    let all = ["cat/x.png", "dog/deep/x.png", "x.png"];
    assert_eq!(names(&[root.join("**/x.png")], root), all);
    assert_eq!(names(&[root.join("dog/**/*.png")], root), all[1..2]);
    assert_eq!(names(&[root.join("**/z.png")], root), ["**/z.png!"]);
}

#[test]
fn images_are_distinguished_from_lists_of_names() {
    assert!(is_image(b"\x89PNG\r\n"));
    assert!(is_image(b"BM\x36\x00\x00"));
    assert!(is_image(b"RIFF\x24\x00\x00\x00WEBP"));
    assert!(is_image(b"GIF89a\x2c\x01\x2c\x01\xf7"));
    assert!(is_image(b"P3\n# by hand\n2 1 255\n1 2 3 4 5 6\n"));
    for names in [
        "BMW/1.jpg\nRIFF.png\n",
        "P1 2.jpg\n",
        "P6\nP5\n",
        "GIF/1.gif\n",
    ] {
        assert!(!is_image(names.as_bytes()), "{names}");
    }
}

#[test]
fn a_list_of_names_may_come_from_windows_but_is_utf_8() {
    let listed =
        |bytes: &[u8]| -> Vec<Input> { from_stream(io::Cursor::new(bytes.to_vec())).collect() };
    let names = |bytes: &[u8]| -> Vec<String> {
        listed(bytes).into_iter().map(|input| input.name).collect()
    };
    assert_eq!(names(b"a.png\n\nb, c.png"), ["a.png", "b, c.png"]);
    assert_eq!(names(b"\xef\xbb\xbfa.png\r\nb.png\r\n"), ["a.png", "b.png"]);
    let utf_16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for text in ["\u{feff}a.png\r\n", "a.png\r\nb.png\r\n"] {
        let inputs = listed(&utf_16(text));
        let reason = inputs[0].bytes().unwrap_err();
        assert_eq!(inputs.len(), 1);
        assert!(reason.starts_with("text in UTF-16"), "{reason}");
    }
    let image = b"P1 1 1\n0";
    assert_eq!(listed(image)[0].bytes().unwrap(), image);
    assert_eq!(listed(b"")[0].bytes().unwrap_err(), "an empty input");
    // Bytes that are no text are one fault, and not a fault a line.
    let found = listed(b"a.png\n\xff\xfe\xfd\nb.png\n");
    assert_eq!(found.len(), 2);
    assert!(found[1].bytes().unwrap_err().contains("UTF-8"));
}

/// Gives one byte at a time, as a slow program may do.
struct Slow(Vec<u8>);

impl Read for Slow {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = to.len().min(self.0.len()).min(1);
        to[..count].copy_from_slice(&self.0[..count]);
        self.0.drain(..count);
        Ok(count)
    }
}

#[test]
fn an_image_that_arrives_byte_by_byte_is_recognised() {
    let image = b"\x89PNG\r\n\x1a\nand so on";
    let found: Vec<Input> = from_stream(Slow(image.to_vec())).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].bytes().unwrap(), image);
}

#[test]
fn hidden_and_system_files_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in [
        "a.png",
        "._a.png",
        "__MACOSX/b.png",
        ".cache/c.png",
        "d/@eaDir/e.png",
    ] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    assert_eq!(names(&[root.into()], root), ["a.png"]);
}
