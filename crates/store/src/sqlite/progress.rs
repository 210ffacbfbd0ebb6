//! How many tasks of a PRD are in which state: counted as they move, never by reading the tasks.

use std::collections::BTreeMap;

use ropewalk_core::id::PrdNumber;
use ropewalk_core::row::Progress;
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::sql::{number, run};

/// Columns of `progress` in the order of [`slot`]; absent when a PRD has no task yet.
macro_rules! progress_columns {
    () => {
        "coalesce(blocked, 0), coalesce(ready, 0), coalesce(leased, 0), coalesce(landing, 0), \
         coalesce(done, 0), coalesce(parked, 0), coalesce(cancelled, 0)"
    };
}
pub(crate) use progress_columns;

/// What one commit adds to the counters, PRD by PRD; written once at its end.
#[derive(Debug, Default)]
pub(crate) struct Delta(BTreeMap<PrdNumber, [i64; 7]>);

impl Delta {
    /// `by` tasks more in the state of that name (`TaskState::name`).
    pub(crate) fn count(&mut self, prd: PrdNumber, state: &str, by: i64) -> Result<(), Fault> {
        let slot = slot(state).ok_or_else(|| Fault::Damaged(format!("{state:?} is no state of a task")))?;
        self.0.entry(prd).or_default()[slot] += by;
        Ok(())
    }

    pub(crate) fn write(self, connection: &Connection) -> Result<(), Fault> {
        const SQL: &str =
            "insert into progress (prd, blocked, ready, leased, landing, done, parked, cancelled)
            values ($1, $2, $3, $4, $5, $6, $7, $8)
            on conflict (prd) do update set
                blocked = blocked + excluded.blocked, ready = ready + excluded.ready,
                leased = leased + excluded.leased, landing = landing + excluded.landing,
                done = done + excluded.done, parked = parked + excluded.parked,
                cancelled = cancelled + excluded.cancelled";
        for (prd, d) in self.0.into_iter().filter(|(_, d)| d.iter().any(|by| *by != 0)) {
            run(connection, SQL, params![prd.0, d[0], d[1], d[2], d[3], d[4], d[5], d[6]])?;
        }
        Ok(())
    }
}

fn slot(state: &str) -> Option<usize> {
    ["blocked", "ready", "leased", "landing", "done", "parked", "cancelled"].iter().position(|s| *s == state)
}

/// Reads [`progress_columns`] from column `first` on.
pub(crate) fn read(row: &Row<'_>, first: usize) -> Result<Progress, Fault> {
    let at = |slot: usize| number::<u32>(row, first + slot);
    let mut progress = Progress {
        stories: 0,
        blocked: at(0)?,
        ready: at(1)?,
        running: at(2)?,
        landing: at(3)?,
        done: at(4)?,
        parked: at(5)?,
        cancelled: at(6)?,
    };
    let Progress { stories, done, cancelled, parked, running, landing, ready, blocked } = &mut progress;
    *stories = [*done, *cancelled, *parked, *running, *landing, *ready, *blocked]
        .iter()
        .fold(0u32, |sum, n| sum.saturating_add(*n));
    Ok(progress)
}
