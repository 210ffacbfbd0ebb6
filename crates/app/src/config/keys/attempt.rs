//! The keys of attempts and of checks: time, bounds, secrets, output, checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use super::{ENV, Flag, Key, SECRETS, TIMEOUT_MAX, each, one};
use crate::config::value::{Kind, Least, TEN_YEARS_MS, Value};

/// The longest that anybody may let an attempt take, and whatever is counted within one: a week. An agent that has
/// been forgotten for longer is found by its bill.
const TIMEOUT_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// Linux has no more process ids (PID_MAX_LIMIT).
const PROCESSES_MAX: u64 = 1 << 22;

/// Linux lets no process have more files open, unless fs.nr_open is raised.
const OPEN_FILES_MAX: u64 = 1 << 20;

/// The weakest claim on the processor that there is.
const NICE_MAX: u64 = 19;

/// Zero bytes would end every attempt.
const SIZE: Kind = Kind::Size { min: 1 };

pub(super) static KEYS: [Key; 22] = [
    Key {
        path: TIMEOUT_MAX,
        kind: Kind::Duration { least: Least::Some, ms_max: |_| TIMEOUT_MS_MAX },
        flag: None,
        default: |limits| Some(Value::DurationMs(limits.timeout_ms_max)),
        example: None,
        doc: "The most that attempt.timeout, check.timeout and --timeout may be.",
        // A rule between keys, and no setting of core's: see `rules`.
        apply: |_, _| (),
    },
    Key {
        path: "attempt.timeout",
        kind: Kind::Timeout,
        flag: Some(Flag { name: "--timeout", texts: |flags| one(&flags.timeout) }),
        default: |limits| Some(Value::DurationMs(limits.timeout_ms)),
        example: None,
        doc: "How long an attempt may take; by default not more than attempt.timeout_max either.",
        apply: |effective, value| effective.settings.timeout_ms = value.duration_ms(),
    },
    Key {
        path: "attempt.stall",
        kind: Kind::Duration { least: Least::Off, ms_max: |_| TIMEOUT_MS_MAX },
        flag: Some(Flag { name: "--stall", texts: |flags| one(&flags.stall) }),
        default: |_| Some(Value::Off),
        example: None,
        doc: "How long an attempt may neither print nor use the processor before it is ended.",
        apply: |effective, value| effective.settings.stall_ms = value.duration_ms(),
    },
    Key {
        path: "attempt.kill_grace",
        kind: Kind::Duration { least: Least::Zero, ms_max: |limits| limits.kill_grace_ms_max },
        flag: None,
        default: |limits| Some(Value::DurationMs(limits.kill_grace_ms)),
        example: None,
        doc: "How long an attempt that is to end has from SIGTERM to SIGKILL.",
        apply: |effective, value| effective.settings.kill_grace_ms = value.duration_ms(),
    },
    Key {
        path: "attempt.memory",
        kind: SIZE,
        flag: Some(Flag { name: "--memory", texts: |flags| one(&flags.memory) }),
        default: |_| None,
        example: Some("\"4GiB\""),
        doc: "How much memory all processes of an attempt may hold together.",
        apply: |effective, value| effective.settings.bounds.memory_bytes = value.size_bytes(),
    },
    Key {
        path: "attempt.cpu_time",
        kind: Kind::Duration { least: Least::Some, ms_max: |_| TEN_YEARS_MS },
        flag: Some(Flag { name: "--cpu-time", texts: |flags| one(&flags.cpu_time) }),
        default: |_| None,
        example: Some("\"1h\""),
        doc: "How much processor time all processes of an attempt may use together.",
        apply: |effective, value| effective.settings.bounds.cpu_ms = value.duration_ms(),
    },
    Key {
        path: "attempt.processes",
        kind: Kind::Whole { min: 1, max: |_| PROCESSES_MAX },
        flag: Some(Flag { name: "--processes", texts: |flags| one(&flags.processes) }),
        default: |_| None,
        example: Some("500"),
        doc: "How many processes and threads of an attempt there may be at once.",
        apply: |effective, value| effective.settings.bounds.processes = value.whole(),
    },
    Key {
        path: "attempt.open_files",
        kind: Kind::Whole { min: 1, max: |_| OPEN_FILES_MAX },
        flag: Some(Flag { name: "--open-files", texts: |flags| one(&flags.open_files) }),
        default: |_| None,
        example: Some("4096"),
        doc: "How many files one process of an attempt may have open.",
        apply: |effective, value| effective.settings.bounds.open_files = value.whole(),
    },
    Key {
        path: "attempt.file_size",
        kind: SIZE,
        flag: Some(Flag { name: "--file-size", texts: |flags| one(&flags.file_size) }),
        default: |_| None,
        example: Some("\"10GiB\""),
        doc: "How large any one file that an attempt writes may be, its output included.",
        apply: |effective, value| effective.settings.bounds.file_bytes = value.size_bytes(),
    },
    Key {
        path: "attempt.nice",
        kind: Kind::Whole { min: 0, max: |_| NICE_MAX },
        flag: Some(Flag { name: "--nice", texts: |flags| one(&flags.nice) }),
        default: |_| None,
        example: Some("10"),
        doc: "How much an attempt gives way to others on the processor: 0 as usual, 19 only when nobody else wants it.",
        apply: |effective, value| effective.settings.bounds.nice = value.whole(),
    },
    Key {
        path: "attempt.attempts_max",
        kind: Kind::Whole { min: 1, max: |limits| u64::from(limits.attempts_max_max) },
        flag: Some(Flag { name: "--attempts", texts: |flags| one(&flags.attempts) }),
        default: |limits| Some(Value::Whole(u64::from(limits.attempts_max))),
        example: None,
        doc: "How many failed attempts park a task.",
        apply: |effective, value| effective.settings.attempts_max = value.whole(),
    },
    Key {
        path: "attempt.same_fault_max",
        kind: Kind::Whole { min: 1, max: |limits| u64::from(limits.same_fault_max_max) },
        flag: None,
        default: |limits| Some(Value::Whole(u64::from(limits.same_fault_max))),
        example: None,
        doc: "How often in a row the same fault may end a task's attempts before the task is parked.",
        apply: |effective, value| effective.settings.same_fault_max = value.whole(),
    },
    Key {
        path: "attempt.require_change",
        kind: Kind::Switch,
        flag: None,
        default: |_| Some(Value::Switch(true)),
        example: None,
        doc: "Whether an attempt that changed nothing counts as failed.",
        apply: |effective, value| effective.settings.require_change = value.switch(),
    },
    Key {
        path: ENV,
        kind: Kind::Variables,
        flag: Some(Flag { name: "--env", texts: |flags| each(&flags.env) }),
        default: |_| Some(Value::Variables(BTreeMap::new())),
        example: Some("[\"NAME\", \"NAME=VALUE\"]"),
        doc: "Variables for the agent: NAME is copied from yours, NAME=VALUE is set; added to those of \
        lower layers.",
        apply: |effective, value| effective.settings.env = value.variables().unwrap_or_default(),
    },
    Key {
        path: SECRETS,
        kind: Kind::Names,
        flag: Some(Flag { name: "--secret", texts: |flags| each(&flags.secrets) }),
        default: |_| Some(Value::Names(BTreeSet::new())),
        example: Some("[\"API_KEY\"]"),
        doc: "Variables of yours that the agent gets and whose values never reach the disk, printed or not; added to those of \
        lower layers.",
        apply: |effective, value| {
            effective.settings.secrets = value.names().map(|names| names.into_iter().collect());
        },
    },
    Key {
        path: "attempt.filter_output",
        kind: Kind::Switch,
        flag: None,
        default: |_| Some(Value::Switch(false)),
        example: None,
        doc: "Whether known patterns of keys are kept out of the stored output even if no secret is named.",
        apply: |effective, value| effective.settings.filter_output = value.switch(),
    },
    Key {
        path: "attempt.output_max",
        kind: SIZE,
        flag: None,
        default: |limits| Some(Value::SizeBytes(limits.output_bytes_max)),
        example: None,
        doc: "How much of an attempt's output is kept, stdout and stderr together.",
        apply: |effective, value| effective.settings.output_bytes_max = value.size_bytes(),
    },
    Key {
        path: "attempt.on_output_full",
        kind: Kind::Choice(&["drop", "end"]),
        flag: None,
        default: |_| Some(Value::Text("drop".to_owned())),
        example: None,
        doc: "What happens to output beyond that: the middle is not kept, or the attempt ends.",
        apply: |effective, value| effective.settings.on_output_full = value.word(),
    },
    Key {
        path: "attempt.checkpoint_every",
        kind: Kind::Duration { least: Least::Off, ms_max: |_| TIMEOUT_MS_MAX },
        flag: None,
        default: |limits| Some(Value::DurationMs(limits.checkpoint_every_ms)),
        example: None,
        doc: "How long a running attempt goes on from one checkpoint to the next; its end makes one in any case.",
        apply: |effective, value| effective.settings.checkpoint_every_ms = value.duration_ms(),
    },
    Key {
        path: "attempt.checkpoints_kept",
        kind: Kind::Whole { min: 1, max: |limits| u64::from(limits.checkpoints_kept_max) },
        flag: None,
        default: |limits| Some(Value::Whole(u64::from(limits.checkpoints_kept))),
        example: None,
        doc: "How many checkpoints of a task are kept.",
        apply: |effective, value| effective.settings.checkpoints_kept = value.whole(),
    },
    Key {
        path: "check.commands",
        kind: Kind::Commands,
        flag: Some(Flag { name: "--check", texts: |flags| each(&flags.checks) }),
        default: |_| Some(Value::Commands(Vec::new())),
        example: Some("[\"cargo test\"]"),
        doc: "Commands that must succeed on the merged tree before it lands.",
        apply: |effective, value| effective.settings.checks = value.commands(),
    },
    Key {
        path: "check.timeout",
        // An attempt's maximum serves a check as well: both hold a slot, and neither may hold it all night.
        kind: Kind::Timeout,
        flag: None,
        default: |limits| Some(Value::DurationMs(limits.check_timeout_ms)),
        example: None,
        doc: "How long a check may take; by default not more than attempt.timeout_max either.",
        apply: |effective, value| effective.settings.check_timeout_ms = value.duration_ms(),
    },
];
