//! Protobuf messages, field by field.

/// The fields of one message that are still to be read.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// What a field holds, by its wire type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// Wire type 0: integers, enumerations and flags.
    Varint(u64),
    /// Wire type 1: 8 bytes.
    Fixed64,
    /// Wire type 2: texts, bytes and messages.
    Bytes(&'a [u8]),
    /// Wire type 5: 4 bytes.
    Fixed32([u8; 4]),
}

/// What is said of bytes that are no message.
pub(super) const CUT: &str = "cut off, or not the message that is expected";

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Number and value of the next field; `None` after the last.
    pub(super) fn next_field(&mut self) -> Result<Option<(u64, Value<'a>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| CUT)?)?)
            }
            5 => Value::Fixed32(self.take(4)?.try_into().map_err(|_| CUT)?),
            other => return Err(format!("{CUT}: a field has the wire type {other}")),
        };
        match key >> 3 {
            0 => Err(format!("{CUT}: a field has the number 0")),
            number => Ok(Some((number, value))),
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    pub(super) fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(CUT)?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(format!("{CUT}: a number has more than 64 bits"))
    }
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(other.instead_of("bytes")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|error| format!("{CUT}: {error}"))
    }

    pub(super) fn varint(self) -> Result<u64, String> {
        match self {
            Self::Varint(number) => Ok(number),
            other => Err(other.instead_of("a whole number")),
        }
    }

    pub(super) fn flag(self) -> Result<bool, String> {
        Ok(self.varint()? != 0)
    }

    pub(super) fn float(self) -> Result<f32, String> {
        match self {
            Self::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            other => Err(other.instead_of("a real number")),
        }
    }

    fn instead_of(self, expected: &str) -> String {
        let found = match self {
            Self::Varint(_) => "a whole number",
            Self::Fixed64 => "8 bytes",
            Self::Bytes(_) => "bytes",
            Self::Fixed32(_) => "4 bytes",
        };
        format!("{CUT}: a field holds {found}, not {expected}")
    }
}
