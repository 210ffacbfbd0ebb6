//! Stops with a grace, shortages of room, samples.

use super::*;
use crate::change::Change;
use crate::sample::Machine;

fn ask_stop(bench: &mut Bench, grace_ms: u64, then: AtStop) -> Vec<Effect> {
    bench.command(Command::Stop { grace_ms, then }).1
}

fn stop(task: u64) -> Effect {
    Effect::Stop { attempt: attempt(task, 1), at_once: false }
}

#[test]
fn a_stop_waits_for_its_grace_and_then_ends_what_still_runs() {
    let mut bench = Bench::of(&[&[], &[], &[]]);
    assert_eq!(ask_stop(&mut bench, 60_000, AtStop::End), []);
    assert_eq!(bench.engine.next_timer(), Some(bench.now.plus_ms(60_000)));
    // One ends by itself: its work counts, and nothing new takes its slot.
    bench.ends(attempt(1, 1), ExitKind::Failure);
    assert!(!bench.engine.is_quiet());
    assert_eq!(bench.after_ms(59_999).feed(Event::Tick).effects, []);
    assert_eq!(bench.after_ms(1).feed(Event::Tick).effects, [stop(2), stop(3)]);
    for task in 2..=3 {
        bench.ends(attempt(task, 1), ExitKind::Stopped);
    }
    assert!(bench.engine.is_quiet() && !bench.engine.leaves_attempts());
}

#[test]
fn a_stop_that_leaves_is_quiet_when_its_grace_is_over() {
    let mut bench = Bench::of(&[&[], &[]]);
    assert_eq!(ask_stop(&mut bench, 1_000, AtStop::Leave), []);
    assert!(!bench.engine.is_quiet());
    assert_eq!(bench.after_ms(1_000).feed(Event::Tick).effects, []);
    assert!(bench.engine.is_quiet() && bench.engine.leaves_attempts());
    assert_eq!(bench.state(1), "leased");
}

#[test]
fn a_second_stop_can_only_shorten_the_grace() {
    let mut bench = Bench::of(&[&[]]);
    ask_stop(&mut bench, 60_000, AtStop::End);
    ask_stop(&mut bench, 600_000, AtStop::End);
    assert_eq!(bench.engine.stop_left_ms(bench.now), Some(60_000));
    assert_eq!(ask_stop(&mut bench, 0, AtStop::End), [stop(1)]);
}

#[test]
fn what_a_stop_ended_goes_on_from_where_it_was() {
    let mut bench = Bench::of(&[&[]]);
    let started = Event::AttemptStarted { attempt: attempt(1, 1), start: Some(oid('0')), rung: None };
    let _ = bench.feed(started);
    ask_stop(&mut bench, 0, AtStop::End);
    bench.exits(attempt(1, 1), ExitKind::Stopped);
    let collected = Collected::Commit { head: oid('c'), changed: true };
    let step = bench.feed(Event::AttemptCollected { attempt: attempt(1, 1), collected });
    let commit_of = |change: &Change| match change {
        Change::CheckpointPut { checkpoint, .. } => Some(checkpoint.facts.commit.clone()),
        _ => None,
    };
    let is_end = |change: &Change| commit_of(change) == Some(oid('c'));
    assert!(step.changes.iter().any(is_end));
    let resume = bench.task(1).resume.clone().expect("the end is a checkpoint");
    assert_eq!((resume.commit, resume.start), (oid('c'), oid('0')));
}

#[test]
fn without_room_nothing_starts_and_why_says_so_until_there_is_room() {
    let mut bench = Bench::of(&[&[], &[1]]);
    let shortage = Some("/x has 3 MB free".to_owned());
    let _ = bench.feed(Event::Room { shortage });
    bench.ends(attempt(1, 1), ExitKind::Failure);
    assert_eq!(bench.after_ms(600_000).feed(Event::Tick).effects, []);
    let why = bench.engine.why(TaskId(1)).expect("in memory");
    assert!(why.reasons.iter().any(|reason| reason.contains("/x has 3 MB free")), "{why:?}");
    assert_eq!(bench.feed(Event::Room { shortage: None }).effects, [start(1, 2)]);
}

#[test]
fn a_sample_counts_what_ended_since_the_last() {
    let mut bench = Bench::of(&[&[], &[]]);
    let sampled = |bench: &mut Bench| {
        let step = bench.feed(Event::Sampled { machine: Machine::default() });
        let Some(Change::SampleAdded(sample)) = step.changes.into_iter().next() else { panic!("no sample") };
        *sample
    };
    let _ = bench.after_ms(4_000).feed(Event::Tick);
    bench.ends(attempt(1, 1), ExitKind::Failure);
    let first = sampled(&mut bench);
    assert_eq!((first.running, first.queued, first.failed, first.mean_attempt_ms), (1, 1, 1, Some(4_000)));
    assert_eq!(sampled(&mut bench).mean_attempt_ms, None);
}

#[test]
fn a_prd_that_is_stopped_ends_what_runs_and_goes_on_when_it_is_approved_again() {
    let mut bench = Bench::of(&[&[], &[1]]);
    let (answer, effects) = bench.command(Command::Hold { prd: PRD });
    answer.expect("it is active");
    assert_eq!(effects, [Effect::Stop { attempt: attempt(1, 1), at_once: false }]);
    let effects = bench.ends(attempt(1, 1), ExitKind::Stopped);
    assert!(!effects.contains(&start(1, 2)), "{effects:?}");
    assert_eq!(bench.task(1).tally.failures, 0);
    assert!(bench.ask(Command::Hold { prd: PRD }).is_err(), "it is stopped already");
    assert_eq!(bench.command(Command::Approve { prd: PRD }).1, [start(1, 2)]);
}

#[test]
fn prds_take_turns_and_the_next_begins_when_one_has_nothing_more_to_do() {
    let mut bench = Bench::of(&[&[]]);
    bench.ask(Command::SetPrdsAtOnce { prds: 1 }).expect("one");
    let other = PrdDocument { key: PrdKey::new("PRD-002").ok(), ..document(&[&[]]) };
    let command = Command::ImportPrd(Box::new(import(other)));
    bench.ask(command).expect("accepted");
    let planned = BranchResult::Planned { name: branch("feature/PRD-002"), at: oid('0') };
    let _ = bench.feed(Event::Branch { prd: PrdNumber(2), result: planned });
    let step = bench.feed(Event::Branch { prd: PrdNumber(2), result: BranchResult::Made });
    assert_eq!(step.effects, [], "the first PRD has the only turn");
    assert!(bench.why(2).contains("waits for its turn behind PRD-001"), "{}", bench.why(2));
    assert_eq!(bench.succeeds(attempt(1, 1)), [start(2, 1)]);
}
