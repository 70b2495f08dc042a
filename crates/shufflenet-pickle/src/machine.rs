//! The stack machine. One function for each group of instructions; the numbers are those of Python's
//! `pickle.py`. Instructions that stand for a constant are in `constants.rs`.

use std::collections::HashMap;

use crate::constants::{Problem, constant};
use crate::cursor::Cursor;
use crate::{Id, MOST_VALUES, Object, Pickle, PickleError, Value};

struct Machine<'a> {
    input: Cursor<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at which a list of arguments begins.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

const EMPTY: Problem = Problem::Misplaced("finds too few values before it");

pub(crate) fn read(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let mut machine = Machine {
        input: Cursor::new(bytes),
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        let at = machine.input.at;
        let code = machine.input.byte()?;
        match machine.step(code) {
            Ok(None) => {}
            Ok(Some(root)) => {
                return Ok(Pickle {
                    values: machine.values,
                    root,
                    length: machine.input.at,
                });
            }
            Err(Problem::Pickle(error)) => return Err(error),
            Err(Problem::Unknown) => return Err(PickleError::Instruction { at, code }),
            Err(Problem::Misplaced(problem)) => {
                return Err(PickleError::Misplaced { at, code, problem });
            }
        }
        if machine.values.len() > MOST_VALUES {
            return Err(PickleError::TooLarge);
        }
    }
}

