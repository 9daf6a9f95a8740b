//! Tokens of English text in the manner of the Penn Treebank, as the COCO evaluation asks for them:
//! "It's a cat that doesn't like water!" becomes "it 's a cat that does n't like water".
//!
//! The COCO evaluation runs the tokeniser of Stanford CoreNLP 3.4.1 and drops punctuation. Here a table
//! of patterns ([`rules`]) describes what that makes of text as it occurs in captions: at each place the
//! pattern that sees farthest, its context included, makes the token; of several, the first. Left out is
//! what captions have no use for: context beyond the end of the caption, and addresses in every form.

mod rules;

use rules::{RULES, Take, keeps_period};

/// Tokens that the COCO evaluation drops. Brackets are not among them: there they are dropped in capital
/// letters only (`-LRB-`), and the tokens are in lower case.
const PUNCTUATION: [&str; 13] =
    ["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"];

/// Characters between tokens.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r' | '\u{85}' | '\u{a0}' | '\u{2000}'..='\u{200a}')
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{3000}')
}

/// The tokens of a caption in lower case and without punctuation, joined by spaces. Within a token a
/// no-break space may stand ("5 1/2").
pub fn tokenize(caption: &str) -> String {
    let mut tokens = tokens(caption);
    tokens.retain(|token| !PUNCTUATION.contains(&token.as_str()));
    tokens.join(" ")
}

/// All tokens, in lower case; the plainest of the marks that are dropped may be left out.
fn tokens(caption: &str) -> Vec<String> {
    // A caption is one line; its end is context for the last token.
    let line = caption.replace('\n', " ") + "\n";
    let mut tokens = Vec::new();
    let mut rest = line.as_str();
    while let Some(next) = rest.chars().next() {
        if is_space(next) {
            rest = &rest[next.len_utf8()..];
            continue;
        }
        if let Some(word) = plain_word(rest) {
            tokens.push(word.to_ascii_lowercase());
            rest = &rest[word.len()..];
            continue;
        }
        if is_plain_mark(rest) {
            rest = &rest[1..];
            continue;
        }
        match longest(rest) {
            Some((take, matched)) => {
                let length = take.length(matched);
                let text = take.text(&matched[..length]);
                // What is only soft hyphens is nothing.
                tokens.extend((!text.is_empty()).then(|| text.to_lowercase()));
                rest = &rest[length..];
            }
            // A character that no rule knows, as emoji, is dropped.
            None => rest = &rest[next.len_utf8()..],
        }
    }
    tokens
}

/// Words of letters only that are two tokens.
const SPLIT_WORDS: [&str; 6] = ["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"];

/// A word of English letters before a space, before a comma and a space, or at the end with or without a
/// period: most of a caption. No rule sees farther there than the word, except those of abbreviations.
fn plain_word(text: &str) -> Option<&str> {
    let length = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, after) = text.split_at(length);
    let is_last = after == ".\n";
    let after = after.strip_prefix(',').unwrap_or(after);
    let ends = is_last || after.starts_with([' ', '\n']);
    let is_split = || SPLIT_WORDS.iter().any(|split| split.eq_ignore_ascii_case(word));
    let is_plain = length > 0 && ends && !is_split() && !(is_last && keeps_period(word));
    is_plain.then_some(word)
}

/// Whether a mark that is dropped begins the text: a comma before a space, or the period at the end.
fn is_plain_mark(text: &str) -> bool {
    text.starts_with(", ") || text == ".\n"
}

/// The rule that applies at the beginning of `text`, and what it matched without the context.
fn longest(text: &str) -> Option<(Take, &str)> {
    let mut best: Option<(usize, Take, &str)> = None;
    for rule in RULES.iter() {
        // Most rules do not match, which is found sooner without their groups.
        let Some(whole) = rule.pattern.find(text) else { continue };
        let length = whole.as_str().chars().count();
        if best.is_some_and(|(longest, ..)| length <= longest) {
            continue;
        }
        let token = rule.pattern.captures(text).and_then(|captures| captures.get(1));
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            best = Some((length, rule.take, token.as_str()));
        }
    }
    best.map(|(_, take, token)| (take, token))
}

#[cfg(test)]
mod tests {
    use super::tokenize;

    /// What CoreNLP 3.4.1 makes of the text, punctuation dropped.
    #[track_caller]
    fn becomes(text: &str, tokens: &str) {
        assert_eq!(tokenize(text), tokens, "{text}");
    }

    #[test]
    fn punctuation_is_dropped_and_brackets_are_named() {
        becomes(
            "A person riding a horse along the shore.",
            "a person riding a horse along the shore",
        );
        becomes("a sheep, a goat; a cow: farm animals!", "a sheep a goat a cow farm animals");
        becomes("two (blue) [photo] {x}", "two -lrb- blue -rrb- -lsb- photo -rsb- -lcb- x -rcb-");
        becomes("what??? no!! wow... hmm.... -- --- -----", "what ??? no !! wow hmm -----");
        becomes("...", "");
        becomes("  ", "");
    }

    #[test]
    fn contractions_and_possessives_are_split() {
        becomes("It's a cat that doesn't like water", "it 's a cat that does n't like water");
        becomes(
            "they're I'm we'd she'll can't cannot",
            "they 're i 'm we 'd she 'll ca n't can not",
        );
        becomes("gonna gotta wanna lemme 'tis 'twas", "gon na got ta wan na lem me 't is 't was");
        becomes("the kids' toys in Mary's room", "the kids toys in mary 's room");
        becomes("old man’s hat — brown, don’t", "old man 's hat brown do n't");
        becomes("rock 'n' roll y'all o'clock O'Brien", "rock 'n' roll y' all o'clock o'brien");
    }

    #[test]
    fn quotes_of_all_kinds_are_dropped() {
        becomes("a 'quoted' \"word\" ‘and’ “more” «words» ``x''", "a quoted word and more words x");
    }

    #[test]
    fn what_belongs_together_stays() {
        becomes("T-shirt 2-year-old Wi-Fi co-worker", "t-shirt 2-year-old wi-fi co-worker");
        becomes("white cabinets/black counters w/ 1/2", "white cabinets/black counters w / 1/2");
        becomes("2,000 people at 7.5 km, 10:45 AM", "2,000 people at 7.5 km 10:45 am");
        becomes("$5.99 20% US$5 £5 #1 #tag @sign*", "$ 5.99 20 % us$ 5 # 5 # 1 #tag @sign *");
        becomes("R&D a & b", "r&d a & b");
        becomes("test@example.com or www.example.org.", "test@example.com or www.example.org");
        becomes("5 1/2 cups", "5\u{a0}1/2 cups");
    }

    #[test]
    fn abbreviations_keep_their_period() {
        becomes("St. Mary at 10 a.m. in the U.S. etc.", "st. mary at 10 a.m. in the u.s. etc.");
        becomes("plan B. The dog. J. Smith", "plan b the dog j. smith");
        becomes("fig. 3 of no. 5, no. Fig. x", "fig. 3 of no. 5 no fig x");
        becomes("a mass. Mass. ave.", "a mass mass. ave.");
    }

    #[test]
    fn letters_of_all_scripts_are_words_and_unknown_characters_nothing() {
        becomes("Señor Müller’s café 中文 ❤ 😀", "señor müller 's café 中文 ❤");
        becomes("soft\u{ad}hyphen zero\u{200b}width", "softhyphen zero width");
    }
}
