//! Dependencies: what holds a task back, and what happens when one fails.

use super::*;
use crate::settings::OnDependencyFailure;

fn policy(policy: OnDependencyFailure) -> Settings {
    Settings { on_dependency_failure: Some(policy), ..Settings::default() }
}

#[test]
fn a_story_may_depend_on_one_further_down_the_file() {
    let (bench, effects) = Bench::of_with(&[&[2], &[]], Settings::default());
    assert_eq!(effects, [start(2, 1)]);
    assert_eq!(bench.state(1), "blocked");
}

#[test]
fn by_default_dependents_of_a_cancelled_task_stay_blocked() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.exits(attempt(1, 1), ExitKind::SetUpFault);
    bench.ask(Command::Cancel { tasks: vec![TaskId(1)] }).expect("cancelled");
    assert_eq!((bench.state(1), bench.state(2)), ("cancelled", "blocked"));
}

#[test]
fn skip_cancels_a_chain_of_ten_thousand() {
    let mut stories: Vec<Vec<u32>> = vec![vec![]];
    stories.extend((1..10_000).map(|n| vec![n]));
    let stories: Vec<&[u32]> = stories.iter().map(Vec::as_slice).collect();
    let mut bench = Bench::of_with(&stories, policy(OnDependencyFailure::Skip)).0;
    bench.exits(attempt(1, 1), ExitKind::SetUpFault);
    let (_, progress) = bench.engine.prd(PRD).expect("active");
    assert_eq!((progress.parked, progress.cancelled), (1, 9_999));
}

#[test]
fn run_goes_on_as_if_the_dependency_had_landed() {
    let mut bench = Bench::of_with(&[&[], &[1]], policy(OnDependencyFailure::Run)).0;
    let effects = bench.exits(attempt(1, 1), ExitKind::SetUpFault);
    assert_eq!(effects, [Effect::Release { attempt: attempt(1, 1) }, start(2, 1)]);
}

#[test]
fn a_failed_task_waits_when_the_dependency_it_ran_without_is_tried_again() {
    let mut bench = Bench::of_with(&[&[], &[1]], policy(OnDependencyFailure::Run)).0;
    bench.exits(attempt(1, 1), ExitKind::SetUpFault);
    bench.ask(Command::Retry { task: TaskId(1), from: None }).expect("parked");
    bench.ends(attempt(2, 1), ExitKind::Failure);
    assert_eq!((bench.state(1), bench.state(2)), ("leased", "blocked"));
}

#[test]
fn a_cancelled_task_tried_again_still_waits_for_a_forgotten_cancelled_one() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.ask(Command::Cancel { tasks: vec![TaskId(1)] }).expect("running");
    let state = TaskState::Cancelled { at: Time(0), reason: crate::task::CancelReason::Asked };
    let second = Task { state, ..bench.task(2).clone() };
    bench.ask(Command::Cancel { tasks: vec![TaskId(2)] }).expect("blocked");
    bench.ends(attempt(1, 1), ExitKind::Stopped);
    let (prd, progress) = bench
        .engine
        .prd(PRD)
        .map_or_else(|| panic!("still in memory"), |(prd, progress)| (prd.clone(), *progress));
    // Nothing is left to do, and no branch needs landing: the PRD is active, for its branch was made.
    assert_eq!((bench.state(1), bench.state(2)), ("forgotten", "forgotten"));
    let first = Task { depends_on: vec![], id: TaskId(1), ..second.clone() };
    let known = bench.known(prd, progress, vec![first, second]);
    bench.command_knowing(Command::Retry { task: TaskId(2), from: None }, known).0.expect("cancelled");
    assert_eq!(bench.state(2), "blocked");
}

#[test]
fn a_task_named_twice_to_come_after_counts_once() {
    let mut bench = Bench::of(&[&[]]);
    bench.add(folder(), &[1, 1]);
    assert_eq!(bench.task(2).depends_on, [TaskId(1)]);
    assert_eq!(bench.succeeds(attempt(1, 1)), [start(2, 1)]);
}

#[test]
fn a_dependency_added_later_holds_the_task_back_until_it_is_done() {
    let mut bench = Bench::with(Settings::default());
    bench.ask(Command::SetSlots { slots: 0 }).expect("set");
    bench.add(folder(), &[]);
    bench.add(folder(), &[]);
    bench.ask(Command::AddDependency { task: TaskId(1), on: TaskId(2) }).expect("no cycle");
    assert_eq!((bench.state(1), bench.state(2)), ("blocked", "ready"));
    bench.ask(Command::SetSlots { slots: 1 }).expect("set");
    let _ = bench.feed(Event::Tick);
    bench.exits(attempt(2, 1), ExitKind::Success);
    assert_eq!(bench.state(1), "leased");
}

#[test]
fn a_dependency_that_closes_a_circle_is_refused_with_the_way_round() {
    let mut bench = Bench::with(Settings::default());
    bench.ask(Command::SetSlots { slots: 0 }).expect("set");
    bench.add(folder(), &[]);
    bench.add(folder(), &[1]);
    bench.add(folder(), &[2]);
    let refused = bench.ask(Command::AddDependency { task: TaskId(1), on: TaskId(3) }).expect_err("a circle");
    assert!(refused.text.contains("1 -> 3 -> 2 -> 1"), "{}", refused.text);
    let itself = bench.ask(Command::AddDependency { task: TaskId(1), on: TaskId(1) }).expect_err("itself");
    assert!(itself.text.contains("1 -> 1"), "{}", itself.text);
    assert!(bench.ask(Command::AddDependency { task: TaskId(1), on: TaskId(9) }).is_err());
}

#[test]
fn of_two_stories_that_mean_the_same_files_one_waits_while_others_can_start() {
    let mut stories = document(&[&[], &[], &[]]);
    for (story, file) in stories.stories.iter_mut().zip(["src/a.rs", "src/", "docs/b.md"]) {
        story.files = vec![file.to_owned()];
    }
    let mut bench = Bench::with(Settings::default());
    bench.ask(Command::SetSlots { slots: 2 }).expect("two");
    bench.import(import(stories)).expect("accepted");
    assert_eq!(bench.make_branch(), [start(1, 1), start(3, 1)]);
    // It goes first again once nothing is in its way, and also where there is nothing else to do.
    bench.ask(Command::SetSlots { slots: 3 }).expect("three");
    assert_eq!(bench.state(2), "leased");
}
