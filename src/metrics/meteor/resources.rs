//! METEOR's resource files, which are not ours to ship: read from what a user has.
//!
//! | file | where |
//! |---|---|
//! | `function/english.words`, `nonbreaking/english.prefixes`, `synonym/english.*` | in `meteor-1.5.jar`, or beside each other in a folder |
//! | `data/paraphrase-en.gz` | beside the jar |
//!
//! The package `pycocoevalcap` has both in its folder `meteor`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use zip::ZipArchive;

use super::normalize::{Prefixes, prefixes};
use super::paraphrases::Paraphrases;
use super::synonyms::Synonyms;
use crate::error::{Error, Result};

/// The jar's name.
const JAR: &str = "meteor-1.5.jar";
const HELP: &str = "Give the jar or the folder of METEOR 1.5 with data/paraphrase-en.gz beside it, as \
                    the folder `meteor` of the Python package pycocoevalcap has them.";

/// What METEOR knows of English.
#[derive(Debug, Default)]
pub(super) struct Resources {
    /// Words that count less: the, of, is.
    pub(super) function_words: HashSet<String>,
    pub(super) prefixes: Prefixes,
    pub(super) synonyms: Synonyms,
    pub(super) paraphrases: Paraphrases,
}

impl Resources {
    /// Reads a jar, or a folder that has one, or a folder that has the files.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] where a file is missing or cannot be read.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let jar = if path.is_dir() { path.join(JAR) } else { path.to_path_buf() };
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let mut files = if jar.is_file() || !path.is_dir() {
            Files::Jar { archive: open_jar(&jar)?, path: jar }
        } else {
            Files::Folder(path.to_path_buf())
        };
        let paraphrases = folder.join("data").join("paraphrase-en.gz");
        // The table takes longest to read, so it is read beside the others.
        let (table, others) = rayon::join(|| read_paraphrases(&paraphrases), || files.read_all());
        let (words, list, synonyms) = others?;
        Ok(Self {
            function_words: words.split_whitespace().map(str::to_string).collect(),
            prefixes: prefixes(&list),
            synonyms,
            paraphrases: table?,
        })
    }
}

/// Where the small files are.
enum Files {
    Jar { archive: ZipArchive<BufReader<File>>, path: PathBuf },
    Folder(PathBuf),
}

fn open_jar(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    ZipArchive::new(BufReader::new(file))
        .map_err(|error| Error::format(path, format!("it is no jar: {error}"), HELP))
}

impl Files {
    /// Function words, prefixes and synonyms.
    fn read_all(&mut self) -> Result<(String, String, Synonyms)> {
        let words = self.read("function/english.words")?;
        let prefixes = self.read("nonbreaking/english.prefixes")?;
        let sets = "synonym/english.synsets";
        let (synsets, exceptions) = (self.read(sets)?, self.read("synonym/english.exceptions")?);
        let synonyms = Synonyms::parse(&synsets, &exceptions).map_err(|line| {
            let place = self.place(sets);
            Error::format_at(place, line, "numbers of sets of synonyms are expected", HELP)
        })?;
        Ok((words, prefixes, synonyms))
    }

    fn place(&self, name: &str) -> PathBuf {
        match self {
            Self::Jar { path, .. } => path.join(name),
            Self::Folder(folder) => folder.join(name),
        }
    }

    fn read(&mut self, name: &str) -> Result<String> {
        let place = self.place(name);
        let mut text = String::new();
        let read = match self {
            Self::Folder(_) => {
                File::open(&place).and_then(|mut file| file.read_to_string(&mut text))
            }
            Self::Jar { archive, .. } => match archive.by_name(name) {
                Ok(mut entry) => entry.read_to_string(&mut text),
                Err(error) => {
                    let problem = format!("it lacks METEOR's file: {error}");
                    return Err(Error::format(place, problem, HELP));
                }
            },
        };
        match read {
            Ok(_) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Error::format(place, "METEOR's file is not there", HELP))
            }
            Err(error) => Err(Error::io("read", place)(error)),
        }
    }
}

fn read_paraphrases(path: &Path) -> Result<Paraphrases> {
    if !path.is_file() {
        return Err(Error::format(path, "METEOR's table of paraphrases is not there", HELP));
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    let unpacked = MultiGzDecoder::new(BufReader::with_capacity(1 << 20, file));
    Paraphrases::read(unpacked).map_err(Error::io("read", path))
}
