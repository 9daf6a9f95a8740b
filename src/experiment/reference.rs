//! The experiment reference, from the docs of the schema's structs.
