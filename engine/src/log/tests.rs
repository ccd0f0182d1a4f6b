//! Tests of one partition's log, over the simulated disk.

mod aborted;
mod append;
mod bench;
mod bounds;
mod change;
mod commits;
mod damage;
mod device;
mod ends;
mod faults;
mod fetch;
mod forged;
mod leftovers;
mod mapped;
mod places;
mod power;
mod prepared;
mod range;
mod recovery;
mod retention;
mod threads;
mod told;
mod unsound;
