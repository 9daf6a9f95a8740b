//! METEOR's own reading of a line (`-norm`): quotes and dashes made plain, punctuation apart from words,
//! periods inside abbreviations gone, lower case.
//!
//! Captions that the Penn Treebank tokeniser has cut are read so again, as the COCO evaluation has it:
//! "is n't" becomes "is n 't", "t-shirt" two words. The rules are those of the
//! tokeniser of the Moses translation system, with another alphabet. They were written from published
//! descriptions and knowledge of how METEOR works, and then confirmed by giving METEOR 1.5 lines and
//! looking at what it wrote beside their alignments.

use std::collections::HashMap;

/// When a period after a word does not end a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// Never: "Mr."
    Always,
    /// Before a number: "No. 5"
    BeforeNumber,
}

/// Words whose period is no sentence end; case counts.
pub(super) type Prefixes = HashMap<String, Prefix>;

/// Words that a file of METEOR's resources lists, one a line; `#` begins a remark.
pub(super) fn prefixes(file: &str) -> Prefixes {
    let mut prefixes = Prefixes::new();
    for line in file.lines() {
        let word = line.split('#').next().unwrap_or_default().trim();
        if !word.is_empty() {
            let numbers = line.contains("#NUMERIC_ONLY#");
            let prefix = if numbers { Prefix::BeforeNumber } else { Prefix::Always };
            prefixes.insert(word.to_string(), prefix);
        }
    }
    prefixes
}

/// The words of a line, joined by single spaces.
pub(super) fn normalize(line: &str, prefixes: &Prefixes) -> String {
    if line.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ') {
        // Most captions, once they are tokenised.
        return join(line.split_ascii_whitespace()).to_ascii_lowercase();
    }
    let mut characters = plain_punctuation(line);
    // A place before the first character and after the last.
    characters.insert(0, ' ');
    characters.push(' ');
    let letter = is_letter;
    let digit = |c: char| c.is_ascii_digit();
    let spaced = set_apart(&characters);
    let no_hyphens =
        split(&spaced, |c| letter(c) || digit(c) || c == '.', '-', |c| letter(c) || digit(c), " ");
    let mut line = no_hyphens;
    // 1,000 stays.
    line = split(&line, |c| !digit(c), ',', |c| !digit(c), " , ");
    line = split(&line, digit, ',', |c| !digit(c), " , ");
    line = split(&line, |c| !digit(c), ',', digit, " , ");
    line = split(&line, |c| !letter(c), '\'', |c| !letter(c), " ' ");
    line = split(&line, |c| !letter(c) && !digit(c), '\'', letter, " ' ");
    line = split(&line, letter, '\'', |c| !letter(c), " ' ");
    line = split(&line, letter, '\'', letter, " '");
    line = split(&line, digit, '\'', |c| c == 's', " '");
    periods(&line.into_iter().collect::<String>(), prefixes).to_lowercase()
}

/// Letters of the alphabets that METEOR takes for words: others stand apart, one by one.
fn is_letter(character: char) -> bool {
    matches!(character,
        'a'..='z' | 'A'..='Z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{17e}'
        | '\u{400}'..='\u{481}' | '\u{483}'..='\u{527}' | '\u{1d00}'..='\u{1d7f}')
}

fn is_space(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\u{c}' | '\r' | ' ' | '\u{a0}' | '\u{1680}')
        || matches!(character, '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// One kind of quote, of apostrophe, of hyphen and of space.
fn plain_punctuation(line: &str) -> Vec<char> {
    let mut plain = Vec::with_capacity(line.len() + 2);
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\'' | '`' | '-' if rest.peek() == Some(&character) => {
                rest.next();
                plain.push(if character == '-' { '-' } else { '"' });
            }
            '‘' | '’' | '`' => plain.push('\''),
            '“' | '”' => plain.push('"'),
            '–' => plain.extend([' ', '-', ' ']),
            '\0' => {}
            _ if is_space(character) => plain.push(' '),
            _ => plain.push(character),
        }
    }
    plain
}

