//! The program from outside: the real binary, real git, real processes, and a fake agent of our own.

mod agents;
#[cfg(feature = "failpoints")]
mod crash_points;
mod engines;
mod killed;
mod main_job;
mod refused;
mod sacred;
mod samples;
mod support;
