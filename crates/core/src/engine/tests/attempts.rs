//! Attempts: how they end, and what comes of it.

use super::*;
use crate::attempt::Outcome;
use crate::change::Change;
use crate::resource::{Resource, Rung};
use crate::task::{ParkReason, TaskState};

#[test]
fn a_passing_story_lands_and_unlocks_its_dependents() {
    let (mut bench, effects) = Bench::of_with(&[&[], &[1]], Settings::default());
    assert_eq!(effects, [start(1, 1)]);
    assert_eq!(
        bench.feed(Event::AttemptStarted { attempt: attempt(1, 1), start: None, rung: None }).effects,
        []
    );
    assert_eq!(bench.exits(attempt(1, 1), ExitKind::Success), [Effect::Collect { attempt: attempt(1, 1) }]);
    let release = Effect::Release { attempt: attempt(1, 1) };
    assert_eq!(bench.collected(attempt(1, 1)), [release, merge(1, 1, Time(0))]);
    assert_eq!(bench.merges(attempt(1, 1), MergeResult::Merged(merged('b'))), [land(1, 1, 'b')]);
    assert_eq!((bench.state(1), bench.state(2)), ("landing", "blocked"));
    assert_eq!(bench.lands(attempt(1, 1), LandResult::Landed), [start(2, 1)]);
    assert_eq!((bench.state(1), bench.state(2)), ("forgotten", "leased"));
}

#[test]
fn a_failure_waits_then_tries_again_and_parks_at_the_third() {
    let mut bench = Bench::of(&[&[]]);
    for number in 1..=2 {
        let release = Effect::Release { attempt: attempt(1, number) };
        assert_eq!(bench.ends(attempt(1, number), ExitKind::Failure), [release]);
        assert!(is_ready_later(bench.task(1), bench.now));
        let timer = bench.engine.next_timer().expect("the end of the wait");
        bench.now = timer;
        assert_eq!(bench.feed(Event::Tick).effects, [start(1, number + 1)]);
    }
    bench.ends(attempt(1, 3), ExitKind::Failure);
    let TaskState::Parked { reason: ParkReason::TooManyFailures { failures: 3, .. }, .. } =
        bench.task(1).state
    else {
        panic!("{:?}", bench.task(1).state)
    };
    assert_eq!(bench.engine.next_timer(), None);
    assert!(bench.engine.is_at_rest());
}

#[test]
fn a_tampered_repository_parks_the_task_at_once_with_its_work_kept_and_a_retry_starts_anew() {
    for kind in [ExitKind::Success, ExitKind::Failure, ExitKind::Lost] {
        let mut bench = Bench::of(&[&[]]);
        let id = attempt(1, 1);
        bench.exits(id, kind);
        let collected =
            Collected::Tampered { head: Some(oid('a')), detail: "hooks/pre-commit was added".into() };
        let step = bench.feed(Event::AttemptCollected { attempt: id, collected });
        assert_eq!(step.effects, [Effect::Release { attempt: id }]);
        let kept = step.changes.iter().any(|change| {
            matches!(change, Change::AttemptPut(put) if put.head == Some(oid('a')) && put.state.is_finished())
        });
        assert!(kept, "{:?}", step.changes);
        let TaskState::Parked { reason: reason @ ParkReason::Tampered { .. }, .. } = &bench.task(1).state
        else {
            panic!("{:?}", bench.task(1).state)
        };
        assert!(reason.text().contains("hooks/pre-commit was added"), "{}", reason.text());
        let effects = bench.command(Command::Retry { task: TaskId(1), from: None }).1;
        assert_eq!(effects, [start(1, 2)]);
    }
}

#[test]
fn what_bears_an_older_number_meets_nothing() {
    let mut bench = Bench::of(&[&[]]);
    bench.ends(attempt(1, 1), ExitKind::Failure);
    let _ = bench.after_ms(10_000).feed(Event::Tick);
    assert_eq!(bench.state(1), "leased");
    for event in [
        Event::AttemptExited { attempt: attempt(1, 1), exit: exit(ExitKind::Success) },
        Event::AttemptStarted { attempt: attempt(1, 1), start: None, rung: None },
        Event::AttemptAlive { attempt: attempt(1, 1) },
        Event::Merged {
            project: ProjectId(1),
            target: branch("feature/PRD-001"),
            results: vec![(attempt(1, 1), MergeResult::Merged(merged('b')))],
        },
        Event::Landed { candidate: attempt(1, 1), result: LandResult::Landed },
    ] {
        assert_eq!(bench.feed(event), Step::default());
    }
}

