//! Experiments as a user writes them: files, `extends`, `--set`, and what is said about mistakes.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use burn::module::Module;
use miette::Diagnostic;
use pixelllm::Error;
use pixelllm::ablation::Sweep;
use pixelllm::ablation::plan::plan;
use pixelllm::data::alignment::Alignment;
use pixelllm::experiment::{self, Experiment};
use pixelllm::model::activation::Activation;
use pixelllm::model::language::beam::BeamConfig;
use pixelllm::model::language::decoding::Decoding;
use pixelllm::model::language::sampling::SampleConfig;
use tempfile::TempDir;

/// The least that a file must say.
const SOURCE: &str = r#"
[[data.sources]]
task = "locate"
format = "refexp_mdetr"
annotations = "expressions_{split}.json"
images = "images/{split}"
"#;

/// A folder with files.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Loads `a.toml` with overrides.
    fn load(&self, overrides: &[&str]) -> pixelllm::Result<Experiment> {
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        experiment::load(&self.path("a.toml"), &overrides)
    }

    /// What loading says, with the folder taken out: the message, then the help.
    fn error(&self, overrides: &[&str]) -> (String, String) {
        let error = self.load(overrides).unwrap_err();
        let folder = format!("{}{}", self.0.path().display(), std::path::MAIN_SEPARATOR);
        let help = error.help().map(|help| help.to_string()).unwrap_or_default();
        (error.to_string().replace(&folder, ""), help.replace(&folder, ""))
    }
}

/// Loads a file that has a source and `text` before it.
fn load(text: &str, overrides: &[&str]) -> Experiment {
    Files::new(&[("a.toml", &format!("{text}{SOURCE}"))]).load(overrides).unwrap()
}

/// The message and the help about a file that has a source and `text` before it.
fn error(text: &str, overrides: &[&str]) -> (String, String) {
    Files::new(&[("a.toml", &format!("{text}{SOURCE}"))]).error(overrides)
}

/// Every TOML file in `folder` and what is in it, but for folders called `presets` and `sweeps`.
fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("presets") && !path.ends_with("sweeps") {
            files.extend(toml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn every_experiment_of_the_repository_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments");
    let files = toml_files(&root);
    assert!(files.len() > 2, "{files:?}");
    for path in files {
        let experiment = experiment::load(&path, &[]).unwrap_or_else(|e| panic!("{e:?}"));
        let file = path.strip_prefix(&root).unwrap().with_extension("");
        let parts: Vec<_> = file.iter().map(|part| part.to_str().unwrap()).collect();
        assert_eq!(experiment.name, parts.join("-"), "a run is named after its file");
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["#   command", "#   result", "#   cost"] {
            assert!(text.contains(word), "{} says nothing of {word}", path.display());
        }
    }
}

#[test]
fn there_is_a_recipe_of_the_paper_for_every_task_and_language_model() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/paper");
    let rows = ["densecap", "joint-seg", "joint", "ref", "refseg", "trace"];
    let expected: Vec<_> = ["git", "t5-xl"]
        .iter()
        .flat_map(|model| rows.map(|row| root.join(model).join(row).with_extension("toml")))
        .collect();
    assert_eq!(toml_files(&root), expected);
}

#[test]
fn every_preset_is_a_model_that_can_be_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/presets");
    let files = toml_files(&root);
    assert!(!files.is_empty());
    for path in files {
        // Some say what is learnt, too.
        let alone = format!("extends = {path:?}\n");
        let with_source = format!("{alone}{SOURCE}max_text_tokens = 8\n");
        let load = |text: &str| Files::new(&[("a.toml", text)]).load(&[]);
        let loaded = load(&alone).or_else(|_| load(&with_source));
        loaded.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    }
}

#[test]
fn every_sweep_can_be_planned_and_says_what_it_costs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/sweeps");
    let files = toml_files(&folder);
    assert!(!files.is_empty());
    for path in files {
        let out = tempfile::tempdir().unwrap();
        let plan = Sweep::read(&path).and_then(|sweep| plan(&sweep, out.path()));
        let plan = plan.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        assert!(plan.trials.len() > 1, "{}", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["#   command", "#   cost"] {
            assert!(text.contains(word), "{} says nothing of {word}", path.display());
        }
    }
}

