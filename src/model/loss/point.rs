//! Point loss (`spec/losses.md` §2).
