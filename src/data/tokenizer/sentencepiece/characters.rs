//! The table of characters to replace (`precompiled_charsmap`): the length of a trie in bytes, the
//! trie, and the replacements, each ended by a zero byte.
//!
//! The trie is a double array of Darts-clone: units of 32 bits, where the child of the unit at `p`
//! (its index XOR its offset) by a byte is at `p XOR byte`, and the value of a leaf at `p`. The
//! `tokenizers` crate follows it without looking, so that every step is checked here first.

use tokenizers::normalizers::Precompiled;

const DAMAGED: &str = "its table of characters (precompiled_charsmap) is damaged";

/// The table, checked.
pub(super) fn read(bytes: &[u8]) -> Result<Precompiled, String> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(DAMAGED)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| DAMAGED)?;
    let (trie, replacements) = rest.split_at_checked(length).ok_or(DAMAGED)?;
    let (units, []) = trie.as_chunks::<4>() else { return Err(DAMAGED.into()) };
    let units: Vec<u32> = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
    let replacements = std::str::from_utf8(replacements).map_err(|_| DAMAGED)?;
    check(&units, replacements).ok_or(DAMAGED)?;
    Precompiled::from(bytes).map_err(|_| DAMAGED.into())
}

/// `None` where a walk from the root could leave the trie or the replacements.
fn check(units: &[u32], replacements: &str) -> Option<()> {
    let offset = |unit: u32| (unit >> 10 << ((unit & 1 << 9) >> 6)) as usize;
    let mut seen = vec![false; units.len()];
    let mut places = vec![offset(*units.first()?)];
    while let Some(place) = places.pop() {
        // Any byte may be asked for.
        if place | 0xff >= units.len() {
            return None;
        }
        if std::mem::replace(&mut seen[place], true) {
            continue;
        }
        for byte in 1..=0xff_usize {
            let child = units[place ^ byte];
            if (child & (1 << 31 | 0xff)) as usize != byte {
                continue;
            }
            let next = place ^ byte ^ offset(child);
            let is_leaf = child >> 8 & 1 == 1;
            if is_leaf && !replacements.is_char_boundary((units.get(next)? & !(1 << 31)) as usize) {
                return None;
            }
            places.push(next);
        }
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    /// A table that replaces "A" by "a": the root, its child by the byte 0x41 and its value.
    pub(in super::super) fn a_for_capital_a() -> Vec<u8> {
        let mut units = vec![0_u32; 768];
        // The root's place is 256, that of "A" 512.
        units[0] = 256 << 10;
        let child = 256 ^ 0x41;
        units[child] = ((child ^ 512) as u32) << 10 | 1 << 8 | 0x41;
        units[512] = 1 << 31;
        let trie: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        [&(trie.len() as u32).to_le_bytes()[..], &trie, b"a\0"].concat()
    }

    #[test]
    fn a_sound_table_replaces_characters() {
        let table = read(&a_for_capital_a()).unwrap();
        assert_eq!(table.normalize_string("An Aa"), "an aa");
    }

    #[test]
    fn a_table_that_leads_out_of_itself_is_refused() {
        let sound = a_for_capital_a();
        for length in 0..sound.len() - 2 {
            assert!(read(&sound[..length]).is_err(), "{length} bytes");
        }
        let damaged = |unit: usize, value: u32| {
            let mut table = sound.clone();
            table[4 + 4 * unit..][..4].copy_from_slice(&value.to_le_bytes());
            read(&table).is_err()
        };
        assert!(damaged(0, 700 << 10 | 1 << 9), "the root's place");
        assert!(damaged(256 ^ 0x41, 0xffff << 10 | 0x41), "the place of a child");
        assert!(damaged(512, 3 | 1 << 31), "a replacement behind the last");
    }
}
