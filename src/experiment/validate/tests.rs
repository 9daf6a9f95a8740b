use super::*;
use crate::experiment::schema::ShapesDirectory;
use crate::model::storage::Storage;

/// An experiment that can be run.
pub(super) fn valid() -> Experiment {
    let (annotations, images) = ("{split}.json", "images");
    let source = SourceConfig::new(Task::Locate, Format::RefexpMdetr, annotations, images);
    let mut experiment = Experiment::default();
    experiment.data.sources.push(SourceConfig { max_text_tokens: 16, ..source });
    experiment
}

/// The key of the only problem after a change to a valid experiment.
fn problem_of(change: impl Fn(&mut Experiment)) -> String {
    let mut experiment = valid();
    change(&mut experiment);
    let mut problems = experiment.validate();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0).key
}

#[test]
fn the_paper_s_settings_are_fine() {
    assert_eq!(valid().validate(), []);
}

#[test]
fn a_run_needs_a_plain_name() {
    for name in ["", ".", "..", "a/b", "/a", "a/", "a\\b"] {
        assert_eq!(problem_of(|e| e.name = name.into()), "name", "{name:?}");
    }
}

#[test]
fn something_must_be_learnt_from() {
    assert_eq!(problem_of(|e| e.data.sources.clear()), "data.sources");
    assert_eq!(problem_of(|e| e.data.sources[0].weight = 0.0), "data.sources");
    assert_eq!(problem_of(|e| e.data.sources[0].weight = -1.0), "data.sources.0.weight");
    assert_eq!(problem_of(|e| e.data.sources[0].task = Task::Narrate), "data.sources.0.task");
    let empty_world = |e: &mut Experiment| {
        let mut shapes = ShapesDirectory::default();
        shapes.world.min_objects = 0;
        e.data.shapes = Some(shapes);
    };
    assert_eq!(problem_of(empty_world), "data.shapes.world.min_objects");
    let unasked = |e: &mut Experiment| {
        e.data.sources[0].task = Task::Narrate;
        e.data.sources[0].format = Format::Llava;
    };
    assert_eq!(problem_of(unasked), "data.sources.0.prompt");
    let both_weights = |e: &mut Experiment| {
        e.losses.text.weight = 0.0;
        e.losses.point.weight = 0.0;
    };
    assert_eq!(problem_of(both_weights), "losses.text.weight");
}

#[test]
fn texts_fit_the_language_model() {
    let key = "data.sources.0.max_text_tokens";
    assert_eq!(problem_of(|e| e.data.sources[0].max_text_tokens = 1025), key);
    assert_eq!(problem_of(|e| e.data.sources[0].max_text_tokens = 2), key);
    let key = "data.sources.0.max_context_tokens";
    assert_eq!(problem_of(|e| e.data.sources[0].max_context_tokens = 1025), key);
    let prompt_without_room = |e: &mut Experiment| {
        e.data.sources[0].prompt = "where is".into();
        e.data.sources[0].max_context_tokens = 1;
    };
    assert_eq!(problem_of(prompt_without_room), key);
    assert_eq!(
        problem_of(|e| e.data.tokenizer.vocabulary_size = 7),
        "data.tokenizer.vocabulary_size"
    );
}

#[test]
fn counts_are_at_least_one() {
    assert_eq!(problem_of(|e| e.training.batch_size = 0), "training.batch_size");
    assert_eq!(problem_of(|e| e.training.micro_batches = 0), "training.micro_batches");
    assert_eq!(problem_of(|e| e.training.micro_batches = 257), "training.micro_batches");
    let key = "training.checkpoint_every_steps";
    assert_eq!(problem_of(|e| e.training.checkpoint_every_steps = 0), key);
    assert_eq!(problem_of(|e| e.checkpoints.keep_last = 0), "checkpoints.keep_last");
    let key = "data.sources.0.rows_per_image";
    assert_eq!(problem_of(|e| e.data.sources[0].rows_per_image = 0), key);
    assert_eq!(problem_of(|e| e.evaluation.batch_size = 0), "evaluation.batch_size");
    assert_eq!(problem_of(|e| e.evaluation.max_images = 0), "evaluation.max_images");
}

