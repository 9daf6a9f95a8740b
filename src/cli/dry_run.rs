//! `pixelllm train --dry-run`.

use comfy_table::{Table, presets};

use super::output::say;
use crate::data::batch::BatchDims;
use crate::error::Result;
use crate::experiment::{self, Experiment};
use crate::report::table::align_right;
use crate::training::dry_run::{DryRun, Missing, SourceBatch};
use crate::training::learning_rates::RateGroup;
use crate::training::memory::MemoryEstimate;
use crate::training::parameters::{ParameterCount, total};
use crate::training::updates::PartUpdate;

/// Bytes of a MiB.
const MIB: f64 = (1 << 20) as f64;

/// Prints what `experiment` would train.
pub(super) fn print(experiment: &Experiment) -> Result<()> {
    let dry_run = DryRun::new(experiment)?;
    say(experiment::to_toml(experiment)?);
    say(format_args!("{}\n", parameter_table(&dry_run.parameters)));
    let decay = experiment.optimizer.weight_decay;
    say(format_args!("{}\n", update_table(&dry_run.updates, decay)));
    let differ = dry_run.rates.len() > 1;
    for RateGroup { multiplier, num_parameters, .. } in dry_run.rates.iter().filter(|_| differ) {
        let count = grouped(*num_parameters);
        say(format_args!("learning rate × {multiplier:.4}: {count} parameters"));
    }
    say(format_args!("vocabulary: {} ids\n", dry_run.vocabulary_size));
    for SourceBatch { task, num_images, dims } in &dry_run.batches {
        let there = match num_images {
            Some(num_images) => format!("{num_images} images"),
            None => "not read, at most".into(),
        };
        say(format_args!("{} ({there}): {}", task.name(), shapes(dims)));
    }
    say(format_args!("\n{}", memory_table(&dry_run.memory)));
    if !dry_run.missing.is_empty() {
        say("\nNot there; sizes above are by the settings, and training would stop:");
    }
    for Missing { key, path } in &dry_run.missing {
        say(format_args!("  {key}: {}", path.display()));
    }
    Ok(())
}

/// Parameters of each part, and the memory that they, their gradients and their moments take.
fn parameter_table(counts: &[ParameterCount]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let counts_header = ["part", "parameters", "trainable", "frozen"];
    table.set_header(counts_header.into_iter().chain([
        "weights MiB",
        "gradients MiB",
        "moments MiB",
    ]));
    for count in counts.iter().chain([&total(counts)]) {
        let numbers = [count.total, count.trainable, count.frozen()].map(grouped);
        let memory = MemoryEstimate::without_batch(count);
        let memory = [memory.weights, memory.gradients, memory.optimizer].map(mib);
        let cells = numbers.into_iter().chain(memory);
        table.add_row([count.module.clone()].into_iter().chain(cells));
    }
    align_right(&mut table, 1..7);
    table
}

/// Learning rates and weight decay of each part that is trained.
fn update_table(updates: &[PartUpdate], decay: f64) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let decayed = format!("with a decay of {decay}");
    table.set_header(["part", "trained", "learning rate ×", &decayed]);
    for PartUpdate { module, trained, rates: [lowest, highest], decayed } in updates {
        let rates = match lowest == highest {
            true => format!("{lowest:.4}"),
            false => format!("{lowest:.4} to {highest:.4}"),
        };
        table.add_row([module.clone(), grouped(*trained), rates, grouped(*decayed)]);
    }
    align_right(&mut table, 1..4);
    table
}

fn mib(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / MIB)
}

fn memory_table(memory: &MemoryEstimate) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["memory (estimate)", "MiB"]);
    for (name, bytes) in [
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("AdamW's moments", memory.optimizer),
        ("activations", memory.activations),
        ("total", memory.total()),
    ] {
        table.add_row([name.to_string(), format!("{:.0}", bytes as f64 / MIB)]);
    }
    align_right(&mut table, [1]);
    table
}

fn shapes(dims: &BatchDims) -> String {
    let BatchDims { images: b, canvas_px: s, rows: n, prompts: m, text_tokens: l, context_tokens } =
        dims;
    let context = match context_tokens {
        0 => "none".to_string(),
        c => format!("[{b}, {m}, {c}]"),
    };
    format!(
        "images [{b}, 3, {s}, {s}], prompt boxes [{b}, {m}, 4], context {context}, text \
         [{b}, {n}, {l}], points [{b}, {n}, {l}, 2, 2]"
    )
}

/// Digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join("\u{202f}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_from_the_right() {
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(12), "12");
        assert_eq!(grouped(0), "0");
    }
}
