//! A report of made-up data, for tests and for looking at the page.

use image::{Rgb, RgbImage};

use super::{Described, Detected, GalleryItem, Located, Report};
use crate::data::sample::Task;
use crate::geometry::BoundingBox;
use crate::metrics::score::{Evaluation, Score, TaskScores};
use crate::tasks::{Description, Detection, LocatedWord, Location, Narration};
use crate::training::record::{LossRecord, Record, StepRecord, ValidationRecord};
use crate::training::throughput::StepCost;

/// Squares on a gradient: colour and box, normalised.
const SQUARES: [([u8; 3], [f32; 4], &str); 3] = [
    ([220, 60, 50], [0.10, 0.15, 0.38, 0.43], "red"),
    ([60, 90, 220], [0.55, 0.20, 0.85, 0.50], "blue"),
    ([70, 170, 80], [0.35, 0.60, 0.62, 0.87], "green"),
];

/// A report with everything in it.
pub(super) fn report() -> Report {
    let short = "there is a small red square and a blue square to the right of it";
    let long =
        format!("{short} and below both of them a green square on a soft background ").repeat(4);
    let mut wide = item("000003", "test-combinations", "red", 160, 90);
    wide.narration = None;
    Report {
        title: "quickstart".into(),
        command: "pixelllm train experiments/quickstart.toml".into(),
        experiment_toml: "name = \"quickstart\"\nseed = 0\n\n[training]\nmax_steps = 3000\n".into(),
        records: records(3_000),
        evaluation: evaluation(),
        gallery: vec![
            item("000001", "test", short, 96, 96),
            item("000002", "test", long.trim(), 96, 96),
            wide,
        ],
        facts: [
            ("device", "cpu"),
            ("steps", "3 000"),
            ("duration", "9 min 12 s"),
            ("parameters", "2 143 872"),
            ("images per second", "148"),
            ("pixelllm", "0.1.0"),
            ("burn", "0.22.1"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into(),
    }
}

/// Metrics, one of them worse than its baseline.
pub(super) fn evaluation() -> Evaluation {
    let score = |value, baseline| Score { value, baseline, n: 200 };
    let scores = |all: &[(&str, Score)]| -> TaskScores {
        all.iter().map(|(name, score)| ((*name).to_owned(), *score)).collect()
    };
    let tasks = [
        ("narrate", scores(&[("trace_error", score(0.11, Some(0.19)))])),
        (
            "describe",
            scores(&[
                ("attribute_accuracy", score(0.74, Some(0.31))),
                ("exact_match", score(0.12, None)),
            ]),
        ),
        (
            "locate",
            scores(&[
                ("mean_iou", score(0.41, Some(0.21))),
                ("precision_at_0.5", score(0.02, Some(0.04))),
            ]),
        ),
    ];
    let tasks: std::collections::BTreeMap<_, _> =
        tasks.into_iter().map(|(task, scores)| (task.to_owned(), scores)).collect();
    ["test", "test-combinations"].into_iter().map(|s| (s.to_owned(), tasks.clone())).collect()
}

/// Losses that fall, with noise, a spike and a gap.
pub(super) fn records(steps: usize) -> Vec<Record> {
    let mut records = Vec::with_capacity(steps);
    let mut noise = 1_u64;
    for step in 1..=steps {
        // Knuth's MMIX generator: noise without a dependency.
        noise =
            noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = (noise >> 40) as f64 / (1_u64 << 24) as f64;
        let (done, task) = (step as f64 / steps as f64, Task::ALL[step % 3]);
        let fall = (-4.0 * done).exp();
        let text = 0.4 + 5.5 * fall + 0.8 * (noise - 0.5) * (0.3 + fall);
        let point = (0.05 + 0.3 * fall) * (0.7 + 0.6 * noise);
        let text_loss = (task != Task::Locate).then_some(text);
        let broken = step == steps / 2;
        records.push(Record::Step(StepRecord {
            step,
            task,
            losses: LossRecord {
                loss: if broken { f64::NAN } else { text_loss.unwrap_or(0.0) + 5.0 * point },
                text_loss,
                point_loss: (task != Task::Describe).then_some(point),
                ..LossRecord::default()
            },
            gradient_norm: (1.0 + 20.0 * fall * noise) * if step == steps / 3 { 80.0 } else { 1.0 },
            learning_rate: 1e-3
                * (step as f64 / 100.0).min(1.0)
                * (1.0 + (std::f64::consts::PI * done).cos())
                / 2.0,
            samples_per_second: 140.0 + 20.0 * noise,
            data_wait_share: 0.01,
            cost: StepCost::default(),
        }));
        if step % (steps / 10).max(1) == 0 {
            records.extend(Task::ALL.map(|task| validation(step, task, fall)));
        }
    }
    records
}

fn validation(step: usize, task: Task, fall: f64) -> Record {
    let text_loss = (task != Task::Locate).then_some(0.6 + 5.2 * fall);
    let point_loss = (task != Task::Describe).then_some(0.07 + 0.3 * fall);
    let loss = text_loss.unwrap_or(0.0) + 5.0 * point_loss.unwrap_or(0.0);
    Record::Validation(ValidationRecord {
        step,
        task,
        losses: LossRecord { loss, text_loss, point_loss, ..LossRecord::default() },
    })
}

fn item(name: &str, split: &str, caption: &str, width: u32, height: u32) -> GalleryItem {
    GalleryItem {
        name: name.into(),
        split: split.into(),
        image: picture(width, height),
        narration: Some(narration(caption)),
        reference_narration: Some("In this picture I can see a red square and a blue one.".into()),
        descriptions: SQUARES
            .iter()
            .map(|(_, [x0, y0, x1, y1], color)| Described {
                description: Description {
                    region: BoundingBox::new(*x0, *y0, *x1, *y1),
                    caption: format!("a {color} square"),
                    words: vec![],
                    tokens: vec![],
                    token_log_probs: vec![],
                    score: -0.3,
                },
                reference: Some(format!("small {color} square")),
            })
            .collect(),
        locations: SQUARES
            .iter()
            .map(|(_, [x0, y0, x1, y1], color)| Located {
                location: Location::new(
                    format!("the {color} square"),
                    BoundingBox::new(x0 - 0.04, y0 + 0.03, x1 + 0.02, y1 + 0.06),
                ),
                reference: Some(BoundingBox::new(*x0, *y0, *x1, *y1)),
            })
            .collect(),
        detections: Some(detected()),
    }
}

/// Each square, found a little beside itself.
fn detected() -> Detected {
    let bounds = |[x0, y0, x1, y1]: [f32; 4]| BoundingBox::new(x0, y0, x1, y1);
    let square = |(i, (_, corners, color)): (usize, &([u8; 3], [f32; 4], &str))| Detection {
        bounds: bounds(*corners).translate(0.02, -0.01),
        point: bounds(*corners).translate(0.02, -0.01).center(),
        score: 0.9 - 0.2 * i as f32,
        caption: format!("a {color} square"),
        words: vec![],
        tokens: vec![],
        log_prob: -0.2,
    };
    let annotated = SQUARES
        .iter()
        .map(|(_, corners, color)| (bounds(*corners), format!("a small {color} square")));
    Detected {
        found: SQUARES.iter().enumerate().map(square).collect(),
        annotated: annotated.collect(),
    }
}

/// A word is at the square whose colour comes next, with a wander; the last one is off the image.
fn narration(caption: &str) -> Narration {
    let texts: Vec<_> = caption.split(' ').collect();
    let mut words = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let square = SQUARES
            .iter()
            .find(|(_, _, color)| {
                texts.iter().skip(i).find(|t| SQUARES.iter().any(|s| s.2 == **t)) == Some(color)
            })
            .unwrap_or(&SQUARES[2]);
        let wander = 0.06 * ((i * 7 % 11) as f32 / 11.0 - 0.5);
        let [x0, y0, x1, y1] = square.1;
        let off = if i + 1 == texts.len() { 0.5 } else { 0.0 };
        let bounds = BoundingBox::new(x0, y0, x1, y1).translate(wander + off, -wander * 1.7);
        words.push(LocatedWord::new((*text).into(), bounds, -0.05 * (i % 9) as f32));
    }
    Narration {
        caption: caption.into(),
        words,
        tokens: vec![],
        token_log_probs: vec![],
        score: -0.2,
    }
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = ((x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32);
        let inside = |b: &[f32; 4]| (b[0]..b[2]).contains(&x) && (b[1]..b[3]).contains(&y);
        let square = SQUARES.iter().find(|(_, bounds, _)| inside(bounds));
        square.map_or(
            Rgb([(120.0 + 90.0 * x) as u8, (130.0 + 60.0 * y) as u8, (150.0 + 40.0 * x * y) as u8]),
            |(color, ..)| Rgb(*color),
        )
    })
}
