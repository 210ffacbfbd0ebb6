//! Trains, against an independent oracle and real git.

mod history;
mod oracle;
mod random_histories;
mod train;
