//! What people ask for.

use super::*;
use crate::command::RefusalKind;
use crate::row::PrdState;
use crate::task::CancelReason;

fn cancel(bench: &mut Bench, task: u64) -> (Answer, Vec<Effect>) {
    bench.command(Command::Cancel { tasks: vec![TaskId(task)] })
}

#[test]
fn a_draft_starts_nothing_until_it_is_approved() {
    let mut bench = Bench::with(Settings::default());
    bench.import(ImportPrd { approve: false, ..import(document(&[&[]])) }).expect("accepted");
    assert_eq!((bench.state(1), bench.why(1).as_str()), ("blocked", "its PRD PRD-001 is a draft"));
    let (answer, effects) = bench.command(Command::Approve { prd: PRD });
    assert!(answer.is_ok());
    let plan = Effect::PlanBranch {
        prd: PRD,
        project: ProjectId(1),
        wanted: branch("feature/PRD-001"),
        base: branch("main"),
    };
    assert_eq!(effects, [plan]);
    assert_eq!(bench.make_branch(), [start(1, 1)]);
}

#[test]
fn placeholders_refuse_approval_and_change_nothing() {
    let mut bench = Bench::with(Settings::default());
    let open = || PrdDocument { has_placeholders: true, ..document(&[&[]]) };
    let refusal = bench.import(import(open())).expect_err("refused");
    assert!(refusal.contains("placeholders"), "{refusal}");
    bench.import(ImportPrd { approve: false, ..import(open()) }).expect("a draft may hold them");
    assert!(bench.ask(Command::Approve { prd: PRD }).is_err());
}

#[test]
fn an_empty_prd_is_completed_when_it_is_approved() {
    let mut bench = Bench::with(Settings::default());
    bench.import(import(document(&[]))).expect("accepted");
    assert!(bench.engine.prd(PRD).is_none(), "what has ended is forgotten");
    assert!(bench.engine.is_at_rest());
}

#[test]
fn a_blocked_a_ready_and_a_parked_task_are_cancelled_at_once() {
    let mut bench = Bench::of(&[&[], &[1], &[], &[], &[], &[]]);
    assert_eq!((bench.state(2), bench.state(6)), ("blocked", "ready"));
    assert_eq!((cancel(&mut bench, 6).1, bench.state(6)), (vec![], "forgotten"));
    bench.exits(attempt(1, 1), ExitKind::SetUpFault);
    for task in [2, 1] {
        let (answer, effects) = cancel(&mut bench, task);
        assert!(answer.is_ok());
        assert_eq!((effects, bench.state(task)), (vec![], "forgotten"));
    }
}

#[test]
fn a_running_task_is_cancelled_once_its_attempt_has_ended_however_it_ends() {
    for kind in [ExitKind::Stopped, ExitKind::Success, ExitKind::Failure, ExitKind::Lost] {
        let mut bench = Bench::of(&[&[], &[1]]);
        let (_, effects) = cancel(&mut bench, 1);
        assert_eq!(effects, [Effect::Stop { attempt: attempt(1, 1), at_once: false }]);
        assert_eq!(bench.state(1), "leased");
        let release = Effect::Release { attempt: attempt(1, 1) };
        assert_eq!(bench.ends(attempt(1, 1), kind), [release]);
        assert_eq!(bench.state(1), "cancelled", "{kind:?}");
    }
}

#[test]
fn a_cancel_holds_for_an_attempt_whose_lease_ran_out() {
    let mut bench = Bench::of(&[&[], &[1]]);
    let lease = bench.engine.limits().lease_ms;
    let _ = bench.after_ms(lease).feed(Event::Tick);
    cancel(&mut bench, 1).0.expect("it is leased");
    let _ = bench.after_ms(lease).feed(Event::Tick);
    assert_eq!(bench.state(1), "leased");
    bench.ends(attempt(1, 1), ExitKind::Lost);
    assert_eq!(bench.state(1), "cancelled");
}

#[test]
fn a_cancel_holds_for_an_attempt_that_ended_while_the_engine_stopped() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.ask(stop_now()).expect("stopping");
    bench.exits(attempt(1, 1), ExitKind::Stopped);
    cancel(&mut bench, 1).0.expect("it is leased");
    bench.collected(attempt(1, 1));
    assert_eq!(bench.state(1), "cancelled");
}