#[test]
fn a_resolved_experiment_loads_to_an_equal_one() {
    let with_all = load(
        "name = \"é \\\"quoted\\\"\"\nseed = 18446744073709551615\n[data.shapes.world]\nseed = 9007199254740993\n\
         [data.tokenizer]\nfile = \"t.json\"\n[optimizer]\nclip_gradient_norm = 0.1\n",
        &["data.sources.0.splits.train=train2017"],
    );
    let without = load("", &["model.vision.sam=false", "optimizer.learning_rate=3e-5"]);
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/quickstart.toml");
    let quickstart = experiment::load(&quickstart, &[]).unwrap();
    for experiment in [with_all, without, quickstart] {
        let text = experiment::to_toml(&experiment).unwrap();
        let again = Files::new(&[("a.toml", &text)]).load(&[]).unwrap();
        assert_eq!(again, experiment, "{text}");
    }
}

#[test]
fn tables_merge_through_files_and_the_last_word_is_set() {
    let files = Files::new(&[
        ("base/model.toml", "[model.vision.sam]\ndepth = 2\nglobal_blocks = [0, 1]\nwidth = 64\n"),
        (
            "base/steps.toml",
            "extends = \"model.toml\"\n[training]\nmax_steps = 1000\nbatch_size = 3\n",
        ),
        ("other.toml", "[training]\nbatch_size = 4\n"),
        (
            "a.toml",
            &format!(
                "extends = [\"base/steps.toml\", \"other.toml\"]\n\
                 [model.vision.sam]\nglobal_blocks = [1]\n{SOURCE}"
            ),
        ),
    ]);
    let experiment = files.load(&["training.max_steps=500"]).unwrap();
    let sam = experiment.model.vision.sam.unwrap();
    assert_eq!((sam.depth, sam.width, sam.global_blocks), (2, 64, vec![1]));
    assert_eq!(sam.num_heads, 16, "what no file says is the default");
    assert!(experiment.model.vision.eva.is_some(), "what no file says is the default");
    assert_eq!((experiment.training.max_steps, experiment.training.batch_size), (500, 4));
}

#[test]
fn a_file_may_be_extended_twice_but_not_by_itself() {
    let files = Files::new(&[
        ("d.toml", "seed = 4\n"),
        ("b.toml", "extends = \"d.toml\"\n"),
        ("c.toml", "extends = \"d.toml\"\n"),
        ("a.toml", &format!("extends = [\"b.toml\", \"c.toml\"]\n{SOURCE}")),
    ]);
    assert_eq!(files.load(&[]).unwrap().seed, 4);
    let files = Files::new(&[
        ("a.toml", "extends = \"x/b.toml\"\n"),
        ("x/b.toml", "seed = 1\nextends = \"../a.toml\"\n"),
    ]);
    let (message, help) = files.error(&[]);
    let expected = "x/b.toml:2: `extends`: files extend each other in a circle: \
                    a.toml → x/b.toml → x/../a.toml";
    assert_eq!(
        (message.as_str(), help.as_str()),
        (expected, "Remove one `extends` of the circle.")
    );
}

#[test]
fn what_cannot_be_extended_is_named_where_it_is_said() {
    let (message, help) = error("extends = \"tinny.toml\"\n", &[]);
    assert!(message.starts_with("a.toml:1: `extends`: cannot read tinny.toml: "), "{message}");
    assert!(help.contains("relative to the file"), "{help}");
    let (message, _) = error("extends = [\"a\", 3]\n", &[]);
    assert!(message.ends_with("`extends`: is not the path of a file"), "{message}");
}

