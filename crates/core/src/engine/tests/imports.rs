//! A file is imported again.

use super::*;
use crate::settings::OnDependencyFailure;
use crate::task::CancelReason;

fn changed(stories: &[&[u32]], which: &[usize]) -> PrdDocument {
    let mut document = document(stories);
    for at in which {
        document.stories[*at].hash += 1_000;
        document.stories[*at].title.push('!');
    }
    document
}

#[test]
fn a_changed_file_adds_updates_removes_and_says_what_is_fixed() {
    let mut bench = Bench::of(&[&[], &[1], &[2], &[3]]);
    let mut next = changed(&[&[], &[1], &[2], &[3], &[1]], &[0, 1]);
    // US-1 runs, US-2 is changed, US-3 is as it was, US-4 is gone, US-5 is new.
    next.stories.remove(3);
    let report = bench.import(import(next)).expect("accepted");
    assert_eq!((report.added, report.updated, report.unchanged, report.removed), (1, 1, 1, 1));
    assert_eq!(report.fixed, ["US-1 is running: the changed text is not used"]);
    assert_eq!((bench.task(2).title.as_str(), bench.state(4)), ("story 2!", "forgotten"));
    assert_eq!(bench.task(5).depends_on, [TaskId(1)]);
}

#[test]
fn the_same_file_again_changes_nothing() {
    let mut bench = Bench::of(&[&[], &[1]]);
    let report = bench.import(import(document(&[&[], &[1]]))).expect("accepted");
    assert_eq!((report.added, report.updated, report.unchanged, report.removed), (0, 0, 2, 0));
    assert_eq!(report.fixed, [""; 0]);
}

#[test]
fn what_the_file_claims_is_believed_only_when_asked_to() {
    let claimed = || {
        let mut document = document(&[&[], &[1]]);
        document.stories[0].claimed = true;
        document
    };
    let mut bench = Bench::with(Settings::default());
    let report = bench.import(ImportPrd { trust_passes: true, ..import(claimed()) }).expect("accepted");
    assert_eq!((report.trusted, bench.state(1)), (1, "forgotten"));
    assert_eq!(bench.make_branch(), [start(2, 1)]);
    let mut bench = Bench::with(Settings::default());
    bench.import(import(claimed())).expect("accepted");
    assert_eq!(bench.make_branch(), [start(1, 1)]);
}

#[test]
fn a_single_task_hears_that_a_story_is_trusted() {
    let mut bench = Bench::with(Settings::default());
    bench.import(ImportPrd { approve: false, ..import(document(&[&[]])) }).expect("accepted");
    bench.add(folder(), &[1]);
    let mut claimed = document(&[&[]]);
    claimed.stories[0].claimed = true;
    bench.import(ImportPrd { trust_passes: true, approve: false, ..import(claimed) }).expect("accepted");
    assert_eq!(bench.state(2), "leased");
}

#[test]
fn a_policy_that_comes_with_the_file_counts_the_dependencies_anew() {
    let mut bench = Bench::of(&[&[], &[1]]);
    bench.exits(attempt(1, 1), ExitKind::SetUpFault);
    let settings = Settings { on_dependency_failure: Some(OnDependencyFailure::Run), ..Settings::default() };
    bench.import(ImportPrd { settings, ..import(document(&[&[], &[1]])) }).expect("accepted");
    assert_eq!(bench.state(2), "leased");
}

#[test]
fn a_cancelled_story_that_the_file_drops_is_gone_for_good() {
    let mut bench = Bench::of(&[&[], &[1], &[2]]);
    bench.ask(Command::Cancel { tasks: vec![TaskId(2)] }).expect("blocked");
    let mut next = document(&[&[], &[1], &[2]]);
    next.stories.remove(1);
    next.stories[1].depends_on.clear();
    let report = bench.import(import(next)).expect("accepted");
    assert_eq!(report.removed, 1);
    let state = &bench.task(2).state;
    assert!(matches!(state, TaskState::Cancelled { reason: CancelReason::Removed, .. }), "{state:?}");
    assert!(bench.ask(Command::Retry { task: TaskId(2), from: None }).is_err());
}

#[test]
fn a_file_does_not_take_over_a_key_that_another_file_got_from_us() {
    let bench = Bench::of(&[&[]]);
    let mut prd = bench.engine.prd(PRD).expect("imported").0.clone();
    prd.has_own_key = false;
    let other = ImportPrd {
        key: Some(prd.key.clone()),
        source: Some("/other.json".into()),
        ..import(document(&[&[]]))
    };
    let refused = super::super::import::refuse_takeover(&other, &prd, Some("/prd.json")).expect_err("taken");
    assert!(refused.text.contains("/prd.json"), "{}", refused.text);
    super::super::import::refuse_takeover(&import(document(&[&[]])), &prd, Some("/prd.json"))
        .expect("the same file");
    prd.has_own_key = true;
    super::super::import::refuse_takeover(&other, &prd, Some("/prd.json"))
        .expect("the key is the file's own");
}

#[test]
fn a_parked_story_whose_text_is_mended_is_tried_again() {
    let mut bench = Bench::of(&[&[]]);
    bench.exits(attempt(1, 1), ExitKind::SetUpFault);
    assert_eq!(bench.state(1), "parked");
    let report = bench.import(import(changed(&[&[]], &[0]))).expect("accepted");
    assert_eq!((report.updated, report.fixed.len()), (1, 0));
    assert_eq!((bench.state(1), bench.task(1).attempts), ("leased", 2));
}
