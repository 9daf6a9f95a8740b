//! Two-way transformer (`spec/model.md` §6.1), shared by the adapter and the mask decoder.
