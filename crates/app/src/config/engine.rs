//! What the engine is told that is no setting of a task. Unaware of where it comes from.

use ropewalk_core::command::AtStop;
use ropewalk_core::disk::Floor;
use ropewalk_core::limits::Limits;
use ropewalk_core::retention::Retention;

/// Some twenty checkouts of half a gigabyte. A low disk takes all of it back, so it need not fit every machine.
const SPARE_BYTES_MAX: u64 = 10 << 30;

/// How the engine stops, contains its attempts and keeps house.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EngineSettings {
    /// How long attempts have to end by themselves at a stop.
    pub(crate) stop_grace_ms: u64,
    pub(crate) at_stop: AtStop,
    /// The word for the worker: `auto`, `cgroup`, `subreaper` or `group`.
    pub(crate) containment: String,
    /// The room below which no new work starts.
    pub(crate) floor: Floor,
    /// What spares of worktrees may take together.
    pub(crate) spare_bytes_max: u64,
    pub(crate) retention: Retention,
}

impl Default for EngineSettings {
    fn default() -> EngineSettings {
        EngineSettings {
            stop_grace_ms: Limits::default().stop_grace_ms,
            at_stop: AtStop::End,
            containment: "auto".to_owned(),
            floor: Floor::default(),
            spare_bytes_max: SPARE_BYTES_MAX,
            retention: Retention::default(),
        }
    }
}
