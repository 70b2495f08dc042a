//! Instructions that stand for a value by themselves: numbers, text, bytes, empty containers.

use std::borrow::Cow;

use crate::cursor::{Cursor, long, quoted, raw_unicode};
use crate::{PickleError, Value};

/// The reason why an instruction does not work.
pub(crate) enum Problem {
    Pickle(PickleError),
    Unknown,
    Misplaced(&'static str),
}

impl From<PickleError> for Problem {
    fn from(error: PickleError) -> Self {
        Self::Pickle(error)
    }
}

/// The value that an instruction with its operand stands for.
pub(crate) fn constant<'a>(input: &mut Cursor<'a>, code: u8) -> Result<Value<'a>, Problem> {
    Ok(match code {
        b'N' => Value::None,
        0x88 => Value::Bool(true),
        0x89 => Value::Bool(false),
        b'J' => Value::Int(i32::from_le_bytes(input.array()?).into()),
        b'K' => Value::Int(input.byte()?.into()),
        b'M' => Value::Int(u16::from_le_bytes(input.array()?).into()),
        b'I' => match input.line()? {
            b"00" => Value::Bool(false),
            b"01" => Value::Bool(true),
            line => integer(line)?,
        },
        b'L' => integer(input.line()?)?,
        0x8a | 0x8b => {
            let length = match code {
                0x8a => input.byte()?.into(),
                _ => input.length4()?,
            };
            long(input.take(length)?).map_or(Value::Other, Value::Int)
        }
        b'F' => {
            let line = input.text_line()?;
            let float = line.trim().parse();
            Value::Float(float.map_err(|_| Problem::Misplaced("holds no number"))?)
        }
        b'G' => Value::Float(f64::from_be_bytes(input.array()?)),
        b'S' => {
            let string = quoted(input.line()?);
            let string = string.ok_or(Problem::Misplaced("holds no string in quotes"))?;
            Value::Bytes(Cow::Owned(string))
        }
        b'V' => Value::Text(Cow::Owned(raw_unicode(input.line()?))),
        b'U' | b'C' | b'T' | b'B' | 0x8e | 0x96 => Value::Bytes(Cow::Borrowed(run(input, code)?)),
        b'X' | 0x8c | 0x8d => Value::Text(String::from_utf8_lossy(run(input, code)?)),
        b']' => Value::List(Vec::new()),
        b')' => Value::Tuple(Vec::new()),
        b'}' => Value::Dict(Vec::new()),
        0x8f => Value::Set(Vec::new()),
        _ => return Err(Problem::Unknown),
    })
}

/// Bytes after a length of one, four or eight bytes.
fn run<'a>(input: &mut Cursor<'a>, code: u8) -> Result<&'a [u8], Problem> {
    let length = match code {
        b'U' | b'C' | 0x8c => input.byte()?.into(),
        b'T' | b'B' | b'X' => input.length4()?,
        _ => input.length8()?,
    };
    Ok(input.take(length)?)
}

fn integer<'a>(line: &[u8]) -> Result<Value<'a>, Problem> {
    let wrong = Problem::Misplaced("holds no number");
    let text = std::str::from_utf8(line).unwrap_or_default().trim();
    let text = text.trim_end_matches('L');
    let digits = text.strip_prefix('-').unwrap_or(text);
    match text.parse() {
        Ok(int) => Ok(Value::Int(int)),
        Err(_) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Value::Other)
        }
        Err(_) => Err(wrong),
    }
}