/// Spaces around everything but letters, digits, and the marks that need a second look.
fn set_apart(characters: &[char]) -> Vec<char> {
    let mut spaced = Vec::with_capacity(characters.len() * 2);
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let dots = characters[at..].iter().take_while(|&&c| c == '.').count();
        if dots > 1 {
            spaced.push(' ');
            spaced.extend(std::iter::repeat_n('.', dots));
            spaced.push(' ');
            at += dots;
            continue;
        }
        let stays = is_letter(character)
            || character.is_ascii_digit()
            || matches!(character, ' ' | '.' | '\'' | ',' | '-');
        if stays {
            spaced.push(character);
        } else {
            spaced.extend([' ', character, ' ']);
        }
        at += 1;
    }
    spaced
}

/// Puts `instead` in the place of `middle` where it stands between such characters, from left to right; a
/// character on the right is not on the left of the next.
fn split(
    characters: &[char],
    left: impl Fn(char) -> bool,
    middle: char,
    right: impl Fn(char) -> bool,
    instead: &str,
) -> Vec<char> {
    let mut result = Vec::with_capacity(characters.len() + 8);
    let mut at = 0;
    while at < characters.len() {
        match characters[at..] {
            [before, here, after, ..] if here == middle && left(before) && right(after) => {
                result.push(before);
                result.extend(instead.chars());
                result.push(after);
                at += 3;
            }
            _ => {
                result.push(characters[at]);
                at += 1;
            }
        }
    }
    result
}

/// Periods at the ends of words: gone with those inside an abbreviation, kept where the sentence goes on,
/// apart where it ends.
fn periods(line: &str, prefixes: &Prefixes) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut result = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        let Some(stem) = word.strip_suffix('.').filter(|stem| {
            let is_dots = stem.chars().all(|c| c == '.');
            !is_dots
        }) else {
            result.push((*word).to_string());
            continue;
        };
        if stem.contains('.') && stem.chars().any(is_letter) {
            result.push(stem.replace('.', ""));
            continue;
        }
        let next = words.get(at + 1).and_then(|next| next.chars().next());
        let goes_on = next.is_some_and(|next| next.is_ascii_lowercase());
        let is_prefix = match prefixes.get(stem) {
            Some(Prefix::Always) => true,
            Some(Prefix::BeforeNumber) => next.is_some_and(|next| next.is_ascii_digit()),
            None => false,
        };
        if goes_on || is_prefix {
            result.push((*word).to_string());
        } else {
            result.push(format!("{stem} ."));
        }
    }
    result.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What METEOR 1.5 with `-l en -norm` writes beside its alignments.
    #[track_caller]
    fn becomes(line: &str, normalized: &str) {
        let prefixes = prefixes("#titles\nMr\nJ\npp #NUMERIC_ONLY#\nNo #NUMERIC_ONLY# \n");
        assert_eq!(normalize(line, &prefixes), normalized, "{line}");
    }

    #[test]
    fn tokens_of_the_penn_treebank_are_cut_again() {
        becomes("a T-shirt that is n't the kids '", "a t shirt that is n 't the kids '");
        becomes("it 's rock'n'roll at 5's o'clock", "it ' s rock 'n'roll at 5 's o 'clock");
        becomes("-lrb- two-year-old -rrb- re-rrb-", "-lrb- two year old -rrb- re rrb-");
        becomes("x-y-z 1-2-3 mr.-x -.- a- -a", "x y-z 1 2-3 mr. x -.- a- -a");
    }

    #[test]
    fn quotes_dashes_and_commas() {
        becomes("“a” ‘b’ ``c'' `d` ```x'' it’s", "\" a \" ' b ' \" c \" ' d ' \" ' x \" it 's");
        becomes("a--b a – b a–b a---b —", "a b a - b a - b a--b —");
        becomes("1,000 a,b 5,a ,5 ,,, 5,,5", "1,000 a , b 5 , a , 5 , ,, 5 , , 5");
        becomes("50% (x)/y 中文 café ½ α", "50 % ( x ) / y 中 文 café ½ α");
    }

    #[test]
    fn periods_in_abbreviations_go_and_those_of_sentences_stand_apart() {
        becomes("u.s. J.F.K. a.b www.x.com. e.g., u.s.-based", "us jfk a.b wwwxcom eg , us based");
        becomes("The end. It is. over. 3.5. 5", "the end . it is. over . 3.5 . 5");
        becomes("Mr. Smith mr. Smith J. pp. 5 No. X", "mr. smith mr . smith j. pp. 5 no . x");
        becomes("a... b .. c.. ...d . .", "a ... b .. c .. ... d . .");
    }
}
