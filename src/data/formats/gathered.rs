//! [`Gathered`]: rows that come in any order → one sample per image.

use std::collections::HashMap;

use crate::data::sample::{ImageFile, Row, Sample, Task};

/// Samples so far, in the order in which their images came up.
#[derive(Debug)]
pub(super) struct Gathered {
    task: Task,
    samples: Vec<Sample>,
    /// Where each image's sample is.
    sample_of: HashMap<ImageFile, usize>,
}

impl Gathered {
    pub(super) fn new(task: Task) -> Self {
        Self { task, samples: Vec::new(), sample_of: HashMap::new() }
    }

    /// Adds rows about an image; `image_id` is the dataset's name for it.
    pub(super) fn add(&mut self, image: ImageFile, image_id: &str, mut rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        if let Some(&index) = self.sample_of.get(&image) {
            self.samples[index].rows.append(&mut rows);
            return;
        }
        self.sample_of.insert(image.clone(), self.samples.len());
        let image_id = image_id.to_string();
        self.samples.push(Sample { image, image_id, task: self.task, rows });
    }

    pub(super) fn into_samples(self) -> Vec<Sample> {
        self.samples
    }
}
