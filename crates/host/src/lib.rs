//! The machine under Ropewalk: one module per thing that is touched. Each knows its facility and its weaker
//! rung; none of them knows a rule of scheduling or landing.

mod beneath;
pub mod cache;
pub mod clock;
pub mod containment;
pub mod content;
mod crash;
pub mod disk;
pub mod durable;
pub mod enter;
pub mod facility;
pub mod git;
pub mod identity;
pub mod idle;
pub mod included;
pub mod lock;
pub mod measure;
pub mod output;
mod plain;
pub mod pool;
mod procfs;
pub mod redact;
pub mod session;
pub mod shell;
pub mod slots;
pub mod socket;
pub mod system;
pub mod trusted;
mod watch;
pub mod worker;