#[test]
fn a_silent_attempt_is_stopped_until_the_machine_says_that_it_is_gone() {
    let mut bench = Bench::of(&[&[]]);
    let lease = bench.engine.limits().lease_ms;
    assert_eq!(bench.engine.next_timer(), Some(Time(0).plus_ms(lease)));
    let _ = bench.feed(Event::AttemptStarted { attempt: attempt(1, 1), start: None, rung: None });
    let _ = bench.after_ms(lease - 1).feed(Event::AttemptAlive { attempt: attempt(1, 1) });
    assert_eq!(bench.after_ms(1).feed(Event::Tick), Step::default());
    let stop = Effect::Stop { attempt: attempt(1, 1), at_once: true };
    assert_eq!(bench.after_ms(lease).feed(Event::Tick).effects, std::slice::from_ref(&stop));
    // Silence proves nothing: what may still be alive keeps its worktree.
    for _ in 0..3 {
        assert_eq!(bench.after_ms(lease).feed(Event::Tick).effects, [start(1, 1), stop.clone()]);
    }
    assert_eq!(bench.ends(attempt(1, 1), ExitKind::Lost), [Effect::Release { attempt: attempt(1, 1) }]);
    assert_eq!((bench.task(1).tally.repeats, bench.task(1).tally.failures), (1, 0));
    assert!(is_ready_later(bench.task(1), bench.now));
}

#[test]
fn an_attempt_whose_worktree_takes_long_is_asked_for_again_and_not_stopped() {
    let mut bench = Bench::of(&[&[]]);
    let lease = bench.engine.limits().lease_ms;
    let again = bench.after_ms(lease).feed(Event::Tick);
    assert_eq!((again.changes, again.effects), (vec![], vec![start(1, 1)]));
    assert_eq!(bench.state(1), "leased");
}

#[test]
fn the_same_fault_three_times_running_parks_and_spends_no_failure() {
    for kind in [ExitKind::Lost, ExitKind::TimedOut, ExitKind::Stalled, ExitKind::OverLimit(Resource::Memory)]
    {
        let mut bench = Bench::of(&[&[]]);
        for number in 1..=3 {
            bench.ends(attempt(1, number), kind);
            let _ = bench.after_ms(600_000).feed(Event::Tick);
        }
        let TaskState::Parked { reason: ParkReason::SameFault { fault, repeats: 3, .. }, .. } =
            bench.task(1).state
        else {
            panic!("{:?}", bench.task(1).state)
        };
        assert_eq!((Some(fault), bench.task(1).tally.failures), (kind.fault(), 0));
    }
}

#[test]
fn other_faults_and_failures_between_begin_a_new_row() {
    let mut bench = Bench::of_with(&[&[]], Settings { attempts_max: Some(9), ..Settings::default() }).0;
    let kinds = [ExitKind::Lost, ExitKind::Lost, ExitKind::TimedOut, ExitKind::Lost, ExitKind::Lost];
    for (kind, number) in
        kinds.into_iter().chain([ExitKind::Failure, ExitKind::Lost, ExitKind::Lost]).zip(1..)
    {
        bench.ends(attempt(1, number), kind);
        let _ = bench.after_ms(600_000).feed(Event::Tick);
    }
    assert_eq!(bench.state(1), "leased");
    bench.ends(attempt(1, 9), ExitKind::Lost);
    assert_eq!(bench.state(1), "parked");
}

#[test]
fn a_night_of_power_cuts_parks_nothing_innocent_and_a_rate_limit_waits_by_the_minute() {
    let mut bench = Bench::of(&[&[]]);
    for number in 1..10 {
        bench.ends(attempt(1, number), ExitKind::MachineEnded);
        let _ = bench.after_ms(600_000).feed(Event::Tick);
    }
    assert_eq!(bench.state(1), "leased");
    bench.ends(attempt(1, 10), ExitKind::RateLimited);
    assert!(bench.engine.next_timer().expect("a wait").ms_since(bench.now) >= 30_000);
}

#[test]
fn near_its_deadline_an_attempt_is_told_of_once() {
    let mut bench = Bench::of(&[&[]]);
    let _ =
        bench.feed(Event::AttemptStarted { attempt: attempt(1, 1), start: None, rung: Some(Rung::Cgroup) });
    let warning = Event::AttemptNearDeadline { attempt: attempt(1, 1), left_ms: 180_000 };
    assert_eq!(bench.feed(warning.clone()).changes.len(), 2);
    assert_eq!(bench.feed(warning), Step::default());
}

