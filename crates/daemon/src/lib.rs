//! The loop that joins the pure core to the store and the machine.
//!
//! [`driver`] owns the engine and turns the crank, [`door`] is the way in; `machine` performs effects and
//! reports what happened; [`api`] is what front ends may ask; [`session`] finds the engine that serves a state
//! folder, or opens the store for as long as one question takes; [`doctor`] looks at the machine.

mod answer;
pub mod api;
pub mod doctor;
pub mod door;
pub mod driver;
pub mod import;
mod ipc;
mod machine;
pub mod session;