#[test]
fn a_waiting_candidate_is_taken_back_and_a_landing_one_is_not() {
    let mut bench = Bench::of_with(&[&[], &[]], checked()).0;
    bench.bring_to_landing(attempt(1, 1));
    bench.ends(attempt(2, 1), ExitKind::Success);
    let (_, effects) = cancel(&mut bench, 2);
    assert_eq!((effects, bench.state(2)), (vec![], "forgotten"));
    let landing = bench.checks(attempt(1, 1), CheckResult::Passed);
    assert_eq!(landing, [land(1, 1, 'b')]);
    let (answer, effects) = cancel(&mut bench, 1);
    assert_eq!((answer.map_err(|r| r.kind), effects), (Err(RefusalKind::Busy), vec![]));
}

#[test]
fn a_candidate_in_its_checks_is_taken_back_and_they_are_stopped() {
    let mut bench = Bench::of_with(&[&[], &[]], checked()).0;
    bench.bring_to_landing(attempt(1, 1));
    bench.ends(attempt(2, 1), ExitKind::Success);
    let (_, effects) = cancel(&mut bench, 1);
    assert_eq!(effects, [Effect::StopCheck { candidate: attempt(1, 1) }, merge(2, 1, Time(0))]);
}

#[test]
fn an_abandoned_prd_ends_its_tasks() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.ask(Command::Abandon { prd: PRD, reason: "no more".into() }).expect("active");
    let step = bench.feed(Event::AttemptExited { attempt: attempt(1, 1), exit: exit(ExitKind::Stopped) });
    assert_eq!(step.effects, [Effect::Collect { attempt: attempt(1, 1) }]);
    let collected = Collected::Commit { head: oid('a'), changed: true };
    let step = bench.feed(Event::AttemptCollected { attempt: attempt(1, 1), collected });
    let is_abandoned = |change: &crate::change::Change| {
        matches!(change, crate::change::Change::TaskMoved(moved)
            if matches!(moved.state, TaskState::Cancelled { reason: CancelReason::PrdAbandoned, .. }))
    };
    assert!(step.changes.iter().any(is_abandoned));
    assert!(bench.engine.prd(PRD).is_none());
}

#[test]
fn a_prd_out_of_focus_starts_nothing() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.ask(Command::Focus { on: Some(vec![]) }).expect("set");
    assert_eq!(bench.succeeds(attempt(1, 1)), []);
    assert_eq!(bench.state(2), "ready");
    assert!(bench.why(2).contains("works on other PRDs"), "{}", bench.why(2));
    assert_eq!(bench.command(Command::Focus { on: None }).1, [start(2, 1)]);
}

#[test]
fn a_single_task_gets_the_collection_and_its_branch() {
    let mut bench = Bench::with(Settings::default());
    bench.add(Place::Worktree { project: ProjectId(1) }, &[]);
    let (prd, _) = bench.engine.prd(PRD).expect("the collection");
    assert_eq!((prd.key.as_str(), prd.is_collection, prd.state == PrdState::Active), ("TASKS", true, true));
    bench.add(Place::Worktree { project: ProjectId(1) }, &[]);
    assert_eq!(bench.engine.prds().count(), 1);
    assert_eq!(bench.make_branch(), [start(1, 1), start(2, 1)]);
}

#[test]
fn a_retry_cuts_the_wait_short() {
    let mut bench = Bench::of(&[&[]]);
    bench.ends(attempt(1, 1), ExitKind::Failure);
    assert!(bench.why(1).contains("ended badly"), "{}", bench.why(1));
    assert_eq!(bench.command(Command::Retry { task: TaskId(1), from: None }).1, [start(1, 2)]);
}

#[test]
fn why_names_what_holds_a_task_in_each_state() {
    let mut bench = Bench::of_with(&[&[], &[1], &[], &[], &[], &[]], checked()).0;
    assert!(bench.why(1).contains("attempt 1 is being prepared"), "{}", bench.why(1));
    assert_eq!(bench.why(2), "it depends on PRD-001/US-1 (task 1), which is leased");
    assert!(bench.why(6).contains("all 4 slots are in use, and 0 tasks are ahead"), "{}", bench.why(6));
    bench.bring_to_landing(attempt(1, 1));
    assert_eq!(bench.why(1), "the checks run on it merged onto feature/PRD-001");
    bench.ends(attempt(3, 1), ExitKind::Success);
    assert_eq!(bench.why(3), "1 candidates are ahead of it in the queue of feature/PRD-001");
    bench.exits(attempt(4, 1), ExitKind::SetUpFault);
    assert!(bench.why(4).contains("the set-up is wrong"), "{}", bench.why(4));
}
