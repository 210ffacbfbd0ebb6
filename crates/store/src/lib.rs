//! Where Ropewalk keeps its rows. Knows SQL and files; unaware of why a row changes.
//!
//! [`SqliteStore`] is the store on one machine. [`conformance`] is what every store must pass, the simulation's
//! included; it is behind no feature, and a program that does not call it does not carry it.

pub mod conformance;
mod document;
mod sqlite;

pub use document::{Document, STORY_TITLES_BYTES_MAX};
pub use sqlite::{SqliteReader, SqliteStore, WriteCounts, sqlite_version};
