//! An engine that comes back to a long queue.

use std::time::{Duration, Instant};

use crate::support::plain::tell;
use crate::support::{Bench, wait_for};

const TASKS: usize = 1_000;
const SLOTS: &str = "20";
const RUNNING: usize = 20;

/// From the start of the program to the first answer of another one. Without optimisation either takes longer.
const SERVING: Duration = Duration::from_millis(if cfg!(debug_assertions) { 4_000 } else { 1_000 });

#[test]
fn a_killed_engine_with_a_thousand_unfinished_tasks_serves_again_in_a_second_and_its_agents_go_on() {
    let bench = Bench::bare_of_repository();
    let agent = bench.agent("gate go");
    bench.add(&agent, &["--count", &TASKS.to_string()]);
    let engine = bench.engine(SLOTS, |_| ());
    wait_for("the first agents", || (bench.record().len() == RUNNING).then_some(()));
    engine.kill();

    let began = Instant::now();
    let engine = bench.spawn_engine(SLOTS, |_| ());
    wait_for("an engine", || bench.is_served().then_some(()));
    let took = began.elapsed();
    tell(&format!("served again after {took:?}"));
    assert!(took < SERVING, "served again only after {took:?}");

    let board = wait_for("all slots", || {
        let board = bench.json(&["status"])["board"].clone();
        let running = board["running"].as_array().expect("running").clone();
        let settled = running.len() == RUNNING && running.iter().all(|line| line["state"] == "running");
        settled.then_some(running)
    });
    assert!(board.iter().all(|line| line["attempt"] == 1), "no attempt is made twice: {board:?}");
    let listed = bench.listed();
    assert_eq!(listed.len(), RUNNING, "nobody else was started");
    assert!(listed.iter().all(super::support::processes::Listed::is_alive), "all of them go on");
    drop(engine);
    bench.kill_all();
}
