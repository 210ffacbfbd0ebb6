//! From rows to a live engine, and the effects that were on their way.

use super::*;
use crate::attempt::{Attempt, AttemptState, StopWhy};
use crate::candidate::Candidate;
use crate::port::Snapshot;

/// The rows of a bench, as a store would load them.
fn snapshot(bench: &Bench) -> Snapshot {
    let engine = &bench.engine;
    let mut tasks: Vec<Task> = engine.tasks.values().map(|live| live.task.clone()).collect();
    tasks.sort_by_key(|task| task.id);
    Snapshot {
        projects: engine.projects.values().cloned().collect(),
        prds: engine.prds().map(|(prd, progress)| (prd.clone(), *progress)).collect(),
        last_task: tasks.last().map_or(0, |task| task.id.0),
        tasks,
        attempts: engine.attempts().map(|(_, attempt): (_, &Attempt)| attempt.clone()).collect(),
        candidates: engine.candidates.values().cloned().collect::<Vec<Candidate>>(),
        last_prd: 1,
        last_project: 1,
        last_time: bench.now,
    }
}

fn recovered(bench: &Bench) -> Vec<Effect> {
    let mut engine = Engine::restore(Limits::default(), snapshot(bench));
    engine.check().expect("the rows are sound");
    let step = engine.recover(bench.now);
    assert_eq!(step.changes, [], "nothing is news");
    engine.check().expect("the invariants hold");
    step.effects
}

fn sweep(live: &[AttemptId]) -> Effect {
    Effect::Sweep { live: live.to_vec() }
}

#[test]
fn every_effect_that_was_on_its_way_is_asked_for_again() {
    let mut bench = Bench::of_with(&[&[], &[]], checked()).0;
    let (one, two) = (attempt(1, 1), attempt(2, 1));
    assert_eq!(recovered(&bench), [sweep(&[one, two]), start(1, 1), start(2, 1)]);
    bench.exits(one, ExitKind::Success);
    assert_eq!(recovered(&bench), [sweep(&[one, two]), Effect::Collect { attempt: one }, start(2, 1)]);
    bench.collected(one);
    assert_eq!(recovered(&bench), [sweep(&[two]), start(2, 1), merge(1, 1, Time(0))]);
    bench.merges(one, MergeResult::Merged(merged('b')));
    let check = Effect::Check { candidate: one, project: ProjectId(1), merged: merged('b'), run: 1 };
    assert_eq!(recovered(&bench), [sweep(&[two]), start(2, 1), check]);
    bench.checks(one, CheckResult::Passed);
    let is_landing = bench.engine.candidates().any(|c| is_landing_state(&c.state));
    assert!(is_landing);
    assert_eq!(recovered(&bench), [sweep(&[two]), start(2, 1), land(1, 1, 'b')]);
}

#[test]
fn an_attempt_that_was_being_stopped_is_found_again_and_stopped() {
    let mut bench = Bench::of(&[&[]]);
    bench.ask(stop_now()).expect("stopping");
    let is_stopping = |(_, attempt): (&Task, &Attempt)| {
        attempt.state == AttemptState::Stopping { why: StopWhy::EngineStops }
    };
    assert!(bench.engine.attempts().all(is_stopping));
    let id = attempt(1, 1);
    let stop = Effect::Stop { attempt: id, at_once: false };
    assert_eq!(recovered(&bench), [sweep(&[id]), start(1, 1), stop]);
}

#[test]
fn a_branch_on_its_way_is_asked_for_again() {
    let mut bench = Bench::with(Settings::default());
    bench.import(import(document(&[&[]]))).expect("accepted");
    let plan = Effect::PlanBranch {
        prd: PRD,
        project: ProjectId(1),
        wanted: branch("feature/PRD-001"),
        base: branch("main"),
    };
    assert_eq!(recovered(&bench), [sweep(&[]), plan]);
    let planned = BranchResult::Planned { name: branch("feature/PRD-001"), at: oid('0') };
    let _ = bench.feed(Event::Branch { prd: PRD, result: planned });
    let name = branch("feature/PRD-001");
    let make = Effect::MakeBranch { prd: PRD, project: ProjectId(1), name, at: oid('0') };
    assert_eq!(recovered(&bench), [sweep(&[]), make]);
}

#[test]
fn what_waits_or_is_parked_asks_for_nothing() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.exits(attempt(1, 1), ExitKind::SetUpFault);
    assert_eq!(recovered(&bench), [sweep(&[])]);
}

#[test]
fn what_a_dirty_checkout_held_up_is_tried_once_more_at_the_next_start() {
    let mut bench = Bench::of(&[&[]]);
    bench.bring_to_landing(attempt(1, 1));
    bench.lands(attempt(1, 1), LandResult::CheckoutDirty { checkout: "/p".into(), detail: "M a.rs".into() });
    assert_eq!(bench.state(1), "parked");
    let mut again = bench.engine.clone();
    assert!(again.recover(bench.now).effects.contains(&merge(1, 1, Time(0))));
}
