//! The pure state machine of Ropewalk.
//!
//! A closed list of things that can happen ([`event::Event`]) is fed, one at a time, to the [`engine::Engine`],
//! which cannot touch the world. It answers with data: what must become durable ([`change::Change`]) and what to
//! do next ([`effect::Effect`]). [`turn`] is the loop's body: decide, apply, record, act.
//!
//! This crate never reads time, chance, environment, files or network; `clippy.toml` beside it says so to the
//! compiler.

pub mod attempt;
pub mod candidate;
pub mod change;
pub mod checkpoint;
pub mod command;
pub mod disk;
pub mod effect;
pub mod engine;
pub mod event;
pub mod graph;
pub mod id;
pub mod keep;
pub mod limits;
pub mod merges;
pub mod plan;
pub mod port;
pub mod prd;
pub mod priority;
pub mod prompt;
pub mod resource;
pub mod retention;
pub mod retry;
pub mod row;
pub mod sample;
pub mod scope;
pub mod search;
pub mod settings;
pub mod setup;
pub mod task;
pub mod time;
pub mod turn;
pub mod view;
