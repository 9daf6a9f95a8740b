//! Boxes that *locate* writes, as batches have them.

use std::collections::BTreeSet;

use super::*;
use crate::data::source::AnswerForm;

#[test]
fn written_boxes_are_those_of_their_marks_and_the_expression_is_in_the_instruction() {
    let folder = tempfile::tempdir().unwrap();
    let image = marked_image(folder.path());
    let mut collator = collator();
    collator.tokenizer = collator.tokenizer.with_location_tokens(121).unwrap();
    let (mut looked, mut places) = (0, BTreeSet::new());
    for changes in [CHANGES, AugmentationConfig::default()] {
        let points = source(Task::Locate, &image, changes);
        let mut written = points.clone();
        written.config.answer = AnswerForm::Text;
        for seed in 0..60 {
            let batch = changed(&collator, &written, seed);
            let BatchDims { rows, text_tokens, context_tokens, .. } = batch.dims;
            assert_eq!((batch.answer, text_tokens), (AnswerForm::Text, 6));
            assert!(batch.points.iter().all(|place| *place == 0.0), "nothing for the point head");
            // All else is as where points answer.
            let expected = changed(&collator, &points, seed);
            assert_eq!((&batch.images, &batch.context), (&expected.images, &expected.context));
            for row in 0..rows {
                let text = &batch.text[row * 6..][..6];
                let vocabulary = collator.tokenizer.vocabulary();
                assert_eq!((text[0], text[5]), (vocabulary.begin, vocabulary.end));
                let bounds = collator.tokenizer.decode_box(&text[1..5]).unwrap();
                let place = &expected.points[(row * expected.dims.text_tokens + 1) * 4..][..4];
                let differences = bounds.to_array().into_iter().zip(place);
                differences.for_each(|(a, b)| assert!((a - b).abs() <= 0.5001 / 120.0, "{a} {b}"));
                let asked = &batch.context[row * context_tokens..][..context_tokens];
                let bounds = bounds.scale(batch.sizes[0], batch.sizes[1]);
                places.insert(bounds.to_array().map(f32::to_bits));
                if let Some(color) = mean_color(&batch, bounds) {
                    looked += 1;
                    assert_color(color, mark(&words(&collator, asked)), &format!("seed {seed}"));
                }
            }
        }
    }
    assert!(looked > 100 && places.len() > 50, "{looked} {}", places.len());
    // Without tokens to write them with.
    let mut written = source(Task::Locate, &image, AugmentationConfig::default());
    written.config.answer = AnswerForm::Text;
    let plain = self::collator();
    let error = plain.collate(&written, &[0], RowChoice::First(1)).unwrap_err().to_string();
    assert!(error.contains("0 location tokens"), "{error}");
}
