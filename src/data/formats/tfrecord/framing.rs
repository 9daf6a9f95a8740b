//! The framing of TFRecord files: length, its checksum, the record, its checksum.
//!
//! Numbers have the lowest byte first. Checksums are CRC-32C of the bytes before them, turned right by
//! 15 bits, plus a constant (`tensorflow/core/lib/hash/crc32c.h`).

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// Longest record, in bytes: what TensorFlow's own readers take (`2^31 − 1` is protobuf's limit).
const MAX_LENGTH: u64 = (1 << 31) - 1;

/// Castagnoli's polynomial, its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// What TensorFlow adds, so that the checksum of bytes that contain one is not special.
const MASK_DELTA: u32 = 0xA282_EAD8;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ POLYNOMIAL } else { rest >> 1 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
}

/// CRC-32C.
fn crc32c(bytes: &[u8]) -> u32 {
    let next = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ crc >> 8;
    !bytes.iter().fold(!0, next)
}

/// The checksum that TFRecord files have of `bytes`.
pub(super) fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(MASK_DELTA)
}

/// What comes next in a file.
pub(super) enum Next {
    /// A record, and the byte of the file it begins at.
    Record(Vec<u8>, u64),
    /// A record whose checksum is another.
    WrongChecksum,
    /// Nothing more can be read, and why.
    Broken(String),
    /// The file ends.
    End,
}

/// The records of a file, one after the other.
pub(super) struct Records {
    reader: BufReader<File>,
    /// Bytes read so far.
    at: u64,
    /// Bytes of the file.
    length: u64,
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        Ok(Self { reader: BufReader::new(file), at: 0, length })
    }

    /// Reads the next record.
    pub(super) fn next(&mut self) -> std::io::Result<Next> {
        if self.at == self.length {
            return Ok(Next::End);
        }
        let cut = |what: &str| Ok(Next::Broken(format!("{what} is cut off")));
        let Some(header) = self.array::<8>()? else { return cut("the length of a record") };
        let Some(checksum) = self.array::<4>()? else { return cut("the length of a record") };
        if u32::from_le_bytes(checksum) != masked_crc32c(&header) {
            let problem =
                "the checksum of a length is wrong: this is no TFRecord, or it is damaged";
            return Ok(Next::Broken(problem.to_string()));
        }
        let length = u64::from_le_bytes(header);
        if length > MAX_LENGTH {
            return Ok(Next::Broken(format!("a record of {length} bytes")));
        }
        let offset = self.at;
        if length + 4 > self.length.saturating_sub(self.at) {
            return cut("a record");
        }
        let mut record = Vec::new();
        self.at += self.reader.by_ref().take(length).read_to_end(&mut record)? as u64;
        let Some(checksum) = self.array::<4>()? else { return cut("the checksum of a record") };
        match u32::from_le_bytes(checksum) == masked_crc32c(&record) {
            true => Ok(Next::Record(record, offset)),
            false => Ok(Next::WrongChecksum),
        }
    }

    /// The next bytes; `None` where there are fewer.
    fn array<const N: usize>(&mut self) -> std::io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => {
                self.at += N as u64;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Frames a record.
#[cfg(test)]
pub(super) fn frame(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked_crc32c(bytes).to_le_bytes();
    [&length[..], &checksum(&length), record, &checksum(record)].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Records with where they begin, how many were wrong, and what ended the file early.
    type Found = (Vec<(Vec<u8>, u64)>, usize, Option<String>);

    fn read(bytes: &[u8]) -> Found {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut records = Records::open(file.path()).unwrap();
        let (mut found, mut wrong) = (Vec::new(), 0);
        loop {
            match records.next().unwrap() {
                Next::Record(record, at) => found.push((record, at)),
                Next::WrongChecksum => wrong += 1,
                Next::Broken(problem) => return (found, wrong, Some(problem)),
                Next::End => return (found, wrong, None),
            }
        }
    }

    #[test]
    fn checksums_are_those_of_the_standards() {
        // RFC 3720, B.4, and the usual check of nine digits.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(
            masked_crc32c(b"123456789"),
            0xE306_9283_u32.rotate_right(15).wrapping_add(MASK_DELTA)
        );
    }

    /// Bytes before a record: 8 of its length and 4 of that's checksum.
    const HEADER: u64 = 12;

    #[test]
    fn records_come_with_where_they_begin() {
        let bytes = [frame(b"one"), frame(b""), frame(b"three")].concat();
        let expected = [(b"one".to_vec(), HEADER), (vec![], 31), (b"three".to_vec(), 47)];
        assert_eq!(read(&bytes), (expected.to_vec(), 0, None));
        assert_eq!(read(b""), (vec![], 0, None));
    }

    #[test]
    fn a_wrong_record_is_passed_over_and_a_wrong_length_ends_the_file() {
        let mut bytes = [frame(b"one"), frame(b"two")].concat();
        bytes[13] ^= 1;
        assert_eq!(read(&bytes), (vec![(b"two".to_vec(), 31)], 1, None));
        bytes[0] = 4;
        let (found, _, problem) = read(&bytes);
        assert!(found.is_empty() && problem.unwrap().contains("the checksum of a length is wrong"));
    }

    #[test]
    fn a_file_cut_anywhere_gives_what_is_whole_and_says_so() {
        let bytes = [frame(b"one"), frame(b"two")].concat();
        for length in 1..bytes.len() {
            let (found, wrong, problem) = read(&bytes[..length]);
            assert_eq!((found.len(), wrong), (usize::from(length >= 19), 0));
            assert_eq!(problem.is_some(), length != 19, "{length}");
        }
        // A length beyond the file is not made room for.
        let length = (1_u64 << 40).to_le_bytes();
        let absurd = [&length[..], &masked_crc32c(&length).to_le_bytes()].concat();
        assert_eq!(read(&absurd).2.unwrap(), "a record of 1099511627776 bytes");
    }
}
