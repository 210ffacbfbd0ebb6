//! The keys of the engine: how it stops, how it contains, what it keeps on the disk.

use ropewalk_core::disk::Floor;
use ropewalk_core::retention::Retention;

use super::Key;
use crate::config::engine::EngineSettings;
use crate::config::value::{Kind, Least, TEN_YEARS_MS, Value};

/// The longest that a stop waits: whoever wants to wait longer waits, and then stops.
pub(crate) const STOP_GRACE_MS_MAX: u64 = 60 * 60_000;

const KEEP: Kind = Kind::Duration { least: Least::Zero, ms_max: |_| TEN_YEARS_MS };

pub(super) static KEYS: [Key; 9] = [
    Key {
        path: "engine.stop_grace",
        kind: Kind::Duration { least: Least::Zero, ms_max: |_| STOP_GRACE_MS_MAX },
        flag: None,
        default: |limits| Some(Value::DurationMs(limits.stop_grace_ms)),
        example: None,
        doc: "How long attempts have to end by themselves when the engine is stopped.",
        apply: |effective, value| set(&mut effective.engine.stop_grace_ms, value.duration_ms()),
    },
    Key {
        path: "engine.at_stop",
        kind: Kind::Choice(&["end", "leave"]),
        flag: None,
        default: |_| Some(Value::Text("end".to_owned())),
        example: None,
        doc: "What a stop does with attempts that still run then: it ends them, or leaves them to go on alone.",
        apply: |effective, value| set(&mut effective.engine.at_stop, value.word()),
    },
    Key {
        path: "engine.containment",
        kind: Kind::Choice(&["auto", "cgroup", "subreaper", "group"]),
        flag: None,
        default: |_| Some(Value::Text("auto".to_owned())),
        example: None,
        doc: "How an attempt's processes are kept together; \"auto\" is the best that `ropewalk doctor` finds.",
        apply: |effective, value| set(&mut effective.engine.containment, value.text()),
    },
    Key {
        path: "engine.disk_floor",
        kind: Kind::Size { min: 0 },
        flag: None,
        default: |_| Some(Value::SizeBytes(Floor::default().bytes)),
        example: None,
        doc: "How much of the disk must be free for new work to begin, at most a tenth of it; 0: no matter.",
        apply: |effective, value| set(&mut effective.engine.floor, value.size_bytes().map(floor)),
    },
    Key {
        path: "engine.spare_space",
        kind: Kind::Size { min: 0 },
        flag: None,
        default: |_| Some(Value::SizeBytes(EngineSettings::default().spare_bytes_max)),
        example: None,
        doc: "How much cleaned worktrees that wait for their next use may take, the oldest go first; 0: none wait.",
        apply: |effective, value| set(&mut effective.engine.spare_bytes_max, value.size_bytes()),
    },
    Key {
        path: "engine.compress_after",
        kind: KEEP,
        flag: None,
        default: |_| Some(Value::DurationMs(Retention::default().compress_after_ms)),
        example: None,
        doc: "How long after its end an attempt's output is compressed.",
        apply: |effective, value| set(&mut effective.engine.retention.compress_after_ms, value.duration_ms()),
    },
    Key {
        path: "engine.keep",
        kind: KEEP,
        flag: None,
        default: |_| Some(Value::DurationMs(Retention::default().keep_ms)),
        example: None,
        doc: "How long the output of an attempt that passed is kept.",
        apply: |effective, value| set(&mut effective.engine.retention.keep_ms, value.duration_ms()),
    },
    Key {
        path: "engine.keep_failed",
        kind: KEEP,
        flag: None,
        default: |_| Some(Value::DurationMs(Retention::default().keep_failed_ms)),
        example: None,
        doc: "How long the output of any other attempt is kept.",
        apply: |effective, value| set(&mut effective.engine.retention.keep_failed_ms, value.duration_ms()),
    },
    Key {
        path: "engine.state_max",
        kind: Kind::Size { min: 1 },
        flag: None,
        default: |_| Some(Value::SizeBytes(Retention::default().state_bytes_max)),
        example: None,
        doc: "How much the folders of all attempts may take together; the oldest output goes first.",
        apply: |effective, value| set(&mut effective.engine.retention.state_bytes_max, value.size_bytes()),
    },
];

/// A value of the wrong kind changes nothing; the table's own test would see it.
fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Without a floor for bytes there is none for files either.
fn floor(bytes: u64) -> Floor {
    if bytes == 0 { Floor { bytes, inodes: 0 } } else { Floor { bytes, ..Floor::default() } }
}
