//! Checks of a parquet file before the library reads it, because the library trusts the file: it asserts
//! that columns are inside the file, allocates memory for as many values as a dictionary claims, and iterates
//! over lists whose elements take no bytes.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use parquet::column::page::Page;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::FileReader;

use super::thrift::skim;

/// Size of the tail: the length of the description, and `PAR1`.
const TAIL: u64 = 8;
/// The field of a page's header with the number of bytes after the header.
const COMPRESSED_PAGE_SIZE: i64 = 3;

/// Whether the description at the end of a file of `length` bytes is complete.
pub fn is_described(mut file: &File, length: u64) -> std::io::Result<bool> {
    let Some(tail) = length.checked_sub(TAIL) else {
        return Ok(false);
    };
    let mut size = [0; 4];
    file.seek(SeekFrom::Start(tail))?;
    file.read_exact(&mut size)?;
    let Some(start) = tail.checked_sub(u64::from(u32::from_le_bytes(size))) else {
        return Ok(false);
    };
    file.seek(SeekFrom::Start(start))?;
    let description = BufReader::new(file).take(tail - start);
    Ok(skim(description, 0).is_some())
}

/// A description of the first fault in the columns of a file of `length` bytes; `None` if there is none.
pub fn fault(
    file: &File,
    reader: &dyn FileReader,
    length: u64,
) -> Result<Option<&'static str>, ParquetError> {
    let mut total: u64 = 0;
    for (number, group) in reader.metadata().row_groups().iter().enumerate() {
        for (column, chunk) in group.columns().iter().enumerate() {
            let Some((start, size)) = place(chunk, length) else {
                return Ok(Some("a column outside it"));
            };
            total = total.saturating_add(size);
            if total > length {
                return Ok(Some("columns on top of each other"));
            }
            if !are_pages(file, start, size)? {
                return Ok(Some("a page without a valid header"));
            }
            let group = reader.get_row_group(number)?;
            let first = group.get_column_page_reader(column)?.get_next_page()?;
            if !first.is_none_or(is_honest) {
                return Ok(Some("a dictionary larger than its page"));
            }
        }
    }
    Ok(None)
}

/// First byte and number of bytes of a column; `None` if they are outside a file of `length` bytes.
fn place(column: &ColumnChunkMetaData, length: u64) -> Option<(u64, u64)> {
    let dictionary = column.dictionary_page_offset();
    let start = u64::try_from(dictionary.unwrap_or(column.data_page_offset())).ok()?;
    let size = u64::try_from(column.compressed_size()).ok()?;
    (start.checked_add(size)? <= length).then_some((start, size))
}

/// Whether all pages of a column have readable headers.
fn are_pages(mut file: &File, start: u64, size: u64) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    let mut input = BufReader::new(file);
    let mut left = size;
    while left > 0 {
        let Some(header) = skim((&mut input).take(left), COMPRESSED_PAGE_SIZE) else {
            return Ok(false);
        };
        let page = header.wanted.and_then(|size| u64::try_from(size).ok());
        let rest = page.and_then(|page| left.checked_sub(header.length)?.checked_sub(page));
        let (Some(page), Some(rest)) = (page, rest) else {
            return Ok(false);
        };
        input.seek_relative(page.cast_signed())?;
        left = rest;
    }
    Ok(true)
}

/// Whether a column's first page, if it is the dictionary, has at least as many bytes as it claims values.
fn is_honest(page: Page) -> bool {
    match page {
        Page::DictionaryPage {
            buf, num_values, ..
        } => num_values as usize <= buf.len(),
        _ => true,
    }
}
