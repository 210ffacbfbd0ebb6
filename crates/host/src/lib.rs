//! The machine under Ropewalk: one module per thing that is touched. Each knows its facility and its weaker
//! rung; none of them knows a rule of scheduling or landing.

pub mod clock;
pub mod durable;
pub mod git;
pub mod identity;
pub mod lock;
pub mod pool;
mod procfs;
pub mod shell;
pub mod socket;
pub mod worker;
