//! Skims a structure in Thrift's compact protocol, the format of the descriptions in parquet files
//! ([specification](https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)).
//! Nothing is kept. The skim checks that the structure is complete, finds its length, and checks that its
//! lists are no longer than the structure.
//!
//! The library that reads parquet trusts a list's length when it skips the list. Booleans take no bytes
//! there, so six bytes can claim two billion of them and keep the library busy for seconds. A small file
//! has room for thousands of such lists.

use std::io::{self, Read};

/// Largest depth of nested structures, equal to the library's.
const DEPTH: u8 = 64;

/// The result of skimming a structure.
#[derive(Debug, PartialEq)]
pub struct Skimmed {
    /// Length of the structure in bytes.
    pub length: u64,
    /// Value of the wanted field, if the structure has it as a whole number.
    pub wanted: Option<i64>,
}

/// Skims the structure at the beginning of `input` for its field `wanted`. `None`: the structure is
/// truncated, nested too deeply, or claims more elements than it has bytes.
pub fn skim(input: impl Read, wanted: i64) -> Option<Skimmed> {
    let mut skimmer = Skimmer {
        input,
        length: 0,
        elements: 0,
    };
    let wanted = skimmer.structure(DEPTH, Some(wanted))?;
    Some(Skimmed {
        length: skimmer.length,
        wanted,
    })
}

struct Skimmer<R> {
    input: R,
    /// Number of bytes read.
    length: u64,
    /// Number of list elements that take no bytes.
    elements: u64,
}

impl<R: Read> Skimmer<R> {
    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte).ok()?;
        self.length += 1;
        Some(byte[0])
    }

    fn skip(&mut self, bytes: u64) -> Option<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink()).ok()?;
        self.length += skipped;
        (skipped == bytes).then_some(())
    }

    /// Seven bits per byte, the lowest first.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Signed numbers encoded as unsigned ones: 0, -1, 1, -2...
    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads to the end of a structure and returns the value of its field `wanted`.
    fn structure(&mut self, depth: u8, wanted: Option<i64>) -> Option<Option<i64>> {
        let (mut field, mut found) = (0_i64, None);
        loop {
            let header = self.byte()?;
            let kind = header & 0x0f;
            if kind == 0 {
                return Some(found);
            }
            field = match header >> 4 {
                0 => self.zigzag()?,
                step => field.checked_add(i64::from(step))?,
            };
            match kind {
                4..=6 if wanted == Some(field) => found = Some(self.zigzag()?),
                _ => self.value(kind, depth)?,
            }
        }
    }

    fn value(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // The header of the field holds the boolean.
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => self.list(depth),
            11 => self.map(depth),
            12 => self.structure(depth, None).map(drop),
            13 => self.skip(16),
            _ => None,
        }
    }

    fn list(&mut self, depth: u8) -> Option<()> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        self.elements(count, &[header & 0x0f], depth)
    }

    fn map(&mut self, depth: u8) -> Option<()> {
        let count = self.varint()?;
        if count == 0 {
            return Some(());
        }
        let kinds = self.byte()?;
        self.elements(count, &[kinds >> 4, kinds & 0x0f], depth)
    }

    /// Reads `count` elements, each with a value of each of `kinds`.
    fn elements(&mut self, count: u64, kinds: &[u8], depth: u8) -> Option<()> {
        if kinds.iter().all(|kind| matches!(kind, 1 | 2)) {
            self.elements = self.elements.checked_add(count)?;
            return (self.elements <= self.length).then_some(());
        }
        for _ in 0..count {
            for &kind in kinds {
                self.value(kind, depth)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field 3 = 150, field 4 = "abc", field 5 = [1, 2], the end marker, and one byte after the structure.
    const WHOLE: [u8; 15] = [
        0x35, 0xac, 0x02, 0x18, 3, b'a', b'b', b'c', 0x19, 0x25, 2, 4, 0x11, 0, 99,
    ];

    #[test]
    fn length_and_field_are_found() {
        let expected = Skimmed {
            length: 14,
            wanted: Some(150),
        };
        assert_eq!(skim(&WHOLE[..], 3), Some(expected));
        assert_eq!(skim(&WHOLE[..], 7).unwrap().wanted, None);
    }

    #[test]
    fn a_truncated_structure_is_refused() {
        for cut in 0..14 {
            assert_eq!(skim(&WHOLE[..cut], 3), None, "{cut}");
        }
    }

    #[test]
    fn booleans_without_bytes_are_refused() {
        // Field 1: a list (then a map) of two billion booleans.
        assert_eq!(
            skim(&[0x19, 0xf1, 0xff, 0xff, 0xff, 0xff, 7, 0][..], 3),
            None
        );
        assert_eq!(
            skim(&[0x1b, 0xff, 0xff, 0xff, 0xff, 7, 0x12, 0][..], 3),
            None
        );
        assert!(skim(&[0x19, 0x21, 0][..], 3).is_some());
    }

    #[test]
    fn a_structure_that_is_nested_too_deeply_is_refused() {
        assert_eq!(skim(&[0x1c; 1000][..], 3), None);
        assert_eq!(skim(&[0x19; 1000][..], 3), None);
    }
}