#[test]
fn detections_need_a_decoder_and_all_regions_of_an_image() {
    let detect = |e: &mut Experiment| {
        e.data.sources[0].task = Task::Detect;
        e.data.sources[0].format = Format::VisualGenomeCoco;
        e.data.sources[0].rows_per_image = 100;
        e.model.boxes = Some(Default::default());
    };
    let without_decoder = |e: &mut Experiment| {
        detect(e);
        e.model.boxes = None;
    };
    assert_eq!(problem_of(without_decoder), "model.boxes");
    let one_region = |e: &mut Experiment| {
        detect(e);
        e.data.sources[0].rows_per_image = 1;
    };
    assert_eq!(problem_of(one_region), "data.sources.0.rows_per_image");
    let negative = |e: &mut Experiment| {
        detect(e);
        e.losses.detection.box_weight = -1.0;
    };
    assert_eq!(problem_of(negative), "losses.detection.box_weight");
    // Boxes alone are something to learn, and no point is asked for.
    let mut boxes_only = valid();
    detect(&mut boxes_only);
    boxes_only.model.points = None;
    (boxes_only.losses.text.weight, boxes_only.losses.point.weight) = (0.0, 0.0);
    assert_eq!(boxes_only.validate(), []);
}

#[test]
fn texts_are_found_by_something_that_can_be_done() {
    use crate::model::language::beam::BeamConfig;
    use crate::model::language::decoding::Decoding;
    use crate::model::language::sampling::SampleConfig;

    let beams = |config: BeamConfig| problem_of(|e| e.decoding = Decoding::Beams(config.clone()));
    assert_eq!(beams(BeamConfig { beams: 0, ..Default::default() }), "decoding.beams");
    let penalty = BeamConfig { length_penalty: f64::NAN, ..Default::default() };
    assert_eq!(beams(penalty), "decoding.length_penalty");
    let hot = SampleConfig { temperature: f64::INFINITY, ..Default::default() };
    let key = problem_of(|e| e.decoding = Decoding::Sample(hot.clone()));
    assert_eq!(key, "decoding.temperature");
}

#[test]
fn data_is_read_and_changed_within_bounds() {
    let key = "data.sources.0.augmentation.scale";
    for scale in [[0.0, 1.0], [1.0, 0.5], [1.0, 9.0], [f64::NAN, 1.0]] {
        assert_eq!(problem_of(|e| e.data.sources[0].augmentation.scale = scale), key);
    }
    let key = "data.sources.0.augmentation.flip";
    assert_eq!(problem_of(|e| e.data.sources[0].augmentation.flip = 1.5), key);
    let key = "data.sources.0.decoding.max_pixels";
    assert_eq!(problem_of(|e| e.data.sources[0].decoding.max_pixels = 0), key);
    assert_eq!(problem_of(|e| e.data.workers = Some(0)), "data.workers");
    assert_eq!(problem_of(|e| e.training.epochs = Some(0)), "training.epochs");
    let late = |e: &mut Experiment| {
        e.training.epochs = Some(1);
        e.data.sources[0].first_step = 1;
    };
    assert_eq!(problem_of(late), "data.sources.0.first_step");
}

