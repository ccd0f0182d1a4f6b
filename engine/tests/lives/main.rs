//! Seeded lives of a log dir on a simulated disk: what is done to it, what goes wrong, and what must be
//! there afterwards.

mod dice;
mod directed;
mod faults;
mod life;
mod model;
mod power_cuts;
mod seeds;
#[cfg(feature = "twins")]
mod twins;
