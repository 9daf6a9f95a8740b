#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use miette::Diagnostic;
use tempfile::TempDir;

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba98";
const INDEX: &str = r#"{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}"#;

/// A cache of `owner/name`: `main` and a tag, each with one commit.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        let cache = Self(tempfile::tempdir().unwrap());
        cache.write("refs/main", COMMIT);
        cache.write("refs/v1/old", &format!("{OTHER}\n"));
        cache.write(&format!("snapshots/{COMMIT}/tokenizer.json"), "{}");
        cache.write(&format!("snapshots/{OTHER}/model.safetensors"), "");
        cache
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join("hub/models--owner--name").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn locate(&self, name: &str, wanted: Wanted) -> Result<PathBuf> {
        let home = self.0.path().to_string_lossy().into_owned();
        let variables = [("HF_HOME", home.as_str()), ("HF_HUB_OFFLINE", "1")];
        let name = HubName::parse(Path::new(name)).unwrap().unwrap();
        locate_name(&name, wanted, &Environment::with(&variables))
    }

    /// The file of a snapshot that a name was found to be.
    fn found(&self, name: &str, wanted: Wanted) -> String {
        let path = self.locate(name, wanted).unwrap();
        let snapshots = self.0.path().join("hub/models--owner--name/snapshots");
        path.strip_prefix(snapshots).unwrap().to_string_lossy().into_owned()
    }

    /// What was said about a name, with its help.
    fn refused(&self, name: &str, wanted: Wanted) -> (String, String) {
        let error = self.locate(name, wanted).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        (error.to_string(), error.help().unwrap().to_string())
    }
}

#[test]
fn a_name_is_the_file_that_the_cache_has_at_its_revision() {
    let cache = Cache::new();
    let expected = format!("{OTHER}/model.safetensors");
    for revision in ["v1%2Fold", OTHER] {
        let name = format!("hf:owner/name@{revision}");
        assert_eq!(cache.found(&name, Wanted::Weights), expected);
        assert_eq!(cache.found(&format!("{name}/model.safetensors"), Wanted::Weights), expected);
    }
    let tokenizer = format!("{COMMIT}/tokenizer.json");
    assert_eq!(cache.found("hf:owner/name", Wanted::Tokenizer), tokenizer);
    assert_eq!(cache.found("hf:owner/name@main/tokenizer.json", Wanted::Tokenizer), tokenizer);
}

#[test]
fn what_is_taken_is_what_is_wanted() {
    let files = [
        "vocab.txt",
        "spiece.model",
        "adapter_model.safetensors",
        "model.safetensors",
        "model.safetensors.index.json",
        "onnx/model.safetensors",
        "config.json",
    ];
    assert_eq!(Wanted::Tokenizer.choose(&files), Some("spiece.model"));
    assert_eq!(Wanted::Tokenizer.choose(&["vocab.txt", "tokenizer.json"]), Some("tokenizer.json"));
    assert_eq!(Wanted::Weights.choose(&files), Some("model.safetensors.index.json"));
    assert_eq!(Wanted::Weights.choose(&files[..4]), Some("model.safetensors"));
    assert_eq!(Wanted::Weights.choose(&files[5..]), None);
    assert_eq!(Wanted::Config.choose(&files), Some("config.json"));
}

#[test]
fn what_the_cache_lacks_is_named_with_the_command_that_fetches_it() {
    let cache = Cache::new();
    let (problem, help) = cache.refused("hf:owner/name@v1%2Fold/x.bin", Wanted::Weights);
    for part in ["hf:owner/name@v1%2Fold/x.bin: there is no `x.bin` in the cache", OTHER] {
        assert!(problem.contains(part), "{problem}");
    }
    assert!(problem.contains("HF_HUB_OFFLINE is set"), "{problem}");
    assert!(help.contains("`hf download owner/name x.bin --revision v1/old`"), "{help}");

    let (problem, help) = cache.refused("hf:owner/name", Wanted::Weights);
    assert!(problem.contains("no `model.safetensors` or `model.safetensors.index.json`"));
    let command = "`hf download owner/name --include \"model*.safetensors*\"`";
    assert!(help.contains(command), "{help}");

    let (problem, _) = cache.refused("hf:owner/name@v2", Wanted::Weights);
    assert!(problem.contains("no revision `v2` in the cache"), "{problem}");
    assert!(problem.contains("models--owner--name"), "{problem}");
    cache.refused("hf:owner/other", Wanted::Config);
}

#[test]
fn weights_in_shards_are_there_when_all_shards_are() {
    let cache = Cache::new();
    let file = |name: &str| format!("snapshots/{COMMIT}/{name}");
    cache.write(&file("model.safetensors.index.json"), INDEX);
    cache.write(&file("model-1.safetensors"), "");
    let (problem, help) = cache.refused("hf:owner/name", Wanted::Weights);
    assert!(problem.contains("lacks the shards model-2.safetensors"), "{problem}");
    assert!(help.contains("`hf download owner/name model-2.safetensors`"), "{help}");
    cache.write(&file("model-2.safetensors"), "");
    let index = format!("{COMMIT}/model.safetensors.index.json");
    assert_eq!(cache.found("hf:owner/name", Wanted::Weights), index);
}

#[cfg(not(feature = "hub"))]
#[test]
fn a_build_that_does_not_download_says_so() {
    let cache = Cache::new();
    let home = cache.0.path().to_string_lossy().into_owned();
    let variables = [("HF_HOME", home.as_str())];
    let name = HubName::parse(Path::new("hf:owner/name/x")).unwrap().unwrap();
    let error = locate_name(&name, Wanted::Weights, &Environment::with(&variables)).unwrap_err();
    assert!(error.to_string().contains("this build does not download"), "{error}");
    let help = error.help().unwrap().to_string();
    assert!(help.contains("`hf download owner/name x`"), "{help}");
    assert!(help.contains("`--features hub`"), "{help}");
}