#[test]
fn features_are_kept_of_what_never_changes() {
    let cached = |change: &dyn Fn(&mut Experiment)| {
        let mut experiment = valid();
        experiment.data.cache_features = Some("features".into());
        experiment.training.frozen = vec!["vision".into()];
        let vision = &mut experiment.model.vision;
        vision.eva.iter_mut().for_each(|eva| eva.drop_path = 0.0);
        vision.sam.iter_mut().for_each(|sam| sam.drop_path = 0.0);
        change(&mut experiment);
        let problems = experiment.validate();
        assert!(problems.iter().all(|problem| problem.key == "data.cache_features"));
        problems.into_iter().map(|problem| problem.problem).collect::<String>()
    };
    assert_eq!(cached(&|_| ()), "");
    assert_eq!(cached(&|e| e.training.frozen = vec!["vision.eva".into(), "vision.sam".into()]), "");
    let trained = cached(&|e| e.training.frozen = vec!["vision.eva".into()]);
    assert!(trained.contains("vision.sam is trained"), "{trained}");
    let parts = cached(&|e| e.training.frozen = vec!["vision.eva.blocks".into()]);
    assert!(parts.contains("vision.eva is trained"), "{parts}");
    assert_eq!(cached(&|e| e.training.frozen = vec!["vision.*".into()]), "");
    let random = cached(&|e| e.model.vision.eva.iter_mut().for_each(|e| e.drop_path = 0.1));
    assert!(random.contains("model.vision.eva.drop_path"), "{random}");
    let changed = cached(&|e| e.data.sources[0].augmentation.flip = 0.5);
    assert!(changed.contains("data.sources.0.augmentation"), "{changed}");
}

#[test]
fn encoders_in_half_precision_are_frozen() {
    let narrow = |e: &mut Experiment| {
        e.model.vision.sam.iter_mut().for_each(|sam| sam.storage = Storage::Bf16);
    };
    assert_eq!(problem_of(narrow), "model.vision.sam.storage");
    let frozen = |path: &str| {
        let mut experiment = valid();
        narrow(&mut experiment);
        experiment.training.frozen = vec![path.into()];
        experiment.validate().into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert!(frozen("vision.sam").is_empty());
    assert_eq!(frozen("vision.sam.blocks"), ["model.vision.sam.storage"]);
    assert_eq!(frozen("vision.eva"), ["model.vision.sam.storage"]);
}

#[test]
fn rates_and_shares_are_in_range() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let key = "optimizer.learning_rate";
        assert_eq!(problem_of(|e| e.optimizer.learning_rate = rate), key);
    }
    assert_eq!(problem_of(|e| e.optimizer.beta_1 = 1.0), "optimizer.beta_1");
    assert_eq!(problem_of(|e| e.optimizer.beta_2 = -0.1), "optimizer.beta_2");
    assert_eq!(problem_of(|e| e.optimizer.epsilon = 0.0), "optimizer.epsilon");
    assert_eq!(problem_of(|e| e.optimizer.weight_decay = -1.0), "optimizer.weight_decay");
    let key = "optimizer.clip_gradient_norm";
    assert_eq!(problem_of(|e| e.optimizer.clip_gradient_norm = Some(0.0)), key);
    for decay in [0.0, 1.1, f64::NAN] {
        let key = "optimizer.layer_decay";
        assert_eq!(problem_of(|e| e.optimizer.layer_decay = Some(decay)), key);
    }
    let frozen_by_rate = |e: &mut Experiment| {
        e.optimizer.rate_multipliers.insert("masks.adapter".into(), 0.0);
    };
    assert_eq!(problem_of(frozen_by_rate), "optimizer.rate_multipliers.masks.adapter");
    let key = "losses.text.label_smoothing";
    assert_eq!(problem_of(|e| e.losses.text.label_smoothing = 1.0), key);
    assert_eq!(problem_of(|e| e.losses.point.weight = -0.1), "losses.point.weight");
    assert_eq!(problem_of(|e| e.losses.overlap.weight = -0.1), "losses.overlap.weight");
    assert_eq!(problem_of(|e| e.schedule.final_share = 1.1), "schedule.final_share");
    assert_eq!(problem_of(|e| e.schedule.warmup_steps = 10_000), "schedule.warmup_steps");
    assert_eq!(problem_of(|e| e.training.max_steps = 250), "schedule.warmup_steps");
}
