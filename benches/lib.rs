//! Criterion benches of the engine; each bench is its own target beside this file.
