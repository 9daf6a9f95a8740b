//! README and book: every file, link, command and experiment in them is one that exists.
//!
//! What is checked, page by page: links and their anchors; paths in `code`; TOML blocks that begin
//! with the name of their file (`# experiments/mine.toml`), which are then files that the commands of
//! the page may use; and in blocks of `console` (lines after `$ `) and `sh`, every command that runs
//! `cargo` or `pixelllm`: sub-commands, flags, features, and for `train` the whole experiment with its
//! `--set`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders whose paths in `code` must exist; a run or a made world need not.
const FOLDERS: [&str; 9] = [
    "src/",
    "experiments/",
    "docs/",
    "tests/",
    "benches/",
    "examples/",
    "vendor/",
    "data/samples",
    ".ci/",
];

/// A page as it was written.
struct Page {
    /// Relative to the repository.
    name: String,
    text: String,
}

/// A block between fences.
struct Block {
    language: String,
    /// Line of its first line, from 1.
    line: usize,
    lines: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every page under `docs/`.
fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_string()];
    for folder in ["docs", "docs/src"] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let files = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.extend(files.filter(|f| f.ends_with(".md")).map(|file| format!("{folder}/{file}")));
    }
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = std::fs::read_to_string(root().join(&name)).unwrap().replace("\r\n", "\n");
            Page { name, text }
        })
        .collect()
}

impl Page {
    fn folder(&self) -> PathBuf {
        root().join(&self.name).parent().unwrap().to_path_buf()
    }

    /// The blocks between fences, and the text outside them with its line numbers.
    fn parts(&self) -> (Vec<Block>, Vec<(usize, &str)>) {
        let (mut blocks, mut prose) = (Vec::new(), Vec::new());
        let mut open: Option<Block> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => blocks.push(block),
                (Some(language), None) => {
                    let language = language.trim().to_string();
                    open = Some(Block { language, line: index + 2, lines: Vec::new() });
                }
                (None, Some(mut block)) => {
                    block.lines.push(line.to_string());
                    open = Some(block);
                }
                (None, None) => prose.push((index + 1, line)),
            }
        }
        assert!(open.is_none(), "{}: a fence is not closed", self.name);
        (blocks, prose)
    }

    /// The commands of the page, each with its line.
    fn commands(&self) -> Vec<(usize, String)> {
        let mut commands = Vec::new();
        for block in self.parts().0 {
            let prompt = match block.language.as_str() {
                "console" => "$ ",
                "sh" => "",
                _ => continue,
            };
            // A line that ends with `\` goes on in the next.
            let mut begun: Option<(usize, String)> = None;
            for (index, line) in block.lines.iter().enumerate() {
                let (at, text) = match begun.take() {
                    Some((at, before)) => (at, format!("{before} {}", line.trim())),
                    None => match line.strip_prefix(prompt) {
                        Some(text) => (block.line + index, text.trim().to_string()),
                        None => continue,
                    },
                };
                match text.strip_suffix('\\') {
                    Some(rest) => begun = Some((at, rest.trim_end().to_string())),
                    None if text.is_empty() || text.starts_with('#') => {}
                    None => commands.push((at, text)),
                }
            }
        }
        commands
    }

    /// TOML blocks that say which file they are, by its path.
    fn toml_files(&self) -> Vec<(String, String)> {
        let blocks = self.parts().0.into_iter().filter(|block| block.language == "toml");
        blocks
            .filter_map(|block| {
                let name = block.lines.first()?.strip_prefix("# ")?.trim().to_string();
                name.ends_with(".toml").then(|| (name, block.lines.join("\n")))
            })
            .collect()
    }

    /// The page with what it includes.
    fn with_includes(&self) -> String {
        let mut text = String::new();
        for line in self.text.lines() {
            match line.trim().strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}")) {
                Some(path) => {
                    let path = self.folder().join(path.trim());
                    let included = std::fs::read_to_string(&path);
                    let problem = || format!("{}: cannot read {}", self.name, path.display());
                    text.push_str(&included.unwrap_or_else(|e| panic!("{}: {e}", problem())));
                }
                None => text.push_str(line),
            }
            text.push('\n');
        }
        text
    }
}

