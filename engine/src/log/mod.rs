//! One partition: append, read, roll, retain, compact, truncate, recover.

pub mod checkpoint;
pub mod epochs;
mod lines;
pub mod producers;
pub mod state;

#[cfg(test)]
mod kafka_folder_tests;
