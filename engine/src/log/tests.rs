//! Tests of one partition's log, over the simulated disk.

mod append;
mod bench;
mod bounds;
mod change;
mod damage;
mod device;
mod faults;
mod fetch;
mod places;
mod power;
mod recovery;
mod retention;
mod threads;
mod told;