impl<'a> Machine<'a> {
    /// Executes an instruction. Returns the pickle's value at its end.
    fn step(&mut self, code: u8) -> Result<Option<Id>, Problem> {
        match code {
            b'.' => return self.pop().map(Some),
            // The protocol's number, and the length of a frame: neither changes a value.
            0x80 => drop(self.input.byte()?),
            0x95 => drop(self.input.length8()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.stack.push(self.top()?),
            b'p' | b'q' | b'r' | 0x94 => self.remember(code)?,
            b'g' | b'h' | b'j' => self.recall(code)?,
            b'c' | b'i' | b'o' | b'R' | 0x81 | 0x92 | 0x93 | b'b' => self.object(code)?,
            b'P' | b'Q' => self.persistent(code)?,
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(code)?,
            b't' | b'l' | b'd' | 0x85..=0x87 | 0x91 => self.collect(code)?,
            // Buffers outside the pickle, of protocol 5; the second only marks one as read-only.
            0x97 => self.push(Value::Other),
            0x98 => {}
            // Python's extension registry, of one, two or four bytes.
            0x82 => self.extension(1)?,
            0x83 => self.extension(2)?,
            0x84 => self.extension(4)?,
            _ => {
                let value = constant(&mut self.input, code)?;
                self.push(value);
            }
        }
        Ok(None)
    }

    fn extension(&mut self, bytes: usize) -> Result<(), Problem> {
        self.input.take(bytes)?;
        self.push(Value::Other);
        Ok(())
    }

    fn remember(&mut self, code: u8) -> Result<(), Problem> {
        let place = match code {
            0x94 => self.memo.len() as u64,
            _ => self.place(code)?,
        };
        let top = self.top()?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Result<(), Problem> {
        let place = self.place(code)?;
        let unknown = Problem::Misplaced("repeats a value that was not stored");
        self.stack.push(*self.memo.get(&place).ok_or(unknown)?);
        Ok(())
    }

    /// The number of a place in the memo.
    fn place(&mut self, code: u8) -> Result<u64, Problem> {
        Ok(match code {
            b'h' | b'q' => self.input.byte()?.into(),
            b'j' | b'r' => self.input.length4()? as u64,
            _ => {
                let line = self.input.text_line()?;
                let place = line.trim().parse();
                place.map_err(|_| Problem::Misplaced("holds no number"))?
            }
        })
    }

    /// Classes, calls, and the state of their results.
    fn object(&mut self, code: u8) -> Result<(), Problem> {
        match code {
            b'c' => {
                let class = self.class_lines()?;
                self.push(class);
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id| match self.value(id) {
                    Some(Value::Text(text)) => Some(text.to_string()),
                    Some(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
                    _ => None,
                };
                let names = text(module).zip(text(name));
                let (module, name) = names.ok_or(Problem::Misplaced("finds no name before it"))?;
                if module.len() + name.len() > MOST_NAME {
                    // A pickle can repeat its texts, and each class has a copy.
                    return Err(Problem::Misplaced("finds a name that is too long"));
                }
                self.push(Value::Class(format!("{module}.{name}")));
            }
            b'i' => {
                let class = self.class_lines()?;
                let arguments = self.pop_to_mark()?;
                self.push(class);
                let callable = self.pop()?;
                self.push_call(callable, arguments);
            }
            b'o' => {
                let mut arguments = self.pop_to_mark()?;
                if arguments.is_empty() {
                    return Err(EMPTY);
                }
                let callable = arguments.remove(0);
                self.push_call(callable, arguments);
            }
            b'b' => {
                let state = self.pop()?;
                let top = self.top()?;
                // A state changes no value of another type that anybody looks at.
                if let Some(Value::Object(object)) = self.value_mut(top) {
                    object.state = Some(state);
                }
            }
            _ => {
                // Keyword arguments are of no use here.
                if code == 0x92 {
                    self.pop()?;
                }
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let arguments = match self.value(arguments) {
                    // A tuple that a pickle repeats is not copied for each call: copies would multiply.
                    Some(Value::Tuple(items)) if items.len() <= MOST_ARGUMENTS => items.clone(),
                    _ => Vec::new(),
                };
                self.push_call(callable, arguments);
            }
        }
        Ok(())
    }

    fn class_lines(&mut self) -> Result<Value<'a>, Problem> {
        let (module, name) = (self.input.text_line()?, self.input.text_line()?);
        Ok(Value::Class(format!("{module}.{name}")))
    }

    fn push_call(&mut self, callable: Id, arguments: Vec<Id>) {
        self.push(Value::Object(Box::new(Object {
            callable,
            arguments,
            state: None,
            items: Vec::new(),
            entries: Vec::new(),
        })));
    }

    fn persistent(&mut self, code: u8) -> Result<(), Problem> {
        if code == b'P' {
            let line = self.input.text_line()?;
            self.push(Value::Text(line));
        }
        let id = self.pop()?;
        self.push(Value::Persistent(id));
        Ok(())
    }

    /// Puts values into the list, set, dictionary or object below them.
    fn fill(&mut self, code: u8) -> Result<(), Problem> {
        let mut values = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_to_mark()?,
        };
        let top = self.top()?;
        let wrong = Problem::Misplaced("finds no container before it");
        let pairs = matches!(code, b's' | b'u');
        match (self.value_mut(top), pairs) {
            (Some(Value::List(items) | Value::Set(items)), false) => items.append(&mut values),
            (Some(Value::Object(object)), false) => object.items.append(&mut values),
            (Some(Value::Dict(entries)), true) => entries.extend(in_pairs(&values)),
            (Some(Value::Object(object)), true) => object.entries.extend(in_pairs(&values)),
            _ => return Err(wrong),
        }
        Ok(())
    }

    /// Makes a container of the values before it.
    fn collect(&mut self, code: u8) -> Result<(), Problem> {
        let values = match code {
            0x85 => self.pop_last(1)?,
            0x86 => self.pop_last(2)?,
            0x87 => self.pop_last(3)?,
            _ => self.pop_to_mark()?,
        };
        self.push(match code {
            b'l' => Value::List(values),
            b'd' => Value::Dict(in_pairs(&values).collect()),
            0x91 => Value::Set(values),
            _ => Value::Tuple(values),
        });
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(Id(self.values.len() as u32));
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The last value, which is not before the last mark.
    fn top(&self) -> Result<Id, Problem> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.get(floor..).and_then(<[Id]>::last);
        above.copied().ok_or(EMPTY)
    }

    fn pop_last(&mut self, count: usize) -> Result<Vec<Id>, Problem> {
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(self.pop()?);
        }
        values.reverse();
        Ok(values)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Problem> {
        let mark = self.marks.pop();
        let mark = mark.ok_or(Problem::Misplaced("finds no mark before it"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn value(&self, id: Id) -> Option<&Value<'a>> {
        self.values.get(id.0 as usize)
    }

    fn value_mut(&mut self, id: Id) -> Option<&mut Value<'a>> {
        self.values.get_mut(id.0 as usize)
    }
}

/// Longest name of a class with its module, in bytes.
const MOST_NAME: usize = 1_000;

/// Calls with more arguments are kept without them. Those that rebuild tensors and arrays have up to eight.
const MOST_ARGUMENTS: usize = 16;

/// Keys and values that follow each other; one without a partner is dropped.
fn in_pairs(values: &[Id]) -> impl Iterator<Item = (Id, Id)> {
    let (pairs, _) = values.as_chunks::<2>();
    pairs.iter().map(|&[key, value]| (key, value))
}
