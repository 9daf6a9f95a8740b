//! How a command finds texts: as its run does, unless flags say otherwise.

use clap::Args;

use crate::error::{Error, Result};
use crate::model::language::beam::BeamConfig;
use crate::model::language::decoding::Decoding;
use crate::model::language::sampling::SampleConfig;

/// What overrides `[decoding]` of the run.
#[derive(Debug, Args)]
#[command(next_help_heading = "How the text is found [default: as the run's [decoding] says]")]
pub(super) struct DecodingArguments {
    /// Search with this many texts at the same time; 1 takes the most probable word at each step
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["temperature", "top_k", "top_p", "seed"]
    )]
    beams: Option<usize>,
    /// Draw words, with logits divided by this: below 1 likely ones are likelier, 0 draws the likeliest
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Draw from the K most probable pieces of words
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the fewest pieces of words that have this share of the probability
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Draw with this seed
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

impl DecodingArguments {
    /// `of_run` with what the flags say. A flag of a method that the run does not use takes that method,
    /// with its defaults.
    ///
    /// # Errors
    /// [`Error::Usage`] where a value is out of range.
    pub(super) fn over(&self, of_run: &Decoding) -> Result<Decoding> {
        let decoding = match self.beams {
            Some(1) => Decoding::Greedy,
            Some(beams) => {
                let config = match of_run {
                    Decoding::Beams(config) => config.clone(),
                    _ => BeamConfig::default(),
                };
                Decoding::Beams(BeamConfig { beams, ..config })
            }
            None if self.draws() => Decoding::Sample(self.sample_over(of_run)),
            None => of_run.clone(),
        };
        match decoding.validate().into_iter().next() {
            None => Ok(decoding),
            Some(problem) => Err(Error::Usage {
                problem: format!("--{} {}", problem.key.replace('_', "-"), problem.problem),
                help: format!("Give {}.", problem.allowed),
            }),
        }
    }

    fn draws(&self) -> bool {
        let numbers = self.temperature.is_some() || self.top_p.is_some();
        numbers || self.top_k.is_some() || self.seed.is_some()
    }

    fn sample_over(&self, of_run: &Decoding) -> SampleConfig {
        let config = match of_run {
            Decoding::Sample(config) => config.clone(),
            _ => SampleConfig::default(),
        };
        SampleConfig {
            temperature: self.temperature.unwrap_or(config.temperature),
            top_k: self.top_k.or(config.top_k),
            top_p: self.top_p.unwrap_or(config.top_p),
            seed: self.seed.unwrap_or(config.seed),
            ..config
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        decoding: DecodingArguments,
    }

    fn parsed(flags: &str) -> Result<DecodingArguments, clap::Error> {
        let words = std::iter::once("command").chain(flags.split_whitespace());
        Ok(Command::try_parse_from(words)?.decoding)
    }

    fn over(flags: &str, of_run: &Decoding) -> Result<Decoding> {
        parsed(flags).unwrap().over(of_run)
    }

    #[test]
    fn without_flags_texts_are_found_as_the_run_does() {
        let beams = Decoding::Beams(BeamConfig { beams: 3, ..BeamConfig::default() });
        for of_run in [Decoding::Greedy, beams, Decoding::Sample(SampleConfig::default())] {
            assert_eq!(over("", &of_run).unwrap(), of_run);
        }
    }

    #[test]
    fn flags_change_what_they_name_and_keep_the_rest_of_their_method() {
        let of_run = Decoding::Beams(BeamConfig {
            length_penalty: 1.0,
            suppress_repeats: true,
            ..BeamConfig::default()
        });
        let Decoding::Beams(config) = over("--beams 2", &of_run).unwrap() else { unreachable!() };
        assert_eq!((config.beams, config.length_penalty), (2, 1.0));
        assert!(config.suppress_repeats);
        assert_eq!(over("--beams 1", &of_run).unwrap(), Decoding::Greedy);

        let of_run = Decoding::Sample(SampleConfig { top_k: Some(5), ..Default::default() });
        let expected = SampleConfig { top_k: Some(5), top_p: 0.9, seed: 7, ..Default::default() };
        assert_eq!(over("--top-p 0.9 --seed 7", &of_run).unwrap(), Decoding::Sample(expected));
        let drawn = over("--temperature 0.5 --top-k 3", &Decoding::Greedy).unwrap();
        let expected = SampleConfig { temperature: 0.5, top_k: Some(3), ..SampleConfig::default() };
        assert_eq!(drawn, Decoding::Sample(expected));
    }

    #[test]
    fn a_search_draws_nothing_and_numbers_out_of_range_are_named() {
        assert!(parsed("--beams 2 --seed 1").is_err());
        for (flags, named) in [
            ("--beams 0", "--beams is 0"),
            ("--top-k 0", "--top-k is 0"),
            ("--top-p 1.5", "--top-p is 1.5"),
            ("--temperature nan", "--temperature is NaN"),
        ] {
            let error = over(flags, &Decoding::Greedy).unwrap_err();
            assert_eq!((error.to_string(), error.exit_code()), (named.to_string(), 2));
        }
    }
}
