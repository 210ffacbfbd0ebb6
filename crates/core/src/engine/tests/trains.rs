//! Several candidates at once: merged one upon the other, checked together, landed together.

use super::*;
use crate::candidate::{Candidate, ReturnWhy, Source};
use crate::change::Change;

/// A merge onto another, by their digits.
fn onto(below: char, digit: char) -> MergeResult {
    MergeResult::Merged(coupled(below, digit))
}

fn coupled(below: char, digit: char) -> MergedCommit {
    MergedCommit { onto: oid(below), commit: oid(digit), tree: oid('f') }
}

fn landing(task: u64, below: char, digit: char) -> Effect {
    Effect::Land {
        candidate: attempt(task, 1),
        project: ProjectId(1),
        target: branch("feature/PRD-001"),
        merged: coupled(below, digit),
        follow: None,
    }
}

/// Four stories have passed while a fifth was landing; it has landed, and the four are merged.
fn train_of_four(settings: Settings) -> (Bench, Vec<Effect>) {
    let mut bench = Bench::of_with(&[&[], &[], &[], &[], &[]], settings).0;
    bench.engine.set_slots(5);
    let _ = bench.feed(Event::Tick);
    bench.ends(attempt(5, 1), ExitKind::Success);
    bench.merges(attempt(5, 1), onto('0', '1'));
    for task in 1..=4 {
        bench.after_ms(1).ends(attempt(task, 1), ExitKind::Success);
    }
    bench.checks(attempt(5, 1), CheckResult::Passed);
    let effects = bench.lands(attempt(5, 1), LandResult::Landed);
    let merges = merge_all(&[(1, 1, Time(1)), (2, 1, Time(2)), (3, 1, Time(3)), (4, 1, Time(4))]);
    assert_eq!(effects, [merges]);
    let results = [(1, onto('1', 'a')), (2, onto('a', 'b')), (3, onto('b', 'c')), (4, onto('c', 'd'))];
    let effects = bench.merges_all(results.map(|(task, result)| (attempt(task, 1), result)).into());
    (bench, effects)
}

fn states(bench: &Bench) -> Vec<&'static str> {
    (1..=4).map(|task| bench.state(task)).collect()
}

#[test]
fn without_checks_all_that_wait_land_with_one_move_of_the_target() {
    let (mut bench, effects) = train_of_four(Settings::default());
    assert_eq!(effects, [landing(4, '1', 'd')]);
    bench.lands(attempt(4, 1), LandResult::Landed);
    assert_eq!(states(&bench), ["forgotten"; 4]);
    assert!(bench.engine.is_at_rest());
}

#[test]
fn a_green_head_lands_all() {
    let (mut bench, effects) = train_of_four(checked());
    assert_eq!(effects, [check(4, 1, coupled('1', 'd'), 1)]);
    assert_eq!(bench.checks(attempt(4, 1), CheckResult::Passed), [landing(4, '1', 'd')]);
    bench.lands(attempt(4, 1), LandResult::Landed);
    assert_eq!(states(&bench), ["forgotten"; 4]);
}

#[test]
fn a_red_head_is_bisected_and_only_the_faulty_is_given_back() {
    let (mut bench, _) = train_of_four(checked());
    // The third is at fault.
    assert_eq!(bench.checks(attempt(4, 1), red()), [check(2, 1, coupled('1', 'b'), 1)]);
    assert_eq!(bench.checks(attempt(2, 1), CheckResult::Passed), [landing(2, '1', 'b')]);
    assert_eq!(bench.lands(attempt(2, 1), LandResult::Landed), [check(3, 1, coupled('b', 'c'), 1)]);
    assert_eq!(bench.checks(attempt(3, 1), red()), [check(3, 1, coupled('b', 'c'), 2)]);
    let effects = bench.checks(attempt(3, 1), red());
    assert_eq!(effects, [merge_all(&[(4, 1, Time(4))]), start(3, 2)]);
    assert_eq!(states(&bench), ["forgotten", "forgotten", "leased", "landing"]);
    bench.merges(attempt(4, 1), onto('b', 'e'));
    assert_eq!(bench.checks(attempt(4, 1), CheckResult::Passed), [landing(4, 'b', 'e')]);
}

