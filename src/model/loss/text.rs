//! Text loss (`spec/losses.md` §1).