#[test]
fn a_folder_is_the_file_in_it_and_a_path_is_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let error = locate(path, Wanted::Tokenizer).unwrap_err();
    assert!(error.to_string().contains("the folder has no `tokenizer.json`"), "{error}");
    fs::write(path.join("vocab.txt"), "").unwrap();
    assert_eq!(locate(path, Wanted::Tokenizer).unwrap(), path.join("vocab.txt"));
    assert_eq!(locate(path, Wanted::Weights).unwrap(), path);
    let absent = path.join("absent.json");
    assert_eq!(locate(&absent, Wanted::Tokenizer).unwrap(), absent);
}

#[cfg(feature = "hub")]
mod downloading {
    use std::collections::BTreeMap;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a request said, and its headers.
    type Requests = Arc<Mutex<Vec<String>>>;

    /// Answers as the hub does, for `files` of one commit of `owner/name`.
    fn serve(files: BTreeMap<&'static str, &'static str>) -> (String, Requests) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &files, &seen);
            }
        });
        (address, requests)
    }

    fn answer(mut stream: TcpStream, files: &BTreeMap<&str, &str>, seen: &Requests) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let lines = lines.map_while(std::result::Result::ok);
        let lines: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else { return };
        seen.lock().unwrap().push(lines.join("\n"));
        let range = lines.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            let value = value.strip_prefix("bytes=")?;
            key.eq_ignore_ascii_case("range").then(|| value.to_string())
        });
        let answer = match path.strip_prefix(&format!("/owner/name/resolve/{COMMIT}/")) {
            _ if path == "/api/models/owner/name/revision/main" => {
                let siblings: Vec<_> =
                    files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
                let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
                let length = body.len();
                format!(
                    "200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                         Connection: close\r\n\r\n{body}"
                )
            }
            Some(file) if files.contains_key(file) => {
                let content = files[file];
                let range = range.unwrap();
                let (start, end) = range.split_once('-').unwrap();
                let start: usize = start.parse().unwrap();
                let end = end.parse().map_or(content.len(), |last: usize| last + 1);
                let (body, last, size) = (&content[start..end], end - 1, content.len());
                let length = body.len();
                format!(
                    "206 Partial Content\r\nETag: \"etag-{file}\"\r\nX-Repo-Commit: {COMMIT}\r\n\
                         Content-Range: bytes {start}-{last}/{size}\r\nContent-Length: {length}\r\n\
                         Connection: close\r\n\r\n{body}"
                )
            }
            _ => "404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_string(),
        };
        write!(stream, "HTTP/1.1 {answer}").unwrap();
    }

    fn locate_at(endpoint: &str, home: &Path, name: &str) -> Result<PathBuf> {
        let home = home.to_string_lossy().into_owned();
        let variables =
            [("HF_HOME", home.as_str()), ("HF_ENDPOINT", endpoint), ("HF_TOKEN", "secret")];
        let name = HubName::parse(Path::new(name)).unwrap().unwrap();
        locate_name(&name, Wanted::Weights, &Environment::with(&variables))
    }

    #[test]
    fn what_the_cache_lacks_is_downloaded_once_with_its_shards() {
        let files = BTreeMap::from([
            ("README.md", "not wanted"),
            ("model.safetensors.index.json", INDEX),
            ("model-1.safetensors", "first shard"),
            ("model-2.safetensors", "second shard"),
        ]);
        let (endpoint, requests) = serve(files);
        let home = tempfile::tempdir().unwrap();
        let path = locate_at(&endpoint, home.path(), "hf:owner/name").unwrap();
        let read = |name: &str| fs::read_to_string(path.with_file_name(name)).unwrap();
        assert_eq!(read("model.safetensors.index.json"), INDEX);
        assert_eq!(read("model-1.safetensors"), "first shard");
        assert_eq!(read("model-2.safetensors"), "second shard");
        assert!(!path.with_file_name("README.md").exists());
        let asked = requests.lock().unwrap().clone();
        let has_token =
            |request: &String| request.to_lowercase().contains("authorization: bearer secret");
        assert!(asked.iter().all(has_token), "{asked:?}");

        // From now on the cache has it, also for Hugging Face's own tools.
        let main = home.path().join("hub/models--owner--name/refs/main");
        assert_eq!(fs::read_to_string(main).unwrap(), COMMIT);
        assert_eq!(locate_at(&endpoint, home.path(), "hf:owner/name").unwrap(), path);
        assert_eq!(requests.lock().unwrap().len(), asked.len());
    }

    #[test]
    fn what_the_hub_lacks_is_named_beside_what_it_has() {
        let (endpoint, _) = serve(BTreeMap::from([("pytorch_model.bin", "x")]));
        let home = tempfile::tempdir().unwrap();
        let error = locate_at(&endpoint, home.path(), "hf:owner/name").unwrap_err();
        let said = error.to_string();
        assert!(said.contains("`model.safetensors`") && said.contains("but pytorch_model.bin"));
        let error = locate_at(&endpoint, home.path(), "hf:owner/secret").unwrap_err();
        let help = error.help().unwrap().to_string();
        assert!(error.to_string().contains("404"), "{error}");
        assert!(help.contains("HF_TOKEN") && help.contains("hf download owner/secret"), "{help}");
    }
}
