//! `status --system`: how the machine and the attempts have fared.

use ropewalk_core::disk::size;
use ropewalk_core::sample::Sample;
use ropewalk_core::time::Time;
use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::session::Session;

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;
use crate::progress::clock;
use crate::table::{span, table};

/// What is shown: the last hour.
const SHOWN_MS: i64 = 60 * 60_000;

/// Lines of the table: one for each five minutes of that hour.
const LINES: i64 = 12;

pub(crate) fn show(place: &Place, session: &mut Session, out: &Out) -> Result<u8, Failure> {
    let now = ropewalk_host::clock::wall_ms();
    let request = Request::Samples { since: Time(now - SHOWN_MS), limit: usize::MAX };
    let samples = match place.ask(session, request)? {
        Response::Samples(samples) => samples,
        response => return Err(Failure::unexpected(&response)),
    };
    if out.is_json() {
        out.json(&serde_json::json!({"engine": session.has_engine(), "samples": samples}));
        return Ok(0);
    }
    let Some(last) = samples.last() else {
        out.say("no samples of the last hour; one is taken every 10 s while there is work");
        return Ok(0);
    };
    out.say(&words(last));
    let rows = thinned(&samples).into_iter().map(|sample| {
        let machine = &sample.machine;
        let pressure = machine.pressure.unwrap_or_default();
        vec![
            clock(sample.at.0),
            sample.running.to_string(),
            sample.queued.to_string(),
            sample.mean_attempt_ms.map(span).unwrap_or_default(),
            machine.cpu_permille.map(percent).unwrap_or_default(),
            machine.load_1m_milli.map(thousandths).unwrap_or_default(),
            used(sample).map(size).unwrap_or_default(),
            percent(pressure.cpu_some_permille),
            percent(pressure.memory_some_permille),
            percent(pressure.io_some_permille),
        ]
    });
    let headings = [
        "at",
        "running",
        "queued",
        "mean time",
        "cpu",
        "load",
        "memory",
        "cpu wait",
        "memory wait",
        "io wait",
    ];
    out.say(&format!("\n{}", table(&headings, rows)));
    Ok(0)
}

/// The first sample of each stretch of time, and the last of all.
fn thinned(samples: &[Sample]) -> Vec<&Sample> {
    let mut shown: Vec<&Sample> = Vec::new();
    for sample in samples {
        let is_new = shown.last().is_none_or(|last| {
            let stretch = |time: Time| time.0.div_euclid(SHOWN_MS / LINES);
            stretch(last.at) != stretch(sample.at)
        });
        if is_new {
            shown.push(sample);
        }
    }
    let last = samples.last().filter(|last| shown.last().is_none_or(|shown| shown.at != last.at));
    shown.extend(last);
    shown
}

fn words(sample: &Sample) -> String {
    let machine = &sample.machine;
    let mut parts = Vec::new();
    parts.extend(machine.cpu_permille.map(|share| format!("{} busy", percent(share))));
    let loads = [machine.load_1m_milli, machine.load_5m_milli, machine.load_15m_milli];
    if let [Some(one), Some(five), Some(fifteen)] = loads.map(|load| load.map(thousandths)) {
        parts.push(format!("load {one} {five} {fifteen}"));
    }
    if let (Some(used), Some(total)) = (used(sample), machine.memory_total_bytes) {
        parts.push(format!("{} of {} memory in use", size(used), size(total)));
    }
    if let Some(pressure) = machine.pressure {
        parts.push(format!(
            "waiting for cpu {}, memory {}, io {}",
            percent(pressure.cpu_some_permille),
            percent(pressure.memory_some_permille),
            percent(pressure.io_some_permille)
        ));
    }
    let mean = sample.mean_attempt_ms.map(|ms| format!(", {} on the mean", span(ms))).unwrap_or_default();
    format!(
        "machine   {}\nattempts  {} running, {} queued, {} passed and {} failed since the engine began{mean}",
        parts.join(", "),
        sample.running,
        sample.queued,
        sample.done,
        sample.failed
    )
}

fn used(sample: &Sample) -> Option<u64> {
    let machine = &sample.machine;
    Some(machine.memory_total_bytes?.saturating_sub(machine.memory_available_bytes?))
}

fn percent(permille: u32) -> String {
    format!("{} %", permille.div_ceil(10))
}

fn thousandths(milli: u64) -> String {
    format!("{}.{:02}", milli / 1_000, milli % 1_000 / 10)
}

#[cfg(test)]
mod tests {
    use ropewalk_core::sample::{Machine, Pressure};

    use super::*;

    fn sample(at: i64) -> Sample {
        let machine = Machine {
            cpu_permille: Some(123),
            memory_total_bytes: Some(8 << 30),
            memory_available_bytes: Some(6 << 30),
            load_1m_milli: Some(1_230),
            load_5m_milli: Some(500),
            load_15m_milli: Some(40),
            pressure: Some(Pressure::default()),
        };
        Sample { at: Time(at), machine, running: 1, queued: 2, done: 3, failed: 4, mean_attempt_ms: None }
    }

    #[test]
    fn an_hour_of_samples_becomes_a_dozen_lines_and_the_last() {
        let samples: Vec<_> = (0..360).map(|n| sample(n * 10_000)).collect();
        let shown: Vec<_> = thinned(&samples).iter().map(|sample| sample.at.0).collect();
        assert_eq!((shown.len(), shown[0], shown[1], shown[12]), (13, 0, 300_000, 3_590_000));
    }

    #[test]
    fn a_sample_reads_as_two_lines() {
        let text = words(&sample(0));
        assert!(
            text.starts_with("machine   13 % busy, load 1.23 0.50 0.04, 2.0 GiB of 8.0 GiB memory"),
            "{text}"
        );
        assert!(text.contains("attempts  1 running, 2 queued, 3 passed and 4 failed"), "{text}");
    }
}