#[test]
fn a_red_that_turns_green_on_the_same_tree_is_called_flaky_and_lands() {
    let mut bench = Bench::of_with(&[&[]], checked()).0;
    bench.ends(attempt(1, 1), ExitKind::Success);
    bench.merges(attempt(1, 1), onto('0', 'a'));
    bench.checks(attempt(1, 1), red());
    let commit = oid('a').to_string();
    let step =
        bench.feed(Event::Checked { candidate: attempt(1, 1), commit, run: 2, result: CheckResult::Passed });
    let flakes = step.changes.iter().filter_map(|change| match change {
        Change::CandidatePut(candidate) => Some(candidate.flakes),
        _ => None,
    });
    assert_eq!(flakes.max(), Some(1));
    assert_eq!(step.effects, [landing(1, '0', 'a')]);
    assert_eq!(bench.task(1).tally.failures, 0);
}

#[test]
fn the_first_runs_verdict_told_twice_is_not_the_seconds() {
    let mut bench = Bench::of_with(&[&[]], checked()).0;
    bench.ends(attempt(1, 1), ExitKind::Success);
    bench.merges(attempt(1, 1), onto('0', 'a'));
    for _ in 0..2 {
        let commit = oid('a').to_string();
        let _ = bench.feed(Event::Checked { candidate: attempt(1, 1), commit, run: 1, result: red() });
    }
    assert_eq!(bench.state(1), "landing");
}

#[test]
fn a_conflict_with_one_ahead_waits_for_it_and_costs_nothing() {
    let mut bench = train_of_four(checked()).0;
    bench.checks(attempt(4, 1), CheckResult::Passed);
    bench.lands(attempt(4, 1), LandResult::TargetMoved);
    let conflict = MergeResult::Conflict { files: vec!["a".into()], text: "<<<".into() };
    let results = vec![
        (attempt(1, 1), onto('9', 'a')),
        (attempt(2, 1), conflict.clone()),
        (attempt(3, 1), onto('a', 'c')),
    ];
    // Of the fourth nothing is told: it waits like the second.
    assert_eq!(bench.merges_all(results), [check(3, 1, coupled('9', 'c'), 1)]);
    assert_eq!(bench.task(2).tally.conflicts, 0);
    bench.checks(attempt(3, 1), CheckResult::Passed);
    let again = merge_all(&[(2, 1, Time(2)), (4, 1, Time(4))]);
    assert_eq!(bench.lands(attempt(3, 1), LandResult::Landed), [again]);
    let effects = bench.merges_all(vec![(attempt(2, 1), conflict), (attempt(4, 1), onto('c', 'd'))]);
    assert_eq!(effects, [check(4, 1, coupled('c', 'd'), 1), start(2, 2)]);
    assert_eq!(bench.task(2).tally.conflicts, 1);
}

#[test]
fn one_cancelled_in_the_middle_lets_those_before_it_go_on_and_those_behind_be_merged_anew() {
    let (mut bench, _) = train_of_four(checked());
    let (answer, effects) = bench.command(Command::Cancel { tasks: vec![TaskId(2)] });
    answer.expect("it only waits");
    assert_eq!(effects, [Effect::StopCheck { candidate: attempt(4, 1) }, check(1, 1, coupled('1', 'a'), 1)]);
    assert_eq!(states(&bench), ["landing", "forgotten", "landing", "landing"]);
    bench.checks(attempt(1, 1), CheckResult::Passed);
    let again = merge_all(&[(3, 1, Time(3)), (4, 1, Time(4))]);
    assert_eq!(bench.lands(attempt(1, 1), LandResult::Landed), [again]);
}

