//! Python pickles as data: looked over, then parsed. No code is run.
//!
//! A pickle is a program for a small machine with a stack. `serde-pickle` runs it on plain data, but a
//! hostile one can nest values deeper than our stack, or refer to a value twice, to that twice, and so
//! on until it fills the memory. [`read`] therefore walks over the instructions first, with the depth
//! and the size of every value in its place.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};
use serde_pickle::{DeOptions, HashableValue, Value};

/// Values in values in values; lists of referring expressions have 6.
const MAX_DEPTH: usize = 64;

/// How much larger than the pickle its values may be: a reference of two bytes stands for a word.
const MAX_GROWTH: u64 = 16;

/// Longest number, in bytes.
const MAX_NUMBER: usize = 64;

/// The value that a pickle holds. Strings of Python 2 are read as UTF-8, or where they are not that, as
/// Latin-1.
///
/// # Errors
/// What is wrong with the pickle, in words: cut off, code to be run, values nested too deep or grown
/// too large.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    Walk::new(bytes).run()?;
    serde_pickle::value_from_slice(bytes, DeOptions::new()).map_err(|error| error.to_string())
}

/// A value as JSON has it. Tuples and sets become lists, keys become strings.
pub(super) fn to_json(value: Value) -> Json {
    let list = |values: Vec<Value>| Json::Array(values.into_iter().map(to_json).collect());
    match value {
        Value::None => Json::Null,
        Value::Bool(value) => value.into(),
        Value::I64(value) => value.into(),
        // Python 2's long numbers are seldom long.
        Value::Int(value) => {
            let digits = value.to_string();
            digits.parse::<i64>().map_or_else(|_| digits.clone().into(), Json::from)
        }
        Value::F64(value) => value.into(),
        Value::Bytes(bytes) => text(bytes).into(),
        Value::String(text) => text.into(),
        Value::List(values) | Value::Tuple(values) => list(values),
        Value::Set(values) | Value::FrozenSet(values) => {
            list(values.into_iter().map(HashableValue::into_value).collect())
        }
        Value::Dict(entries) => {
            let entries = entries.into_iter().map(|(key, value)| {
                let key = match to_json(key.into_value()) {
                    Json::String(key) => key,
                    other => other.to_string(),
                };
                (key, to_json(value))
            });
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// A value on the stack, by what it would take to hold it.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Values in values; 1 for a number or a string.
    depth: usize,
    /// Bytes of numbers and strings, and one for each value.
    size: u64,
    /// Where it is kept, if it is.
    kept_as: Option<u32>,
}

/// A walk over the instructions.
struct Walk<'a> {
    rest: &'a [u8],
    length: usize,
    stack: Vec<Extent>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    /// Values that are kept for later, and whether they were fetched: then they may not change, so
    /// that what contains them is as large as it seems.
    kept: HashMap<u32, (Extent, bool)>,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (stack, marks, kept) = (Vec::new(), Vec::new(), HashMap::new());
        Self { rest: bytes, length: bytes.len(), stack, marks, kept }
    }

    fn run(mut self) -> Result<(), String> {
        loop {
            let at = self.length - self.rest.len();
            let code = self.take(1)?[0];
            if code == b'.' {
                return self.pop().map(|_| ());
            }
            self.step(code).map_err(|problem| format!("{problem}, at byte {at}"))?;
        }
    }

    /// One instruction; the letters are those of Python's `pickle.py`.
    fn step(&mut self, code: u8) -> Result<(), String> {
        match code {
            0x80 => self.take(1).map(|_| ()),
            0x95 => self.take(8).map(|_| ()),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(|_| ()),
            b'1' => self.pop_mark().map(|_| ()),
            b'p' | b'q' | b'r' | 0x94 => self.keep(code),
            b'g' | b'h' | b'j' => self.fetch(code),
            b'N' | 0x88 | 0x89 => self.push(0),
            b'I' | b'L' | b'F' => match self.line()?.len() {
                length @ ..=MAX_NUMBER => self.push(length as u64),
                length => Err(format!("a number of {length} digits")),
            },
            b'S' | b'V' => {
                let length = self.line()?.len();
                self.push(length as u64)
            }
            b'J' => self.fixed(4),
            b'K' => self.fixed(1),
            b'M' => self.fixed(2),
            b'G' => self.fixed(8),
            0x8a | 0x8b => match self.prefixed(if code == 0x8a { 1 } else { 4 })? {
                length if length as usize <= MAX_NUMBER => self.push(length),
                length => Err(format!("a number of {length} bytes")),
            },
            b'U' | b'C' | 0x8c => self.string(1),
            b'T' | b'B' | b'X' => self.string(4),
            0x8d | 0x8e => self.string(8),
            b')' | b']' | b'}' => self.push(0),
            b'l' | b't' | b'd' => self.pop_mark().and_then(|items| self.group(&items)),
            0x85..=0x87 => {
                let items: Result<Vec<_>, _> = (0x84..code).map(|_| self.pop()).collect();
                self.group(&items?)
            }
            b'a' => self.pop().and_then(|item| self.grow(&[item])),
            b's' => {
                let items = [self.pop()?, self.pop()?];
                self.grow(&items)
            }
            b'e' | b'u' => self.pop_mark().and_then(|items| self.grow(&items)),
            b'c' | 0x93 | b'R' | b'b' | b'i' | b'o' | 0x81 | 0x92 => {
                Err("the pickle asks for code to be run".to_string())
            }
            _ => Err(format!("an instruction that data does not need, {code:#04x}")),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("the pickle is cut off")?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'a [u8], String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or("the pickle is cut off")? + 1)?;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// A number of `width` bytes, the lowest first, and so many bytes; how many they were.
    fn prefixed(&mut self, width: usize) -> Result<u64, String> {
        let length = self.number(width)?;
        self.take(usize::try_from(length).map_err(|_| TOO_LARGE)?)?;
        Ok(length)
    }

    fn number(&mut self, width: usize) -> Result<u64, String> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn fixed(&mut self, width: usize) -> Result<(), String> {
        self.take(width)?;
        self.push(width as u64)
    }

    fn string(&mut self, width: usize) -> Result<(), String> {
        let length = self.prefixed(width)?;
        self.push(length)
    }

    fn push(&mut self, size: u64) -> Result<(), String> {
        self.stack.push(Extent { depth: 1, size: size.saturating_add(1), kept_as: None });
        Ok(())
    }

    /// The top of the stack, which belongs to the last mark or lies above it.
    fn pop(&mut self) -> Result<Extent, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(top) if self.stack.len() >= floor => Ok(self.current(top)),
            _ => Err(UNDERFLOW.to_string()),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Extent>, String> {
        let mark = self.marks.pop().ok_or(UNDERFLOW)?;
        let items = self.stack.split_off(mark.min(self.stack.len()));
        Ok(items.into_iter().map(|item| self.current(item)).collect())
    }

    /// What a value has become: one that is kept grows where it is kept.
    fn current(&self, value: Extent) -> Extent {
        let kept = value.kept_as.and_then(|id| self.kept.get(&id));
        kept.map_or(value, |(kept, _)| *kept)
    }

    fn memo_id(&mut self, code: u8) -> Result<u32, String> {
        match code {
            b'q' | b'h' => Ok(self.number(1)? as u32),
            b'r' | b'j' => Ok(self.number(4)? as u32),
            0x94 => u32::try_from(self.kept.len()).map_err(|_| TOO_LARGE.to_string()),
            _ => {
                let line = std::str::from_utf8(self.line()?).map_err(|_| "a broken number")?;
                line.trim().parse().map_err(|_| "a broken number".to_string())
            }
        }
    }

    fn keep(&mut self, code: u8) -> Result<(), String> {
        let id = self.memo_id(code)?;
        let top = self.stack.last_mut().ok_or(UNDERFLOW)?;
        if top.kept_as.is_some() || self.kept.contains_key(&id) {
            return Err("a value is kept twice".to_string());
        }
        top.kept_as = Some(id);
        self.kept.insert(id, (*top, false));
        Ok(())
    }

    fn fetch(&mut self, code: u8) -> Result<(), String> {
        let id = self.memo_id(code)?;
        let (value, fetched) = self.kept.get_mut(&id).ok_or("a value that was not kept")?;
        *fetched = true;
        self.stack.push(*value);
        Ok(())
    }

    /// Pushes a value that contains `items`.
    fn group(&mut self, items: &[Extent]) -> Result<(), String> {
        self.push(0)?;
        self.grow(items)
    }

    /// Puts `items` into the value on top of the stack.
    fn grow(&mut self, items: &[Extent]) -> Result<(), String> {
        let limit = (self.length as u64).saturating_mul(MAX_GROWTH).saturating_add(1 << 16);
        let top = self.stack.last_mut().ok_or(UNDERFLOW)?;
        let kept = top.kept_as.and_then(|id| self.kept.get_mut(&id));
        let value = match kept {
            Some((_, true)) => return Err("a value changes after it was shared".to_string()),
            Some((value, false)) => value,
            None => top,
        };
        for item in items {
            value.depth = value.depth.max(item.depth + 1);
            value.size = value.size.saturating_add(item.size);
        }
        if value.depth > MAX_DEPTH {
            return Err(format!("values are nested deeper than {MAX_DEPTH}"));
        }
        if value.size > limit {
            return Err(TOO_LARGE.to_string());
        }
        Ok(())
    }
}

const UNDERFLOW: &str = "the pickle takes a value that is not there";
const TOO_LARGE: &str = "the values of the pickle are far larger than the pickle";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json_of(bytes: &[u8]) -> Json {
        to_json(read(bytes).unwrap())
    }

    #[test]
    fn what_python_2_wrote_is_data_whichever_its_protocol() {
        // pickle.dumps([{'id': 7, 'sent': 'r\xc3\xa9d', 'at': (1, 2.5)}], 0) of Python 2.7.
        let text = b"(lp0\n(dp1\nS'sent'\np2\nS'r\\xc3\\xa9d'\np3\nsS'id'\np4\nI7\nsS'at'\np5\n(I1\nF2.5\ntp6\nsa.";
        let expected = json!([{"id": 7, "sent": "réd", "at": [1, 2.5]}]);
        assert_eq!(json_of(text), expected);
        let windows: Vec<u8> =
            String::from_utf8(text.to_vec()).unwrap().replace('\n', "\r\n").into_bytes();
        assert_eq!(json_of(&windows), expected);
        // The same by protocol 2.
        let binary = b"\x80\x02]q\x00}q\x01(U\x04sentq\x02U\x04r\xc3\xa9dq\x03U\x02idq\x04K\x07U\x02atq\x05K\x01G@\x04\x00\x00\x00\x00\x00\x00\x86q\x06ua.";
        assert_eq!(json_of(binary), expected);
    }

    #[test]
    fn strings_that_are_not_utf_8_are_latin_1() {
        assert_eq!(json_of(b"U\x02\xe9a."), json!("éa"));
    }

    #[test]
    fn long_numbers_of_python_2_are_numbers() {
        assert_eq!(json_of(b"L1719310L\n."), json!(1_719_310));
        assert_eq!(json_of(b"\x8a\x03\x0e\x3c\x1a."), json!(1_719_310));
        assert_eq!(json_of(b"L99999999999999999999L\n."), json!("99999999999999999999"));
    }

    #[test]
    fn a_word_may_be_fetched_again_and_a_list_too() {
        assert_eq!(json_of(b"(lp0\nS'a'\np1\nag1\na(lg1\naa."), json!(["a", "a", ["a"]]));
        assert_eq!(json_of(b"(lp0\n(lp1\nI1\naag1\na."), json!([[1], [1]]));
    }

    #[test]
    fn code_is_refused() {
        let calls: [&[u8]; 6] = [
            b"cos\nsystem\n(S'true'\ntR.",
            b"(S'true'\nios\nsystem\n.",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
            b"(cos\nsystem\nS'true'\no.",
            b"}}b.",
            b"))\x81.",
        ];
        for call in calls {
            let problem = read(call).unwrap_err();
            assert!(problem.starts_with("the pickle asks for code to be run"), "{problem}");
        }
        assert!(read(b"Pid\n.").unwrap_err().contains("0x50"));
    }

    #[test]
    fn what_is_cut_off_or_takes_what_is_not_there_is_refused() {
        let whole: &[u8] = b"\x80\x02]q\x00}q\x01(U\x04sentq\x02U\x01aq\x03U\x02idq\x04K\x07ua.";
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
        for broken in [&b"a."[..], b"]u.", b"(a.", b"h\x00.", b"p0\n.", b"J\x01\x02.", b"]0(."] {
            assert!(read(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn towers_bombs_and_rings_are_refused() {
        let tower = [b"]".repeat(100_000), b"a".repeat(99_999), b".".to_vec()].concat();
        assert!(read(&tower).unwrap_err().contains("nested deeper"));
        // A list of ten references to a list of ten references to …
        let mut bomb = b"]q\x00(".to_vec();
        bomb.extend(b"U\x03lol".repeat(10));
        bomb.push(b'e');
        for id in 1..12 {
            bomb.extend([b'0', b']', b'q', id, b'(']);
            bomb.extend([b'h', id - 1].repeat(10));
            bomb.push(b'e');
        }
        bomb.push(b'.');
        assert!(read(&bomb).unwrap_err().contains("far larger"));
        let ring = b"]q\x00h\x00a.";
        assert!(read(ring).unwrap_err().contains("after it was shared"));
        // Shared first and filled afterwards.
        let late = b"]q\x00]q\x01h\x00ah\x00h\x01ae.";
        assert!(read(late).is_err());
        assert!(read(&[&b"L"[..], &b"9".repeat(1000), b"\n."].concat()).is_err());
        assert!(read(b"X\xff\xff\xff\xffabc.").unwrap_err().contains("cut off"));
    }
}