#[test]
fn optional_tables_can_be_taken_away_and_brought_back() {
    assert_eq!(load("[model.vision]\nsam = false\n", &[]).model.vision.sam, None);
    assert_eq!(load("", &["model.vision.eva=false"]).model.vision.eva, None);
    let again = load("[model.vision]\nsam = false\n", &["model.vision.sam.activation=relu"]);
    assert_eq!(again.model.vision.sam.unwrap().activation, Activation::Relu);
    let boxes = load("[model.boxes.detections]\ncount = 7\n", &["model.masks.decoder.depth=1"]);
    assert_eq!(boxes.model.boxes.map(|boxes| boxes.detections.count), Some(7));
    assert_eq!(boxes.model.masks.map(|masks| masks.decoder.depth), Some(1));
    assert_eq!(load("", &["model.boxes=false"]).model.boxes, None);
    let (message, help) = error("[model]\npoints = false\n", &[]);
    assert!(message.starts_with("a.toml:2: `model.points`: nothing says where"), "{message}");
    assert!(help.contains("describe only"), "{help}");
    let clip = "[optimizer]\nclip_gradient_norm = 1\n";
    assert_eq!(load(clip, &[]).optimizer.clip_gradient_norm, Some(1.0));
    let none = load(clip, &["optimizer.clip_gradient_norm=false"]);
    assert_eq!(none.optimizer.clip_gradient_norm, None);
    let file = "[data.tokenizer]\nfile = \"t.json\"\n";
    assert_eq!(load(file, &["data.tokenizer.file=false"]).data.tokenizer.file, None);
    let (message, _) = error("model.vision.eva = false\nmodel.vision.sam = false\n", &[]);
    assert_eq!(message, "a.toml:1: `model.vision.eva`: there is no image encoder");
    let (message, _) = error("[model]\nadapter = false\n", &[]);
    assert_eq!(message, "a.toml:2: `model.adapter`: found false", "it is not optional");
}

#[test]
fn set_takes_toml_text_and_items() {
    let experiment = load(
        "",
        &[
            "name=7",
            "device=cuda:1",
            "data.sources.0.weight = 2",
            "data.sources.0.prompt=where is = {text}",
            "data.splits.evaluation=[\"test\", \"held_out\"]",
            "losses.point={ weight = 1, unit = \"normalised\" }",
            "model.language.depth=2",
        ],
    );
    assert_eq!((experiment.name.as_str(), experiment.device.as_str()), ("7", "cuda:1"));
    assert_eq!(experiment.data.sources[0].weight, 2.0);
    assert_eq!(experiment.data.sources[0].prompt, "where is = {text}");
    assert_eq!(experiment.data.splits.evaluation, ["test", "held_out"]);
    assert_eq!(experiment.losses.point.weight, 1.0);
    assert_eq!(experiment.model.language.max_text_tokens(), 1024, "the kind is the default's");
}

#[test]
fn mistakes_of_set_are_named() {
    let cases = [
        ("seed", "--set: `seed`: has no `=`", "Write --set path.to.key=value"),
        (
            "a..b=1",
            "--set: `a..b`: is not the path of a key",
            "Write --set path.to.key=value, such as",
        ),
        ("extends=x", "--set: `extends`: can only be said in a file", "Write it into a file"),
        (
            "training.max_step=3",
            "--set: `training.max_step`: is not a key of an experiment",
            "Did you mean `max_steps`? Allowed here: `max_steps`, `batch_size`, ",
        ),
        (
            "modle.canvas_px=3",
            "--set: `modle`: is not a key of an experiment",
            "Did you mean `model`?",
        ),
        ("seed=-1", "--set: `seed`: found the number -1", "Allowed: a whole number of at least 0."),
        ("seed.x=1", "--set: `seed`: found a table", "Allowed: a whole number of at least 0."),
        (
            "data.sources.1.weight=1",
            "--set: `data.sources.1.weight`: there is no number 1",
            "Allowed: 0 to 0.",
        ),
        (
            "data.sources.0.weight=nan",
            "--set: `data.sources.0.weight`: found the number NaN",
            "Allowed: a number.",
        ),
    ];
    for (text, message, help) in cases {
        let found = error("", &[text]);
        assert_eq!(found.0, message);
        assert!(found.1.starts_with(help), "{}", found.1);
    }
}

