//! The program from outside: the real binary, real git, real processes, and a fake agent of our own.

mod agents;
mod canaries;
mod clocks;
mod container;
#[cfg(feature = "failpoints")]
mod crash_points;
mod disk;
mod doctor;
mod engines;
mod floods;
mod habits;
mod killed;
mod main_job;
mod refused;
mod rescue;
mod restart;
mod sacred;
mod samples;
mod secrets;
mod setup;
mod support;
mod torture;
mod trains;
mod trust;