/// Words as a shell splits them: at blanks outside quotes. `None` where a quote is not closed.
fn words(command: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// `pixelllm PATH… --help`, asked once.
#[derive(Default)]
struct Helps(HashMap<Vec<String>, String>);

impl Helps {
    fn of(&mut self, path: &[String]) -> String {
        let ask = || {
            let output = Command::new(env!("CARGO_BIN_EXE_pixelllm"))
                .args(path)
                .arg("--help")
                .output()
                .unwrap();
            assert!(output.status.success(), "pixelllm {} --help fails", path.join(" "));
            String::from_utf8(output.stdout).unwrap()
        };
        self.0.entry(path.to_vec()).or_insert_with(ask).clone()
    }

    /// The sub-commands that `args` begin with.
    fn subcommands(&mut self, args: &[String]) -> Vec<String> {
        let mut path = Vec::new();
        for word in args {
            let help = self.of(&path);
            let listed = help.split("Commands:").nth(1).unwrap_or_default();
            let is_command = listed
                .lines()
                .skip(1)
                .take_while(|line| line.starts_with("  "))
                .any(|line| line.split_whitespace().next() == Some(word.as_str()));
            if !is_command {
                break;
            }
            path.push(word.clone());
        }
        path
    }
}

/// Long flags of a help text: `--set <KEY=VALUE>` and `-h, --help`.
fn has_flag(help: &str, flag: &str) -> bool {
    help.lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .flat_map(|line| line.split([' ', ',', '=']))
        .any(|word| word == flag)
}

/// Sub-commands and flags of `pixelllm ARGS`; what is wrong, if anything is.
fn check_arguments(helps: &mut Helps, args: &[String]) -> Result<Vec<String>, String> {
    let path = helps.subcommands(args);
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "--version");
    if path.is_empty() && !asks_for_help {
        return Err(format!("{:?} is not a command of pixelllm", args.first()));
    }
    let help = helps.of(&path);
    if help.contains("<COMMAND>") && !asks_for_help {
        return Err(format!("`{}` needs a sub-command", path.join(" ")));
    }
    for flag in args.iter().filter(|arg| arg.starts_with("--")) {
        let name = flag.split('=').next().unwrap_or(flag);
        if !has_flag(&help, name) {
            return Err(format!("`{}` has no flag {name}", path.join(" ")));
        }
    }
    Ok(path)
}

/// Values of a flag, as `--flag value` or `--flag=value`.
fn values<'a>(args: &'a [String], flag: &str) -> Vec<&'a str> {
    let mut values = Vec::new();
    for (index, arg) in args.iter().enumerate() {
        if arg == flag {
            values.extend(args.get(index + 1).map(String::as_str));
        } else if let Some(value) = arg.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
            values.push(value);
        }
    }
    values
}

/// Features of Cargo.toml.
fn features() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    manifest["features"].as_table().unwrap().keys().cloned().collect()
}

/// The arguments of `pixelllm` in a command that runs it, by itself or through cargo; what is wrong
/// with a cargo command, if anything is.
fn pixelllm_arguments(words: &[String]) -> Result<Option<Vec<String>>, String> {
    match words.first().map(String::as_str) {
        Some("pixelllm") => Ok(Some(words[1..].to_vec())),
        Some("cargo") => {
            let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
            let known = features();
            for list in values(&words[..end], "--features") {
                if let Some(unknown) = list.split(',').find(|f| !known.iter().any(|k| k == f)) {
                    return Err(format!("there is no feature {unknown:?}"));
                }
            }
            // An example has arguments of its own.
            let example = values(&words[..end], "--example").first().copied();
            if let Some(name) = example {
                let file = format!("examples/{name}.rs");
                let exists = root().join(&file).is_file();
                return if exists { Ok(None) } else { Err(format!("there is no {file}")) };
            }
            let runs = words.get(1).is_some_and(|word| word == "run");
            Ok(runs.then(|| words.get(end + 1..).unwrap_or_default().to_vec()))
        }
        _ => Ok(None),
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, to).unwrap();
        }
    }
}

/// A folder with the repository's experiments and the files that the pages show.
fn experiments_of_pages() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&root().join("experiments"), &folder.path().join("experiments"));
    for page in pages() {
        for (name, text) in page.toml_files() {
            if name.starts_with("experiments/") {
                let path = folder.path().join(&name);
                assert!(!path.exists(), "{}: {name} is there already", page.name);
                std::fs::write(path, text).unwrap();
            }
        }
    }
    folder
}

#[test]
fn every_command_parses_and_every_experiment_of_it_loads() {
    let experiments = experiments_of_pages();
    let mut helps = Helps::default();
    let mut checked = 0;
    for page in pages() {
        for (line, command) in page.commands() {
            let place = format!("{}:{line}: {command}", page.name);
            let words = words(&command).unwrap_or_else(|| panic!("{place}: a quote is not closed"));
            let Some(args) = pixelllm_arguments(&words).unwrap_or_else(|e| panic!("{place}: {e}"))
            else {
                continue;
            };
            let path =
                check_arguments(&mut helps, &args).unwrap_or_else(|e| panic!("{place}: {e}"));
            checked += 1;
            let experiment = args.iter().find(|arg| arg.starts_with("experiments/"));
            if let (Some("train"), Some(experiment)) =
                (path.first().map(String::as_str), experiment)
            {
                let overrides: Vec<_> =
                    values(&args, "--set").into_iter().map(String::from).collect();
                pixelllm::experiment::load(&experiments.path().join(experiment), &overrides)
                    .unwrap_or_else(|error| panic!("{place}: {error:?}"));
            }
        }
    }
    assert!(checked > 10, "only {checked} commands were found");
}