#[test]
fn a_set_up_fault_parks_at_once() {
    let mut bench = Bench::of(&[&[]]);
    let release = Effect::Release { attempt: attempt(1, 1) };
    assert_eq!(bench.exits(attempt(1, 1), ExitKind::SetUpFault), [release]);
    assert!(matches!(bench.task(1).state, TaskState::Parked { reason: ParkReason::SetUp { .. }, .. }));
}

#[test]
fn slots_are_never_exceeded_and_are_filled_again() {
    let (mut bench, effects) = Bench::of_with(&[&[], &[], &[], &[], &[], &[]], Settings::default());
    assert_eq!(effects, [start(1, 1), start(2, 1), start(3, 1), start(4, 1)]);
    assert_eq!(bench.engine.slots_used(), 4);
    bench.exits(attempt(2, 1), ExitKind::Success);
    assert_eq!(bench.engine.slots_used(), 4, "what is being collected holds its slot");
    assert!(bench.collected(attempt(2, 1)).contains(&start(5, 1)));
    let (_, effects) = bench.command(Command::SetSlots { slots: 2 });
    assert_eq!(effects, []);
    bench.ends(attempt(1, 1), ExitKind::Success);
    bench.ends(attempt(3, 1), ExitKind::Success);
    assert_eq!((bench.engine.slots_used(), bench.state(6)), (2, "ready"));
}

#[test]
fn the_more_urgent_starts_first_then_the_older_until_age_outweighs_urgency() {
    let mut bench = Bench::with(Settings::default());
    bench.engine.set_slots(0);
    let add = |bench: &mut Bench, word: &str| {
        let priority = Priority::from_word(word).expect(word);
        let settings = Settings::default();
        let add =
            AddTasks { title: word.into(), place: folder(), priority, after: vec![], count: 1, settings };
        bench.ask(Command::AddTasks(Box::new(add))).expect("added");
    };
    add(&mut bench, "P2");
    add(&mut bench, "P1");
    add(&mut bench, "P1");
    let step_ms = bench.engine.limits().priority_step_ms;
    bench.after_ms(step_ms + 1);
    add(&mut bench, "P1");
    let (_, effects) = bench.command(Command::SetSlots { slots: 4 });
    // Task 1 is a step less urgent, but has waited longer than a step is worth.
    assert_eq!(effects, [start(2, 1), start(3, 1), start(1, 1), start(4, 1)]);
}

#[test]
fn a_stop_ends_attempts_and_spends_nothing() {
    let mut bench = Bench::of(&[&[], &[]]);
    let (answer, effects) = bench.command(stop_now());
    assert!(answer.is_ok());
    let stop = |task| Effect::Stop { attempt: attempt(task, 1), at_once: false };
    assert_eq!(effects, [stop(1), stop(2)]);
    assert!(!bench.engine.is_quiet());
    for task in 1..=2 {
        let release = Effect::Release { attempt: attempt(task, 1) };
        assert_eq!(bench.ends(attempt(task, 1), ExitKind::Stopped), [release]);
        assert_eq!(bench.state(task), "ready");
        assert_eq!(bench.task(task).tally, crate::task::Tally::default());
    }
    assert!(bench.engine.is_quiet());
    assert_eq!(bench.after_ms(1).feed(Event::Tick), Step::default());
}

#[test]
fn an_unchanged_tree_fails_where_a_change_is_required() {
    let mut bench = Bench::of(&[&[]]);
    bench.exits(attempt(1, 1), ExitKind::Success);
    let collected = Collected::Commit { head: oid('0'), changed: false };
    let step = bench.feed(Event::AttemptCollected { attempt: attempt(1, 1), collected });
    let is_failed = |change: &Change| {
        matches!(change, Change::AttemptPut(a)
            if a.state == crate::attempt::AttemptState::Finished { outcome: Outcome::Failed })
    };
    assert!(step.changes.iter().any(is_failed));
    assert_eq!(bench.task(1).tally.failures, 1);
}

#[test]
fn a_plain_command_is_done_when_it_passes() {
    let mut bench = Bench::with(Settings::default());
    bench.add(folder(), &[]);
    let release = Effect::Release { attempt: attempt(1, 1) };
    assert_eq!(bench.exits(attempt(1, 1), ExitKind::Success), [release]);
    assert_eq!(bench.state(1), "forgotten");
    assert!(bench.engine.is_at_rest());
}
