//! What tokens look like.
//!
//! How the rules are known: the lists of words ([`ABBREVIATIONS`], [`CAPITALS`], [`SENTENCE_STARTS`]) are what
//! the tokeniser of `pycocoevalcap` showed when it was given whole dictionaries; `tests/python/penn_treebank.py`
//! asks it again. The order and the shape of the patterns below were written with the grammar of CoreNLP
//! 3.4.1 (GPL) in view and are checked by the tokens in `tests/golden`; they have not been found anew from
//! its answers alone.

use std::sync::LazyLock;

use regex::Regex;

/// What becomes of a match.
#[derive(Debug, Clone, Copy)]
pub(super) enum Take {
    /// A token; soft hyphens are no part of it, spaces in it become no-break spaces, brackets their
    /// names.
    Text,
    /// As [`Self::Text`], with plain characters for typographic quotes and entities.
    Plain,
    /// As [`Self::Text`], each quote as one or two of \` or '.
    Quotes,
    /// A token without the last so many characters, which are read again.
    AllBut(usize),
    /// Another text in its place.
    As(&'static str),
}

impl Take {
    /// How many bytes of what was matched are the token's.
    pub(super) fn length(self, matched: &str) -> usize {
        let Self::AllBut(characters) = self else { return matched.len() };
        let mut from_the_end = matched.char_indices().rev();
        from_the_end.nth(characters.saturating_sub(1)).map_or(matched.len(), |(index, _)| index)
    }

