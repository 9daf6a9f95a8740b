//! `pixelllm weights`: public checkpoints, what fits of them and what does not.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;

use common::safetensors::{Tensors, read, write};
use common::{Answer, Workshop};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/vectors");

/// An experiment whose encoders have the sizes of the small public checkpoints; the rest is as small as
/// can be.
const EXPERIMENT: &str = r#"
[model]
location.width = 8
adapter = { depth = 1, width = 8, num_heads = 2, mlp_width = 8, num_queries = 2, output_width = 8 }
language = { kind = "git", width = 8, depth = 1, num_heads = 2, mlp_width = 8, max_positions = 8 }
points.hidden_width = 8
[model.vision.eva]
width = 48
depth = 3
num_heads = 3
patch_px = 14
pretrain_image_px = 70
inner_norm_epsilon = 1e-6
[model.vision.sam]
width = 32
depth = 3
num_heads = 4
window_tokens = 4
global_blocks = [1]
pretrain_image_px = 96
output_channels = 32
"#;

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    fs::write(workshop.path("e.toml"), EXPERIMENT).unwrap();
    workshop
}

fn import(workshop: &Workshop, file: &str, out: &str, more: &[&str]) -> Answer {
    let file = if file.starts_with('/') { file.to_string() } else { format!("{VECTORS}/{file}") };
    let arguments = ["weights", "import", &file, "--experiment", "e.toml", "--out", out];
    workshop.pixelllm(&[&arguments[..], more].concat())
}

#[test]
fn inspect_lists_the_tensors_and_guesses_whose_file_it_is() {
    let workshop = workshop();
    for (file, layout) in [
        ("timm_eva02", "timm-eva02"),
        ("sam_pt/model.pth", "sam (Segment Anything of Meta)"),
        ("eva02_vit.safetensors", "none that is known"),
    ] {
        let answer = workshop.pixelllm(&["weights", "inspect", &format!("{VECTORS}/{file}")]);
        let answer = answer.success();
        assert!(answer.stdout.contains(&format!("layout: {layout}")), "{}", answer.stdout);
    }
}

#[test]
fn a_checkpoint_that_fits_is_imported_and_the_result_is_a_checkpoint_too() {
    let workshop = workshop();
    let answer = import(&workshop, "timm_eva02", "eva.safetensors", &["--strict"]).success();
    assert!(answer.stdout.contains("timm-eva02"), "{}", answer.stdout);
    let imported = read(&workshop.path("eva.safetensors"));
    assert!(imported.keys().all(|name| name.starts_with("vision.eva.")), "{:?}", imported.keys());

    let again = workshop.path("eva.safetensors").to_string_lossy().into_owned();
    import(&workshop, &again, "again.safetensors", &["--strict"]).success();
    assert_eq!(imported, read(&workshop.path("again.safetensors")));
}

#[test]
fn pickles_and_safetensors_of_the_same_weights_give_the_same() {
    let workshop = workshop();
    import(&workshop, "sam_pt/model.pth", "a.safetensors", &[]).success();
    import(&workshop, "sam_pt/model.safetensors", "b.safetensors", &[]).success();
    let [a, b] = ["a.safetensors", "b.safetensors"].map(|name| read(&workshop.path(name)));
    assert!(a.len() > 40);
    assert_eq!(a, b);
}

