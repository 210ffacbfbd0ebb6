//! Every car of a train has the files, or the conflict, that git gives it in a checkout.
//!
//! `ROPEWALK_TEST_HISTORIES` says how many histories, `ROPEWALK_TEST_SEED` the first one's seed; a failure names its own.

use std::path::Path;
use std::process::Command;

use ropewalk_core::id::{BranchName, Oid};
use ropewalk_core::settings::LandMethod;
use ropewalk_host::git::{Car, Coupled, Repository, discover};

use crate::history::{Chance, Heads, generate};
use crate::oracle::{Ended, Oracle, git};

const HISTORIES: u64 = 60;
const AT_MS: i64 = 1_800_000_000_000;
const LENGTH: usize = 7;
/// Of the second train, in turn: its cars must end as those of the long one.
const SHORTER: [usize; 3] = [1, 2, 3];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[expect(clippy::print_stderr, reason = "a failing test says how to play it again")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[test]
fn every_car_of_sixty_random_histories_has_the_files_that_git_gives_it() {
    let (first, count) = (number("ROPEWALK_TEST_SEED", 1), number("ROPEWALK_TEST_HISTORIES", HISTORIES));
    tell(&format!("{count} histories from seed {first}"));
    let halves = std::thread::scope(|scope| {
        let half = |from: u64| move || (from..first + count).step_by(2).map(compare).collect::<Vec<_>>();
        let both = [scope.spawn(half(first)), scope.spawn(half(first + 1))];
        both.map(|half| half.join().expect("a half without a difference"))
    });
    let told: Vec<Ended> = halves.into_iter().flatten().flatten().collect();
    let merged = told.iter().filter(|end| matches!(end, Ended::Merged { .. })).count();
    let of = |wanted: &Ended| told.iter().filter(|end| *end == wanted).count();
    let (contained, conflicts) = (of(&Ended::Contained), of(&Ended::Conflict));
    tell(&format!("{merged} merged, {contained} contained, {conflicts} conflicts"));
    // A train of conflicts alone would prove little.
    let few = told.len() / 12;
    assert!(merged > few && contained > few && conflicts > few);
}

fn compare(seed: u64) -> Vec<Ended> {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    std::fs::create_dir(&top).unwrap();
    git(&top, &["init", "-q", "-b", "main"]);
    for (key, value) in [("user.name", "Person"), ("user.email", "person@example.org")] {
        git(&top, &["config", key, value]);
    }
    let heads = generate(&top, &mut Chance(seed));
    let oracle = Oracle::new(&top, dir.path().join("oracle"));
    let expected: Vec<Ended> = heads.cars.iter().map(|(head, method)| oracle.couple(head, *method)).collect();
    let found = discover(&top).unwrap();
    let repository = Repository::open(&found.top, &found.common_dir, &dir.path().join("control")).unwrap();
    let shorter = SHORTER[usize::try_from(seed % 3).unwrap()];
    for length in [shorter, LENGTH] {
        check(seed, &top, &repository, &heads, &expected[..length]);
    }
    git(&top, &["fsck", "--strict", "--no-dangling"]);
    assert_eq!(git(&top, &["for-each-ref", "refs/ropewalk"]), "", "seed {seed}");
    expected
}

fn check(seed: u64, top: &Path, repository: &Repository, heads: &Heads, expected: &[Ended]) {
    let main = BranchName::new("main").unwrap();
    let cars: Vec<Car<'_>> = heads.cars[..expected.len()]
        .iter()
        .map(|(head, method)| Car { head, message: "a car\n\nof a train\n", at_ms: AT_MS, method: *method })
        .collect();
    let train = repository.train(&main, &cars, 1000).unwrap().unwrap();
    assert_eq!(train.onto.as_str(), git(top, &["rev-parse", "main"]));
    let mut line = train.onto;
    assert_eq!(train.cars.len(), cars.len());
    for (at, (coupled, car)) in train.cars.iter().zip(&cars).enumerate() {
        let ended = match coupled {
            Coupled::Merged { onto, commit, tree } => {
                assert_eq!(*onto, line, "seed {seed}, car {at}");
                line = commit.clone();
                if car.method != LandMethod::Rebase && cars.len() == LENGTH {
                    assert_eq!(commit.as_str(), committed(top, tree, onto, car), "seed {seed}, car {at}");
                }
                Ended::Merged { tree: tree.to_string() }
            }
            Coupled::Contained => Ended::Contained,
            Coupled::Conflict { text, .. } => {
                assert!(!text.is_empty() && text.len() <= 1000, "seed {seed}, car {at}");
                Ended::Conflict
            }
        };
        assert_eq!(ended, expected[at], "seed {seed}, car {at} of {}: {car:?}", cars.len());
    }
}

/// The commit that git itself makes of these files.
fn committed(top: &Path, tree: &Oid, onto: &Oid, car: &Car<'_>) -> String {
    let mut command = Command::new("git");
    command.current_dir(top).args([
        "commit-tree",
        tree.as_str(),
        "-m",
        car.message.trim_end(),
        "-p",
        onto.as_str(),
    ]);
    if car.method == LandMethod::Merge {
        command.args(["-p", car.head.as_str()]);
    }
    let date = format!("@{} +0000", AT_MS / 1000);
    let out = command.env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}