#[test]
fn every_experiment_that_a_page_shows_loads() {
    let experiments = experiments_of_pages();
    let shown: Vec<_> = pages().iter().flat_map(Page::toml_files).collect();
    let shown: Vec<_> = shown.iter().filter(|(name, _)| name.starts_with("experiments/")).collect();
    assert!(!shown.is_empty());
    for (name, _) in shown {
        let path = experiments.path().join(name);
        pixelllm::experiment::load(&path, &[]).unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

#[test]
fn every_toml_block_is_toml() {
    for page in pages() {
        for block in page.parts().0.iter().filter(|block| block.language == "toml") {
            if let Err(error) = block.lines.join("\n").parse::<toml::Table>() {
                panic!("{}:{}: {error}", page.name, block.line);
            }
        }
    }
}

/// What stands between the first pair of backticks on, on a line: `code`.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_path_in_code_exists() {
    let shown: Vec<_> = pages().iter().flat_map(Page::toml_files).map(|(name, _)| name).collect();
    let mut checked = 0;
    for page in pages() {
        for (line, text) in page.parts().1 {
            let words = code_spans(text).flat_map(str::split_whitespace);
            for word in words {
                // Pages about the code leave `src/` out.
                let is_source = word.contains('/') && word.ends_with(".rs");
                let folder = match FOLDERS.iter().any(|folder| word.starts_with(folder)) {
                    true => root().to_path_buf(),
                    false if is_source => root().join("src"),
                    false => continue,
                };
                // `src/…` and the like stand for many.
                if word.contains(['{', '<', '*', '…']) || shown.iter().any(|name| name == word) {
                    continue;
                }
                let exists = folder.join(word).exists();
                assert!(exists, "{}:{line}: there is no {word}", page.name);
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "only {checked} paths were found");
}

/// Targets of `[text](target)` and `![text](target)`.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// What a heading is called in links.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    for page in &pages {
        for (line, text) in page.parts().1 {
            for link in links(text) {
                if link.starts_with("http://") || link.starts_with("https://") {
                    continue;
                }
                let place = format!("{}:{line}: {link}", page.name);
                let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
                let path = match file {
                    "" => root().join(&page.name),
                    file => page.folder().join(file),
                };
                assert!(path.exists(), "{place}: there is no such file");
                if fragment.is_empty() {
                    continue;
                }
                let path = path.canonicalize().unwrap();
                let target = pages
                    .iter()
                    .find(|page| root().join(&page.name).canonicalize().unwrap() == path)
                    .unwrap_or_else(|| panic!("{place}: is not a page"));
                let text = target.with_includes();
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(headings.any(|name| name == fragment), "{place}: there is no such heading");
            }
        }
    }
}

#[test]
fn the_summary_lists_every_page_of_the_book() {
    let summary = std::fs::read_to_string(root().join("docs/src/SUMMARY.md")).unwrap();
    let listed: Vec<_> = summary.lines().flat_map(links).collect();
    for page in pages() {
        let Some(file) = page.name.strip_prefix("docs/src/") else { continue };
        let is_listed = file == "SUMMARY.md" || listed.contains(&file);
        assert!(is_listed, "docs/src/SUMMARY.md does not list {file}");
        // Also that what it includes is there.
        page.with_includes();
    }
}

#[test]
fn what_is_wrong_with_a_command_is_found() {
    let split = |command: &str| words(command).unwrap();
    assert_eq!(split("a --b \"c d\" ''"), ["a", "--b", "c d", ""]);
    assert_eq!(words("a \"b"), None);
    let mut helps = Helps::default();
    let mut check = |command: &str| {
        let args = pixelllm_arguments(&split(command))?.unwrap();
        check_arguments(&mut helps, &args).map(|path| path.join(" "))
    };
    assert_eq!(check("pixelllm data shapes --out x"), Ok("data shapes".into()));
    assert_eq!(check("cargo run --release -- train a.toml --dry-run"), Ok("train".into()));
    for wrong in [
        "pixelllm tarin a.toml",
        "pixelllm data",
        "pixelllm train a.toml --dry",
        "pixelllm data shapes --image 3",
        "cargo run --features metal -- train a.toml",
        "cargo run --release",
        "cargo run --release --example dance -- a.png",
    ] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
    assert_eq!(anchor("## 1. The `cuda` backend, or not?"), "1-the-cuda-backend-or-not");
}