#[test]
fn mistakes_in_files_name_file_line_key_and_what_is_allowed() {
    let cases = [
        (
            "\n[optimizer]\nlearnin_rate = 1.0\n",
            "a.toml:3: `optimizer.learnin_rate`: is not a key of an experiment",
            "Did you mean `learning_rate`? Allowed here: `learning_rate`, `weight_decay`, ",
        ),
        (
            "batch_size = 3\n",
            "a.toml:1: `batch_size`: is not a key of an experiment",
            "There is `training.batch_size`, `evaluation.batch_size`. Allowed here: `name`, ",
        ),
        (
            "[training]\nbatch_size = \"many\"\n",
            "a.toml:2: `training.batch_size`: found the text \"many\"",
            "Allowed: a whole number of at least 0.",
        ),
        (
            "[training]\nbatch_size = 2.5\n",
            "a.toml:2: `training.batch_size`: found the number 2.5",
            "Allowed: a whole number of at least 0.",
        ),
        (
            "name = 2026-01-01\n",
            "a.toml:1: `name`: found the date 2026-01-01",
            "Allowed: text in quotes.",
        ),
        (
            "[model.vision.eva]\nfinal_norm = 1\n",
            "a.toml:2: `model.vision.eva.final_norm`: found the number 1",
            "Allowed: true or false.",
        ),
        (
            "[model]\nvision.sam = 1\n",
            "a.toml:2: `model.vision.sam`: found the number 1",
            "Allowed: a table; or false for none.",
        ),
        (
            "[model.vision.sam]\nglobal_blocks = [\n  1,\n  -1]\n",
            "a.toml:4: `model.vision.sam.global_blocks.1`: found the number -1",
            "Allowed: a whole number of at least 0.",
        ),
        (
            "[model.vision.sam]\nstem = \"convolution\"\n",
            "a.toml:2: `model.vision.sam.stem`: found the text \"convolution\"",
            "Did you mean \"convolutional\"? Allowed: \"patch\", \"convolutional\".",
        ),
        (
            "[model.language]\nkind = \"gti\"\n",
            "a.toml:2: `model.language.kind`: found the text \"gti\"",
            "Did you mean \"git\"? Allowed: \"git\", \"t5\".",
        ),
        (
            "[model.language]\nnum_head = 3\n",
            "a.toml:2: `model.language.num_head`: is not a key of an experiment",
            "Did you mean `num_heads`? ",
        ),
    ];
    for (text, message, help) in cases {
        let found = error(text, &[]);
        assert_eq!(found.0, message);
        assert!(found.1.starts_with(help), "{}", found.1);
    }
}

#[test]
fn settings_that_do_not_go_together_are_named_with_their_file() {
    let files = Files::new(&[
        ("tiny.toml", "[model.language]\nwidth = 100\nmax_positions = 64\n"),
        ("a.toml", &format!("extends = \"tiny.toml\"\n{SOURCE}")),
    ]);
    let (message, help) = files.error(&[]);
    assert_eq!(
        message,
        "tiny.toml:1: `model.language.num_heads`: 12 heads do not divide a width of 100"
    );
    let expected = "Allowed: a divisor of 100. The value is the default.\n\nAnd 1 more:\n\
                    a.toml:3: `data.sources.0.max_text_tokens`: 128 tokens are more than the \
                    language model has positions. Allowed: at most 64, or a larger \
                    model.language.max_positions. The value is the default.";
    assert_eq!(help, expected);
    let (message, help) = error("", &["data.sources.0.task=narrate"]);
    assert_eq!(
        message,
        "--set: `data.sources.0.task`: annotations of this format cannot teach \"narrate\""
    );
    assert_eq!(help, "Allowed: \"locate\" or \"describe\".");
}