    /// The text of the token.
    pub(super) fn text(self, token: &str) -> String {
        if let Self::As(text) = self {
            return text.to_string();
        }
        let (plain, quotes) = (matches!(self, Self::Plain), matches!(self, Self::Quotes));
        let token = if plain || quotes {
            &token.replace("&apos;", "'").replace("&quot;", "\"").replace("&amp;", "&")
        } else {
            token
        };
        let mut text = String::with_capacity(token.len());
        for character in token.chars() {
            match character {
                '\u{ad}' => {}
                '’' | '\u{92}' if plain => text.push('\''),
                '‘' | '‛' | '\u{91}' if plain => text.push('`'),
                '‘' | '‛' | '‹' | '\u{91}' | '\u{82}' if quotes => text.push('`'),
                '’' | '›' | '\u{92}' if quotes => text.push('\''),
                '“' | '«' | '\u{93}' | '\u{84}' if quotes => text.push_str("``"),
                '”' | '»' | '\u{94}' | '"' if quotes => text.push_str("''"),
                ' ' => text.push('\u{a0}'),
                '(' => text.push_str("-LRB-"),
                ')' => text.push_str("-RRB-"),
                _ => text.push(character),
            }
        }
        text
    }
}

/// One kind of token.
#[derive(Debug)]
pub(super) struct Rule {
    /// The token as its first group, and the context that must follow.
    pub(super) pattern: Regex,
    /// What becomes of it.
    pub(super) take: Take,
}

/// Parts of the patterns, by the names that stand for them there.
const PARTS: &[(&str, &str)] = &[
    ("WORD", r"(?:LETTER(?:LETTER|DIGIT)*(?:[.!?]LETTER(?:LETTER|DIGIT)*)*)"),
    ("NUMBER", r"(?:[-+]?(?:DIGIT+(?:[.:,\x{ad}]DIGIT+)*|(?:[.:,\x{ad}]DIGIT+)+))"),
    // With an article of French or Italian: d'Avignon.
    ("COMPOUND", r"(?:(?:[dDoOlL]QUOTE(?:LETTER|DIGIT))?(?:LETTER|DIGIT)+)"),
    ("HYPHENATED", r"(?:[A-Za-z0-9][A-Za-z0-9.,\x{ad}]*(?:-(?:INITIALS\.|[A-Za-z0-9\x{ad}]+))+)"),
    (
        "LETTER",
        r"(?:[\p{L}&&[\x{0}-\x{ffff}]]|[\p{M}&&[\x{300}-\x{eff}]]|\x{ad}|&[aeiouAEIOU](?:acute|grave|uml);)",
    ),
    ("DIGIT", r"\p{Nd}"),
    ("QUOTE", r"(?:APOSTROPHE|[`‘‛\x{91}])"),
    ("APOSTROPHE", r"(?:['’\x{92}]|&apos;)"),
    ("SPACE", r"\s"),
    ("GAP", r"[ \x{a0}]"),
    ("INITIALS", r"(?:[A-Za-z](?:\.[A-Za-z])+)"),
];

/// Abbreviations that keep their period before anything, in lower case and with a capital letter: all that
/// the tokeniser showed of the words of WordNet, every combination of up to three letters, and titles,
/// units and states.
const ABBREVIATIONS: &str = "\
    ph\\.d|adj|adm|adv|al|ala|apr|ariz|assn|assoc|asst|attys|aug|ave|bancorp|bhd|bldg|\
    blvd|brig|bros|calif|capt|cf|cie|co|col|colo|comdr|conn|corp|cos|cpl|ct|dak|\
    dec|dept|det|dr|drs|elec|ens|esq|est|etc|ext|feb|fla|fri|ft|ga|gen|gov|\
    govs|hon|inc|ind|insp|intl|invt|jan|jos|jr|jul|jun|kan|kans|ky|lieut|lt|\
    ltd|maj|mar|md|messrs|mfg|mich|minn|mlle|mme|mo|mon|mr|mrs|ms|msgr|mt|mtg|\
    natl|neb|nev|nov|oct|okla|penn|pfc|ph|plc|pres|prof|profs|pte|pty|ptys|pvt|\
    rd|rep|reps|rev|rt|sen|sens|sep|sept|seq|sfc|sgt|spc|sq|sr|st|ste|supts|\
    sys|tel|tenn|thu|thurs|treas|tue|tues|univ|va|vs|vt|wed|wis|wisc|wm|wyo";

/// Of the same words, those that keep it with a capital letter only: in lower case they are other words.
const CAPITALS: &str = "Ark|Az|Del|Ill|La|Mass|Miss|Ore|Pa|Tex|Wash";

/// Whether a word of letters keeps the period that ends its caption: abbreviations and initials do.
pub(super) fn keeps_period(word: &str) -> bool {
    let is_listed =
        |mut list: std::str::Split<'_, char>| list.any(|one| word.eq_ignore_ascii_case(one));
    word.len() == 1 || is_listed(ABBREVIATIONS.split('|')) || is_listed(CAPITALS.split('|'))
}

/// Words after which a single letter with a period has ended a sentence ("plan B. The"): all that the tokeniser
/// showed of the words of WordNet and English function words.
const SENTENCE_STARTS: &str = "\
    A|About|According|Additionally|After|An|As|At|But|Earlier|He|Her|Here|However|If|\
    In|It|Last|Many|More|Now|Once|One|Other|Our|She|Since|So|Some|Such|That|The|\
    Their|Then|There|These|They|This|We|What|When|While|Yet|You|Mr\\.|Ms\\.";

/// Pattern of the token, of the context, and what becomes of it. Of two that see equally far, the first
/// counts.
const TABLE: &[(&str, &str, Take)] = &[
    // Contracted words without an apostrophe between their parts.
    (r"(?i:cannot|'twas)", "", Take::AllBut(3)),
    (r"(?i:APOSTROPHEtis|gonna|gotta|lemme|gimme|wanna)", "", Take::AllBut(2)),
    (r"[cC]\+\+|[cCfF]#", "", Take::Text),
    // Markup.
    (r"</?[A-Za-z!?][^>\n]*>", "", Take::Text),
    (r"&(?:MD|mdash|ndash);|[\x{96}\x{97}–—―]", "", Take::As("--")),
    (r"&amp;", "", Take::As("&")),
    (r"&nbsp;", "", Take::As("")),
    // Words, before what is contracted with them: it|'s, does|n't.
    (r"WORD", r"APOSTROPHE(?i:[msd]|re|ve|ll)", Take::Text),
    (r"[A-Za-z\x{ad}]*[A-MO-Za-mo-z]\x{ad}*", r"[nN]QUOTE[tT]", Take::Text),
    (r"WORD", "", Take::Text),
    // Words with an apostrophe in them.
    (r"(?i:APOSTROPHEnAPOSTROPHE?)", "", Take::Text),
    (r"[lLdDjJ]APOSTROPHE|(?i:olAPOSTROPHE)", "", Take::Text),
    (r"(?i:APOSTROPHE(?:em|till?|cause|[2-9]0s))", "", Take::Text),
    (r"[A-HJ-XZn]QUOTE\p{L}{2,}|\p{L}+[aeiouyAEIOUY]QUOTE[aeiouA-Z]\p{L}*", "", Take::Text),
    (r"(?i:-(?:[lr][rcs]b)-)", "", Take::Text),
    (r"(?i:cAPOSTROPHEmon)", "", Take::Text),
    (r"[yY]APOSTROPHE", r"\p{L}", Take::Text),
    // Addresses.
    (r#"(?i:https?)://[^\s"<>|()]+[^\s"<>|.!?(){},\-]"#, "", Take::Text),
    (
        r#"(?i:www)\.(?:[^\s"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}(?:/[^\s"<>|()]+[^\s"<>|.!?(){},\-])?"#,
        "",
        Take::Text,
    ),
    (
        r#"(?:[a-z\x{80}-\x{10ffff}*+%&#~]+\.)+(?i:com|net|org|edu)(?:/[^\s"<>|()]+[^\s"<>|.!?(){},\-])?"#,
        "",
        Take::Text,
    ),
    (r#"[a-zA-Z0-9][^\s"<>|()\x{a0}]*@(?:[^\s"<>|(){}.]+\.)*[^\s"<>|(){}.]+"#, "", Take::Text),
    (r"[@＠][A-Za-z_][A-Za-z_0-9]*|[#＃]LETTER+", "", Take::Text),
    // What is contracted with a word, after it.
    (r"APOSTROPHE(?i:[msd]|re|ve|ll)|[nN]QUOTE[tT]", r"[^A-Za-z]", Take::Plain),
    // Numbers.
    (r"DIGIT{1,2}[-/]DIGIT{1,2}[-/]DIGIT{2,4}", "", Take::Text),
    (r"NUMBER", "", Take::Text),
    (r"[⁺⁻₊₋]?(?:[⁰¹²³⁴-⁹]+|[₀-₉]+)", "", Take::Text),
    (r"(?:DIGIT{1,4}[- \x{a0}])?DIGIT{1,4}(?:\\?/|⁄)DIGIT{1,4}", "", Take::Text),
    (r"¼", "", Take::As("1/4")),
    (r"½", "", Take::As("1/2")),
    (r"¾", "", Take::As("3/4")),
    (r"⅓", "", Take::As("1/3")),
    (r"⅔", "", Take::As("2/3")),
    (r"[⅕-⅞]", "", Take::Text),
    (
        r"(?:\([0-9]{2,3}\)GAP?|(?:\+\+?)?(?:[0-9]{2,4}(?:-|GAP))?[0-9]{2,4}(?:-|GAP))[0-9]{3,4}(?:-|GAP)?[0-9]{3,5}",
        "",
        Take::Text,
    ),
    (r"APOSTROPHE[0-9]{2}", r"SPACE", Take::Text),
    // Alternatives: and/or.
    (
        r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:\\?/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}",
        "",
        Take::Text,
    ),
    // Currencies.
    (r"[A-Z]*\$|#", "", Take::Text),
    (r"£", "", Take::As("#")),
    (r"[¤\x{80}€₠]", "", Take::As("$")),
    (r"¢", "", Take::As("cents")),
    (r"[¥฿₤]", "", Take::Text),
    // Words with a period at their end.
    (r"[A-Za-z]\.", r" +(?:SENTENCE_STARTS)SPACE", Take::AllBut(1)),
    (r"(?i:ca|figs?|prop|nos?|arts?|pp|op)\.", r"SPACE?DIGIT", Take::Text),
    (r"INITIALS\.|(?i:ABBREVIATIONS|[A-Z])\.|(?:CAPITALS)\.", "", Take::Text),
    (r"WORD\.", r"[,;:]", Take::Text),
    // Faces.
    (r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]]", r"[^A-Za-z0-9]", Take::Text),
    (
        r"[\^x=~<>]\.[\^x=~<>]|[-\^x=~<>']_[-\^x=~<>']|\([-\^x=~<>'][_.]?[-\^x=~<>']\)",
        "",
        Take::Text,
    ),
    // Compounds, by hyphens: t-shirt, 2-year-old.
    (r"HYPHENATED", r"[^\p{L}\p{Nd}+]", Take::Text),
    (r"HYPHENATED\.", r"[,;:]", Take::Text),
    (r"COMPOUND(?:[-_֊‐‑]COMPOUND)*\.", r"[,;:]", Take::Text),
    (r"COMPOUND(?:[-_֊‐‑]COMPOUND)*", "", Take::Text),
    (r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+\.", r"[,;:]", Take::Plain),
    (r"[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+", "", Take::Plain),
    // Quotes and other punctuation. A straight quote before a word opens a quotation, or is dropped all
    // the same; a curly one may still be an apostrophe.
    (r"'", r"[A-Za-z][^ \t\n\r\x{a0}]", Take::Quotes),
    (r"APOSTROPHE(?i:[msd]|re|ve|ll)", "", Take::Plain),
    (r"`'", "", Take::As("''")),
    (r#""|&quot;|&apos;|'{1,2}|[`‘’‛“”‹›«»\x{82}\x{84}\x{91}-\x{94}]{1,2}"#, "", Take::Quotes),
    (r"\(|\)", "", Take::Text),
    (r"\[", "", Take::As("-LSB-")),
    (r"\]", "", Take::As("-RSB-")),
    (r"\{", "", Take::As("-LCB-")),
    (r"\}", "", Take::As("-RCB-")),
    (r"&lt;", "", Take::As("<")),
    (r"&gt;", "", Take::As(">")),
    (r"-{3,4}", "", Take::As("--")),
    (r"-+|@+|#+|_+|\*+|[?!]+", "", Take::Text),
    (r"\.{3,5}|(?:\.[ \x{a0}]){2,4}\.|[\x{85}…]", "", Take::As("...")),
    (r"<<|>>|[<>,;:.¡¿=/+%&~^|\\]", "", Take::Text),
    // Symbols: of Latin 1, of general punctuation, arrows, mathematics, drawings, of Asian scripts.
    (r"[‚„‟¦§¨©¬®¯°±´µ¶·¸º×÷†-‣‰‱‖‗′-‸※‾-⁂⁄℀-⅏←-⯿、。〒・！-／：-＠［-｀｛-･]", "", Take::Text),
];

/// The rules, ready to use.
pub(super) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |(token, context, take): &(&str, &str, Take)| {
        let pattern = Regex::new(&spelled_out(&format!("^({token})(?:{context})"))).ok()?;
        Some(Rule { pattern, take: *take })
    };
    TABLE.iter().filter_map(rule).collect()
});

/// The pattern with the parts and lists in the place of their names.
fn spelled_out(pattern: &str) -> String {
    // Of the words that start sentences, only the first letter must be a capital.
    let starts =
        SENTENCE_STARTS.split('|').map(|word| format!("{}(?i:{})", &word[..1], &word[1..]));
    let starts = starts.collect::<Vec<_>>().join("|");
    let mut pattern = pattern.replace("SENTENCE_STARTS", &starts);
    for (name, part) in
        [("ABBREVIATIONS", ABBREVIATIONS), ("CAPITALS", CAPITALS)].iter().chain(PARTS)
    {
        pattern = pattern.replace(name, part);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(RULES.len(), TABLE.len());
    }
}