#[test]
fn what_does_not_fit_is_reported_and_strict_makes_it_an_error() {
    let workshop = workshop();
    let mut tensors = read(Path::new(&format!("{VECTORS}/timm_eva02/model.safetensors")));
    tensors.remove("blocks.2.attn.proj.bias").unwrap();
    let (dtype, _, data) = tensors["cls_token"].clone();
    tensors.insert("head.weight".into(), (dtype.clone(), vec![1, 48], data));
    tensors.insert("norm.weight".into(), (dtype, vec![3], vec![0; 12]));
    write(&workshop.path("other.safetensors"), &tensors);
    let other = workshop.path("other.safetensors").to_string_lossy().into_owned();

    let said = import(&workshop, &other, "out.safetensors", &[]).success().stdout;
    for expected in [
        "vision.eva.blocks.2.attention.output.bias",
        "head.weight",
        "norm.weight [3] → vision.eva.norm.gamma [48]",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    let answer = import(&workshop, &other, "strict.safetensors", &["--strict"]);
    assert_eq!(answer.code, Some(1), "{}", answer.said());
    assert!(!workshop.path("strict.safetensors").exists());
}

#[test]
fn position_tables_of_another_grid_are_resized_and_said_so() {
    let workshop = workshop();
    let larger = EXPERIMENT.replace("pretrain_image_px = 70", "pretrain_image_px = 98");
    fs::write(workshop.path("e.toml"), larger).unwrap();
    let said = import(&workshop, "timm_eva02", "out.safetensors", &[]).success().stdout;
    assert!(said.contains("vision.eva.positions [1, 26, 48] → [1, 50, 48]"), "{said}");
    assert_eq!(read(&workshop.path("out.safetensors"))["vision.eva.positions"].1, [1, 50, 48]);
}

#[test]
fn half_precision_is_read_as_the_numbers_it_stands_for() {
    let workshop = workshop();
    let whole = read(Path::new(&format!("{VECTORS}/timm_eva02/model.safetensors")));
    // bfloat16 is the upper half of float32.
    let cut = |keep_type: bool| -> Tensors {
        let halve = |(name, (_, shape, data)): (&String, &(String, Vec<usize>, Vec<u8>))| {
            let halves = data.chunks(4).flat_map(|number| {
                let upper = [number[2], number[3]];
                if keep_type { [&[0, 0], &upper[..]].concat() } else { upper.to_vec() }
            });
            let dtype = if keep_type { "F32" } else { "BF16" };
            (name.clone(), (dtype.to_string(), shape.clone(), halves.collect()))
        };
        whole.iter().map(halve).collect()
    };
    for (name, tensors) in [("half", cut(false)), ("same", cut(true))] {
        let path = workshop.path(&format!("{name}.safetensors"));
        write(&path, &tensors);
        let path = path.to_string_lossy().into_owned();
        import(&workshop, &path, &format!("{name}-out.safetensors"), &["--strict"]).success();
    }
    let [half, same] =
        ["half-out", "same-out"].map(|name| read(&workshop.path(&format!("{name}.safetensors"))));
    assert_eq!(half, same);
}

#[test]
fn training_starts_from_the_files_that_its_experiment_names() {
    let workshop = Workshop::new();
    workshop.train("first", &common::UNMEASURED).success();
    let weights = "weights=[{file=\"first/weights.safetensors\", strict=true}]";
    let arguments =
        [&["--set", weights, "--set", "optimizer.learning_rate=1e-30"], &common::UNMEASURED[..]];
    let answer = workshop.train("second", &arguments.concat()).success();
    assert!(answer.stderr.contains("first/weights.safetensors (pixelllm)"), "{}", answer.stderr);
    let [first, second] =
        ["first", "second"].map(|run| read(&workshop.path(&format!("{run}/weights.safetensors"))));
    assert_eq!(first, second, "nothing was learnt, so that it ends where it started");
}

#[test]
fn names_of_the_jax_reference_are_known_whatever_they_stand_under() {
    let workshop = workshop();
    for (file, parts) in [
        ("full_git.safetensors", ["language.Git.words.weight", "points.", "adapter."]),
        (
            "full_t5_two_backbones.safetensors",
            ["language.T5.t5.words.weight", "vision.sam.", "language.T5.visual_projection."],
        ),
        ("full_densecap.safetensors", ["boxes.head.", "boxes.pyramid.", "boxes.roi_head."]),
    ] {
        let vectors = read(Path::new(&format!("{VECTORS}/{file}")));
        let parameters: Vec<_> = vectors
            .iter()
            .filter_map(|(name, one)| Some((name.strip_prefix("param/")?, one)))
            .collect();
        for prefix in ["", "params/"] {
            let named = |(name, one): &(&str, &_)| (format!("{prefix}{name}"), Clone::clone(*one));
            let tensors: Tensors = parameters.iter().map(named).collect();
            write(&workshop.path("jax.safetensors"), &tensors);
            let said =
                workshop.pixelllm(&["weights", "inspect", "jax.safetensors"]).success().stdout;
            let all = format!(
                "layout: jax (the reference's parameters, `params/…`), which knows {} of",
                tensors.len()
            );
            assert!(said.contains(&all), "{file}: {said}");
            assert!(parts.iter().all(|part| said.contains(part)), "{file}: {said}");
        }
    }
}

#[test]
fn mistakes_are_named() {
    let workshop = workshop();
    let unknown = import(&workshop, "timm_eva02", "o.safetensors", &["--layout", "nobody"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("no layout `nobody`"), "{}", unknown.stderr);
    let vectors = import(&workshop, "eva02_vit.safetensors", "o.safetensors", &[]);
    assert_eq!(vectors.code, Some(1));
    let missing = workshop.pixelllm(&["weights", "inspect", "nothing.safetensors"]);
    assert!(missing.stderr.contains("nothing.safetensors"), "{}", missing.stderr);
}
