//! Floor 1: the model, read top-down like the paper. Nothing here knows of files, TOML, datasets or
//! training loops.
//!
//! Letters in shapes (`docs/src/notation.md`): `B` images, `N` rows (prompts, captions) per image,
//! `L` text tokens, `C` context tokens, `Q` visual tokens per prompt, `V` vocabulary, `H W` grid of a
//! feature map, `D` width, `P` points per token.
//!
//! Config structs derive serde rather than Burn's `Config`: Burn's derive has no defaults on
//! reading and ignores unknown keys in silence, and an experiment must do neither.

pub mod activation;
pub mod heads;
pub mod language;
pub mod loss;
pub mod pixel_llm;
pub mod prompt;
pub mod vision;