#[test]
fn what_a_source_must_say_is_asked_for() {
    let files = Files::new(&[("a.toml", "[[data.sources]]\ntask = \"locate\"\nimages = \"i\"\n")]);
    let (message, help) = files.error(&[]);
    assert_eq!(message, "a.toml:1: `data.sources.0.format`: is missing");
    assert!(help.starts_with("Allowed: \"localized_narratives\", "), "{help}");
    assert!(
        help.contains("And 1 more:\na.toml:1: `data.sources.0.annotations`: is missing"),
        "{help}"
    );
    let (message, _) = Files::new(&[("a.toml", "seed = 1\n")]).error(&[]);
    assert_eq!(message, "a.toml: `data.sources`: there is nothing to learn from");
}

#[test]
fn files_that_are_missing_or_not_toml_are_named() {
    let missing = experiment::load(Path::new("no/such.toml"), &[]).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }));
    assert!(missing.to_string().starts_with("cannot read no/such.toml: "), "{missing}");
    let not_toml = Files::new(&[("a.toml", "seed = 1\nname = quickstart\n")]);
    let (message, _) = not_toml.error(&[]);
    assert!(message.starts_with("a.toml:2: "), "{message}");
    assert_eq!(not_toml.load(&[]).unwrap_err().exit_code(), 2, "a mistake of the user");
}

#[test]
fn vision_presets_have_the_sizes_of_the_published_encoders() {
    // Millions of parameters: spec/model.md §0 for L and H, the others from the published tables.
    let presets = [
        ("eva02-ti", 5.5),
        ("eva02-s", 21.6),
        ("eva02-b", 85.8),
        ("eva02-l", 303.3),
        ("sam-b", 89.7),
        ("sam-l", 308.3),
        ("sam-h", 637.0),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/presets/vision");
    assert_eq!(toml_files(&folder).len(), presets.len());
    for (name, millions) in presets {
        let model = experiment::load_model(&folder.join(format!("{name}.toml")), &[]).unwrap();
        let device = pixelllm::backend::device("cpu").unwrap();
        let count = if name.starts_with("eva") {
            model.vision.eva.unwrap().init(&device).num_params()
        } else {
            model.vision.sam.unwrap().init(&device).num_params()
        };
        let found = count as f64 / 1e6;
        assert!((found - millions).abs() < 0.05 * 1f64.max(millions / 100.0), "{name}: {found}");
    }
}

#[test]
fn texts_are_found_as_the_decoding_table_says() {
    assert_eq!(load("", &[]).decoding, Decoding::Greedy);
    let beams = load("[decoding]\nmethod = \"beam\"\nbeams = 3\n", &[]).decoding;
    assert_eq!(beams, Decoding::Beams(BeamConfig { beams: 3, ..BeamConfig::default() }));
    let text = "[decoding]\nmethod = \"sample\"\ntop_k = 5\n";
    let sample = SampleConfig { top_k: Some(5), top_p: 0.9, ..SampleConfig::default() };
    let drawn = load(text, &["decoding.top_p=0.9"]);
    assert_eq!(drawn.decoding, Decoding::Sample(sample));
    let again = experiment::to_toml(&drawn).unwrap();
    assert_eq!(Files::new(&[("a.toml", &again)]).load(&[]).unwrap(), drawn);

    let (message, _) = error("[decoding]\nmethod = \"beam\"\ntop_k = 5\n", &[]);
    assert!(message.contains("decoding.top_k"), "{message}");
    let (message, help) = error(text, &["decoding.top_k=0"]);
    assert!(message.contains("decoding.top_k") && help.contains("at least 1"), "{message} {help}");
    let (message, help) = error("[decoding]\nmethod = \"beams\"\n", &[]);
    assert!(message.contains("decoding.method") && help.contains("beam"), "{message} {help}");
}

#[test]
fn words_find_their_places_by_text_or_by_rank() {
    assert_eq!(load("", &[]).data.alignment, Alignment::Offsets);
    assert_eq!(load("[data]\nalignment = \"offsets\"\n", &[]).data.alignment, Alignment::Offsets);
    assert_eq!(load("", &["data.alignment=rank"]).data.alignment, Alignment::Rank);
}
