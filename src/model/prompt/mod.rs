//! Locations in: the prompt encoder (`spec/model.md` §5) and the prompt adapter (§6).

pub mod adapter;
pub mod location;
pub mod mask_prompt;
pub mod points;
pub mod two_way;