#[test]
fn one_cancelled_while_the_train_is_merged_takes_nothing_of_itself_along() {
    let (mut bench, _) = train_of_four(Settings::default());
    bench.lands(attempt(4, 1), LandResult::TargetMoved);
    bench.ask(Command::Cancel { tasks: vec![TaskId(2)] }).expect("nothing moves");
    let results = [(1, onto('9', 'a')), (2, onto('a', 'b')), (3, onto('b', 'c')), (4, onto('c', 'd'))];
    let effects = bench.merges_all(results.map(|(task, result)| (attempt(task, 1), result)).into());
    assert_eq!(effects, [landing(1, '9', 'a')]);
}

#[test]
fn a_dirty_checkout_parks_all_that_were_to_land() {
    let (mut bench, _) = train_of_four(Settings::default());
    bench.lands(attempt(4, 1), LandResult::CheckoutDirty { checkout: "/p".into(), detail: "M a".into() });
    assert_eq!(states(&bench), ["parked"; 4]);
}

#[test]
fn a_train_is_no_longer_than_it_may_be() {
    let settings = Settings { train_max: Some(2), ..Settings::default() };
    let mut bench = Bench::of_with(&[&[], &[], &[], &[]], settings).0;
    for task in 1..=4 {
        bench.ends(attempt(task, 1), ExitKind::Success);
    }
    bench.merges(attempt(1, 1), onto('0', 'a'));
    let two = merge_all(&[(2, 1, Time(0)), (3, 1, Time(0))]);
    assert_eq!(bench.lands(attempt(1, 1), LandResult::Landed), [two]);
}

#[test]
fn a_fault_of_a_whole_train_is_tried_again_and_parks_only_after_many() {
    let (mut bench, _) = train_of_four(Settings::default());
    bench.lands(attempt(4, 1), LandResult::TargetMoved);
    let fault = || MergeResult::Fault { detail: "it did not end within 120 s".into() };
    let all = || (1..=4).map(|task| (attempt(task, 1), fault())).collect::<Vec<_>>();
    let again = merge_all(&[(1, 1, Time(1)), (2, 1, Time(2)), (3, 1, Time(3)), (4, 1, Time(4))]);
    assert_eq!(bench.merges_all(all()), [again]);
    for _ in 0..20 {
        bench.merges_all(all());
    }
    assert_eq!(states(&bench), ["parked"; 4]);
}

#[test]
fn a_restart_asks_for_the_same_check_again() {
    let (mut bench, _) = train_of_four(checked());
    bench.checks(attempt(4, 1), red());
    let mut again = bench.engine.clone();
    again.checking.clear();
    let effects = again.recover(bench.now).effects;
    assert!(effects.contains(&check(2, 1, coupled('1', 'b'), 1)), "{effects:?}");
}

#[test]
fn the_more_urgent_goes_first_and_the_old_does_not_starve() {
    let candidate = |priority: i64, at: i64| Candidate {
        priority: Priority::from_thousandths(priority),
        queued_at: Time(at),
        ..sample()
    };
    let step_ms = Limits::default().priority_step_ms;
    assert!(candidate(1_000, 5).place(step_ms) < candidate(2_000, 0).place(step_ms));
    let waited = i64::try_from(step_ms).expect("minutes") + 1;
    assert!(candidate(2_000, 0).place(step_ms) < candidate(1_000, waited).place(step_ms));
}

fn sample() -> Candidate {
    Candidate {
        id: attempt(1, 1),
        project: ProjectId(1),
        target: branch("main"),
        source: Source::Commit(oid('a')),
        state: CandidateState::Returned { why: ReturnWhy::Conflict, at: Time(0) },
        remerges: 0,
        queued_at: Time(0),
        priority: Priority::ABSENT,
        flakes: 0,
        feedback: None,
        resume_at: None,
    }
}
