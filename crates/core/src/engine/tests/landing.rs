//! The merge queue, and the PRD's way to the base.

use super::*;
use crate::candidate::Source;
use crate::task::ParkReason;

fn conflict() -> MergeResult {
    MergeResult::Conflict { files: vec!["a.rs".into()], text: "<<<<<<<".into() }
}

#[test]
fn a_conflict_returns_the_candidate_and_starts_another_attempt_without_a_failure() {
    let mut bench = Bench::of(&[&[]]);
    bench.ends(attempt(1, 1), ExitKind::Success);
    assert_eq!(bench.merges(attempt(1, 1), conflict()), [start(1, 2)]);
    let tally = bench.task(1).tally;
    assert_eq!((tally.conflicts, tally.failures), (1, 0));
}

#[test]
fn the_tenth_conflict_parks() {
    let mut bench = Bench::of(&[&[]]);
    for number in 1..=10 {
        bench.ends(attempt(1, number), ExitKind::Success);
        bench.merges(attempt(1, number), conflict());
    }
    let is_parked = matches!(
        bench.task(1).state,
        TaskState::Parked { reason: ParkReason::TooManyConflicts { conflicts: 10, .. }, .. }
    );
    assert!(is_parked);
}

#[test]
fn a_red_check_counts_as_a_failure_and_goes_on_at_once_from_the_merged_commit() {
    let mut bench = Bench::of_with(&[&[]], checked()).0;
    bench.ends(attempt(1, 1), ExitKind::Success);
    assert_eq!(bench.merges(attempt(1, 1), MergeResult::Merged(merged('b'))), [check(1, 1, merged('b'), 1)]);
    // It may be flaky: it is looked at once more before anybody is blamed.
    assert_eq!(bench.checks(attempt(1, 1), red()), [check(1, 1, merged('b'), 2)]);
    let step = bench.feed(Event::Checked {
        candidate: attempt(1, 1),
        commit: merged('b').commit.to_string(),
        run: 2,
        result: red(),
    });
    assert_eq!(step.effects, [start(1, 2)]);
    assert_eq!(bench.task(1).tally.failures, 1);
    let resumes = |change: &crate::change::Change| {
        matches!(change, crate::change::Change::CandidatePut(c)
            if c.resume_at == Some(oid('b')) && c.feedback.as_deref() == Some("test FAILED"))
    };
    assert!(step.changes.iter().any(resumes));
}

#[test]
fn checks_that_cannot_run_park_and_a_retry_lands_the_same_candidate() {
    let mut bench = Bench::of_with(&[&[]], checked()).0;
    bench.bring_to_landing(attempt(1, 1));
    assert_eq!(bench.checks(attempt(1, 1), CheckResult::Fault { detail: "no such program".into() }), []);
    assert_eq!(bench.state(1), "parked");
    assert_eq!(bench.command(Command::Retry { task: TaskId(1), from: None }).1, [merge(1, 1, Time(0))]);
}

#[test]
fn a_target_that_moved_is_merged_anew_before_the_others() {
    let mut bench = Bench::of(&[&[], &[]]);
    bench.bring_to_landing(attempt(1, 1));
    bench.after_ms(5).ends(attempt(2, 1), ExitKind::Success);
    let anew = merge_all(&[(1, 1, Time(0)), (2, 1, Time(5))]);
    assert_eq!(bench.lands(attempt(1, 1), LandResult::TargetMoved), [anew]);
    assert_eq!(bench.state(1), "landing");
}

#[test]
fn a_target_that_moves_a_hundred_times_parks() {
    let mut bench = Bench::of(&[&[]]);
    bench.ends(attempt(1, 1), ExitKind::Success);
    for _ in 0..100 {
        bench.merges(attempt(1, 1), MergeResult::Merged(merged('b')));
        bench.lands(attempt(1, 1), LandResult::TargetMoved);
    }
    let reason = ParkReason::TargetKeepsMoving { remerges: 100 };
    assert!(matches!(&bench.task(1).state, TaskState::Parked { reason: r, .. } if *r == reason));
}

#[test]
fn a_dirty_checkout_parks_and_a_retry_lands_the_same_candidate() {
    let mut bench = Bench::of(&[&[]]);
    bench.bring_to_landing(attempt(1, 1));
    let dirty = LandResult::CheckoutDirty { checkout: "/p".into(), detail: "M a.rs".into() };
    assert_eq!(bench.lands(attempt(1, 1), dirty), []);
    assert_eq!(bench.state(1), "parked");
    assert_eq!(bench.command(Command::Retry { task: TaskId(1), from: None }).1, [merge(1, 1, Time(0))]);
    bench.merges(attempt(1, 1), MergeResult::Merged(merged('c')));
    bench.lands(attempt(1, 1), LandResult::Landed);
    assert_eq!(bench.state(1), "forgotten");
}

#[test]
fn what_the_target_holds_already_has_landed() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.ends(attempt(1, 1), ExitKind::Success);
    assert_eq!(
        bench.merges(attempt(1, 1), MergeResult::Contained { commit: oid('a'), tree: oid('b') }),
        [start(2, 1)]
    );
}

fn land_prd(task: u64, at: Time) -> Effect {
    Effect::Merge {
        project: ProjectId(1),
        target: branch("main"),
        cars: vec![crate::effect::Car {
            candidate: attempt(task, 1),
            source: Source::Branch(branch("feature/PRD-001")),
            date: at,
            method: crate::settings::LandMethod::Merge,
        }],
    }
}

