//! The git part of the host, against real git.

mod canaries;
mod checkpoint;
mod collect;
mod discover;
mod kept_out;
mod land;
mod merge;
mod refs;
mod release;
mod rescue;
mod spares;
mod whole_way;
mod worktree;
mod world;
