//! Checkpoints: asked for, by the timer, and gone on from.

use super::*;
use crate::change::Change;
use crate::checkpoint::{Checkpoint, CheckpointFacts, CheckpointWhy};
use crate::command::FromCheckpoint;

fn facts(digit: char) -> CheckpointFacts {
    CheckpointFacts {
        commit: oid(digit),
        start: oid('0'),
        session: Some("s-1".into()),
        stdout_bytes: 7,
        stderr_bytes: 0,
    }
}

fn take(why: CheckpointWhy) -> Effect {
    Effect::Checkpoint { attempt: attempt(1, 1), why }
}

fn running() -> Bench {
    let mut bench = Bench::of(&[&[]]);
    let started = Event::AttemptStarted { attempt: attempt(1, 1), start: Some(oid('0')), rung: None };
    let _ = bench.feed(started);
    bench
}

#[test]
fn a_checkpoint_is_taken_when_asked_for_and_by_the_timer() {
    let mut bench = running();
    assert_eq!(bench.command(Command::Checkpoint { task: TaskId(1) }).1, [take(CheckpointWhy::Asked)]);
    let result = Ok(facts('a'));
    let taken = Event::Checkpointed { attempt: attempt(1, 1), why: CheckpointWhy::Asked, result };
    let step = bench.feed(taken);
    let Some(Change::CheckpointPut { checkpoint, kept }) = step.changes.first() else { panic!("{step:?}") };
    assert_eq!((checkpoint.number, *kept), (1, bench.engine.limits().checkpoints_kept));
    let every = bench.engine.limits().checkpoint_every_ms;
    let mut effects = Vec::new();
    while bench.now < Time(0).plus_ms(every) {
        let _ = bench.after_ms(30_000).feed(Event::AttemptAlive { attempt: attempt(1, 1) });
        effects.extend(bench.feed(Event::Tick).effects);
    }
    assert_eq!(effects, [take(CheckpointWhy::Timer)]);
}

#[test]
fn what_does_not_run_has_no_checkpoint_to_take() {
    let mut bench = Bench::of(&[&[]]);
    bench.ends(attempt(1, 1), ExitKind::Failure);
    assert!(bench.ask(Command::Checkpoint { task: TaskId(1) }).is_err());
    assert!(bench.ask(Command::Checkpoint { task: TaskId(9) }).is_err());
    bench.add(folder(), &[]);
    assert!(bench.ask(Command::Checkpoint { task: TaskId(2) }).is_err());
}

#[test]
fn a_retry_goes_on_from_the_named_checkpoint_and_no_other() {
    let mut bench = running();
    bench.ends(attempt(1, 1), ExitKind::SetUpFault);
    assert_eq!(bench.state(1), "parked");
    let checkpoint = |number, digit| Checkpoint {
        attempt: attempt(1, 1),
        number,
        at: Time(1),
        why: CheckpointWhy::Timer,
        facts: facts(digit),
    };
    let known = || Known { checkpoints: vec![checkpoint(1, 'a'), checkpoint(2, 'b')], ..Known::default() };
    let retry = |from| Command::Retry { task: TaskId(1), from: Some(from) };
    let absent = FromCheckpoint::Of { attempt: 1, number: 3 };
    assert!(bench.command_knowing(retry(absent), known()).0.is_err());
    assert_eq!(bench.state(1), "parked");
    let (answer, effects) =
        bench.command_knowing(retry(FromCheckpoint::Of { attempt: 1, number: 1 }), known());
    assert!(answer.is_ok());
    assert_eq!(effects, [start(1, 2)]);
    let (_, live) = bench.engine.attempts().next().expect("leased");
    assert_eq!(live.resume.as_ref().map(|resume| resume.commit.clone()), Some(oid('a')));
    // Used once: the attempt after it starts at the branch again.
    assert_eq!(bench.task(1).resume, None);
}