#[test]
fn auto_land_lands_the_branch_after_the_last_story_and_completes_the_prd() {
    let settings = Settings { auto_land: Some(true), ..Settings::default() };
    let mut bench = Bench::of_with(&[&[]], settings).0;
    assert_eq!(bench.succeeds(attempt(1, 1)), [land_prd(2, Time(0))]);
    bench.merges(attempt(2, 1), MergeResult::Merged(merged('c')));
    assert_eq!(bench.lands(attempt(2, 1), LandResult::Landed), []);
    assert!(bench.engine.prd(PRD).is_none());
    assert!(bench.engine.is_at_rest());
}

#[test]
fn a_prd_with_open_stories_lands_only_in_part_and_stays_active() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.succeeds(attempt(1, 1));
    assert!(bench.ask(Command::Land { prd: PRD, partial: false }).is_err());
    let (answer, effects) = bench.command(Command::Land { prd: PRD, partial: true });
    assert_eq!(answer, Ok(Done::Tasks { tasks: vec![TaskId(3)] }));
    assert_eq!(effects, [land_prd(3, Time(0))]);
    bench.merges(attempt(3, 1), MergeResult::Merged(merged('c')));
    bench.lands(attempt(3, 1), LandResult::Landed);
    assert_eq!(bench.engine.prd(PRD).map(|(prd, _)| prd.state.name()), Some("active"));
}

#[test]
fn a_base_conflict_is_for_a_person_and_landing_again_takes_the_same_task() {
    let mut bench = Bench::of(&[&[]]);
    bench.succeeds(attempt(1, 1));
    bench.ask(Command::Land { prd: PRD, partial: false }).expect("all has landed");
    assert_eq!(bench.merges(attempt(2, 1), conflict()), []);
    assert_eq!(bench.state(2), "parked");
    assert_eq!(bench.command(Command::Land { prd: PRD, partial: false }).1, [land_prd(2, Time(0))]);
}

#[test]
fn a_prds_landing_whose_checks_cannot_run_never_becomes_an_attempt() {
    let mut bench = Bench::of_with(&[&[]], checked()).0;
    bench.bring_to_landing(attempt(1, 1));
    bench.checks(attempt(1, 1), CheckResult::Passed);
    bench.lands(attempt(1, 1), LandResult::Landed);
    bench.ask(Command::Land { prd: PRD, partial: false }).expect("all has landed");
    bench.merges(attempt(2, 1), MergeResult::Merged(merged('c')));
    bench.checks(attempt(2, 1), CheckResult::Fault { detail: "no such program".into() });
    assert_eq!(bench.command(Command::Retry { task: TaskId(2), from: None }).1, [land_prd(2, Time(0))]);
}

#[test]
fn a_branch_answered_for_an_ended_prd_is_waited_for_no_longer() {
    let mut bench = Bench::with(Settings::default());
    bench.import(import(document(&[&[]]))).expect("accepted");
    bench.ask(Command::Cancel { tasks: vec![TaskId(1)] }).expect("ready");
    assert!(bench.engine.prd(PRD).is_none());
    let planned = BranchResult::Planned { name: branch("feature/PRD-001"), at: oid('0') };
    let _ = bench.feed(Event::Branch { prd: PRD, result: planned });
    assert!(bench.engine.is_at_rest());
}

#[test]
fn a_verdict_on_another_commit_is_another_trees() {
    let mut bench = Bench::of_with(&[&[]], checked()).0;
    bench.ends(attempt(1, 1), ExitKind::Success);
    bench.merges(attempt(1, 1), MergeResult::Merged(merged('b')));
    for commit in [oid('c').short().to_owned(), String::new()] {
        let stale = Event::Checked { candidate: attempt(1, 1), commit, run: 1, result: CheckResult::Passed };
        assert_eq!(bench.feed(stale), Step::default());
    }
    let commit = oid('b').short().to_owned();
    let own = Event::Checked { candidate: attempt(1, 1), commit, run: 1, result: CheckResult::Passed };
    assert!(matches!(bench.feed(own).effects.as_slice(), [Effect::Land { .. }]));
}

fn reviewed() -> Settings {
    Settings { review: Some(true), ..Settings::default() }
}

#[test]
fn work_that_a_person_is_to_see_waits_for_it_and_lands_once_approved() {
    let mut bench = Bench::of_with(&[&[]], reviewed()).0;
    bench.ends(attempt(1, 1), ExitKind::Success);
    let waits = matches!(bench.task(1).state, TaskState::Parked { reason: ParkReason::Review, .. });
    assert!(waits);
    let retried = bench.ask(Command::Retry { task: TaskId(1), from: None });
    assert!(retried.is_err(), "a retry is no approval");
    let approve = Command::Review { task: TaskId(1), verdict: crate::command::Verdict::Approve };
    assert_eq!(bench.command(approve.clone()).1, [merge(1, 1, Time(0))]);
    assert!(bench.ask(approve).is_err(), "it waits no longer");
}

#[test]
fn a_rejected_work_is_gone_on_from_with_the_persons_words() {
    let mut bench = Bench::of_with(&[&[]], reviewed()).0;
    bench.ends(attempt(1, 1), ExitKind::Success);
    let verdict = crate::command::Verdict::Reject { comment: "no tests".into() };
    let event = Event::Command {
        reply_to: ReplyTo(1),
        command: Box::new(Command::Review { task: TaskId(1), verdict }),
    };
    let step = bench.feed(event);
    let is_told = |change: &crate::change::Change| {
        matches!(change, crate::change::Change::CandidatePut(c)
            if c.feedback.as_deref() == Some("no tests") && c.resume_at == Some(oid('a')))
    };
    assert!(step.changes.iter().any(is_told));
    assert_eq!(step.effects, [start(1, 2)]);
}
