//! What a train is to whoever asks for one.

use std::fs;
use std::path::PathBuf;

use ropewalk_core::id::{BranchName, Oid};
use ropewalk_core::settings::LandMethod;
use ropewalk_host::git::{Car, Coupled, Merge, Repository, Specimen, Train};
use tempfile::TempDir;

const AT_MS: i64 = 1_800_000_000_000;

/// A generated repository, as a person's.
struct World {
    specimen: Specimen,
    repository: Repository,
    dir: TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let specimen = Specimen::generate(&dir.path().join("top"), 200).unwrap();
        let common = specimen.folder().join(".git");
        let repository = Repository::open(specimen.folder(), &common, &dir.path().join("control")).unwrap();
        World { specimen, repository, dir }
    }

    fn git(&self, args: &[&str]) -> String {
        self.specimen.git(args).unwrap()
    }

    /// A commit on top of another that writes files; an empty text deletes.
    fn commit(&self, on: &str, files: &[(&str, &str)]) -> Oid {
        self.git(&["checkout", "-q", "--detach", on]);
        for (name, text) in files {
            let path = self.specimen.folder().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if text.is_empty() { fs::remove_file(path) } else { fs::write(path, text) }.unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", &format!("{files:?}")]);
        self.specimen.tip("HEAD").unwrap()
    }

    fn train(&self, heads: &[&Oid], method: LandMethod) -> Train {
        let car = |head| Car { head, message: "a car\n", at_ms: AT_MS, method };
        let cars: Vec<_> = heads.iter().copied().map(car).collect();
        self.repository.train(&Specimen::main(), &cars, 500).unwrap().unwrap()
    }

    fn loose(&self) -> usize {
        let text = self.git(&["count-objects"]);
        text.split(' ').next().unwrap().parse().unwrap()
    }

    fn packs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.specimen.folder().join(".git/objects/pack")).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().unwrap() == "pack")
            .collect()
    }
}

fn merged(coupled: &Coupled) -> (&Oid, &Oid, &Oid) {
    match coupled {
        Coupled::Merged { onto, commit, tree } => (onto, commit, tree),
        other => panic!("{other:?}"),
    }
}

#[test]
fn forty_heads_apart_become_one_line_in_one_pack_and_no_ref() {
    let world = World::new();
    let changed: Vec<_> = (0..40).map(|at| vec![at * 5]).collect();
    let heads = world.specimen.branch_off("head", &changed).unwrap();
    let (loose, packs, refs) = (world.loose(), world.packs().len(), world.git(&["for-each-ref"]));
    let heads: Vec<&Oid> = heads.iter().collect();
    let train = world.train(&heads, LandMethod::Merge);
    // Git itself, asked for each merge, would leave loose objects.
    assert_eq!((world.loose(), world.packs().len()), (loose, packs + 1));
    let mut line = &train.onto;
    for (coupled, head) in train.cars.iter().zip(&heads) {
        let (onto, commit, tree) = merged(coupled);
        assert_eq!(onto, line);
        let facts = world.git(&["show", "-s", "--format=%P %T %s", commit.as_str()]);
        assert_eq!(facts, format!("{line} {head} {tree} a car"));
        line = commit;
    }
    assert_eq!(world.git(&["diff", "--name-only", "main", line.as_str()]).lines().count(), 40);
    assert_eq!(world.git(&["for-each-ref"]), refs);
    assert_eq!(world.train(&heads, LandMethod::Merge), train);
    let control = world.dir.path().join("control");
    let of_control = ["--git-dir", control.to_str().unwrap(), "for-each-ref"];
    assert_eq!(world.git(&of_control), "");
    world.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_train_of_one_car_leaves_no_pack_behind() {
    let world = World::new();
    let head = world.commit("main", &[("new", "new\n")]);
    let packs = world.packs();
    merged(&world.train(&[&head], LandMethod::Merge).cars[0]);
    assert_eq!(world.packs(), packs);
}

#[test]
fn a_car_that_takes_back_a_commit_of_the_car_before_takes_it_back() {
    let world = World::new();
    let path = Specimen::path(7);
    let before = world.git(&["show", &format!("main:{path}")]) + "\n";
    let first = world.commit("main", &[(&path, "changed\n")]);
    let second = world.commit(first.as_str(), &[(&path, &before), ("beside", "x\n")]);
    let train = world.train(&[&first, &second, &first], LandMethod::Merge);
    let (_, _, tree) = merged(&train.cars[1]);
    assert_eq!(world.git(&["show", &format!("{tree}:{path}")]) + "\n", before);
    assert_eq!(train.cars[2], Coupled::Contained);
}

#[test]
fn a_file_where_another_car_has_a_folder_is_a_conflict_and_the_line_goes_on() {
    let world = World::new();
    let file = world.commit("main", &[("new", "a file\n")]);
    let folder = world.commit("main", &[("new/inner", "in a folder\n")]);
    let last = world.commit("main", &[("last", "x\n")]);
    let train = world.train(&[&file, &folder, &last], LandMethod::Squash);
    let Coupled::Conflict { files, text } = &train.cars[1] else { panic!("{train:?}") };
    assert!(
        files.iter().any(|name| name.starts_with("new")) && text.contains("CONFLICT"),
        "{files:?} {text}"
    );
    let (onto, commit, _) = merged(&train.cars[2]);
    assert_eq!(onto, merged(&train.cars[0]).1);
    assert_eq!(world.git(&["show", "-s", "--format=%P", commit.as_str()]), onto.as_str());
}

#[test]
fn a_rebase_replays_each_commit_with_its_author_and_leaves_out_what_changes_nothing() {
    let world = World::new();
    let start = world.specimen.tip("main").unwrap();
    world.commit("main", &[("one", "1\n")]);
    let author = ["--author=Ärger <a@b>", "--date=@1600000000 +0200"];
    world.git(&["commit", "-q", "--amend", "-m", "first\n\nbody", author[0], author[1]]);
    let one = world.specimen.tip("HEAD").unwrap();
    let empty = world.commit(one.as_str(), &[]);
    let two = world.commit(empty.as_str(), &[("two", "2\n")]);
    let there = world.commit("main", &[("two", "2\n")]);
    let quick = world.commit(empty.as_str(), &[("three", "3\n")]);
    let subjects = |to: &Oid| {
        let range = format!("{start}..{to}");
        world.git(&["log", "--format=%an <%ae> %ad|%ct|%P|%B", "--date=raw", "--reverse", &range])
    };
    // The first is merged without asking git; in the second, git is asked, because two sides add one file.
    for (heads, at) in [(vec![&quick], 0), (vec![&there, &two], 1)] {
        let train = world.train(&heads, LandMethod::Rebase);
        let told = subjects(merged(&train.cars[at]).1);
        assert!(told.contains("Ärger <a@b> 1600000000 +0200|1800000000|"), "{told}");
        assert!(told.contains("|first\n\nbody"), "{told}");
        assert_eq!(told.matches("|1800000000|").count(), 2, "{told}");
    }
}

#[test]
fn a_rebase_leaves_merge_commits_out() {
    let world = World::new();
    let side = world.commit("main", &[("side", "x\n")]);
    world.commit("main", &[("mine", "x\n")]);
    world.git(&["merge", "-q", "--no-ff", "-m", "both", side.as_str()]);
    let head = world.specimen.tip("HEAD").unwrap();
    let train = world.train(&[&head], LandMethod::Rebase);
    let (_, commit, tree) = merged(&train.cars[0]);
    assert_eq!(world.git(&["rev-list", "--count", &format!("main..{commit}")]), "2");
    assert_eq!(world.git(&["rev-list", "--merges", &format!("main..{commit}")]), "");
    assert_eq!(tree.as_str(), world.git(&["rev-parse", &format!("{head}^{{tree}}")]));
}

#[test]
fn a_history_of_its_own_does_not_fit_and_a_head_that_is_nowhere_is_an_error() {
    let world = World::new();
    world.git(&["checkout", "-q", "--orphan", "alone"]);
    world.git(&["commit", "-q", "-m", "alone"]);
    let (alone, head) = (world.specimen.tip("alone").unwrap(), world.commit("main", &[("new", "x\n")]));
    for method in [LandMethod::Merge, LandMethod::Squash, LandMethod::Rebase] {
        let train = world.train(&[&alone, &head], method);
        let Coupled::Conflict { text, .. } = &train.cars[0] else { panic!("{train:?}") };
        assert_eq!(text, "the two have no common history");
        merged(&train.cars[1]);
    }
    let nowhere = Oid::new(&"1".repeat(40)).unwrap();
    world.repository.merge(&Specimen::main(), &nowhere, "m", AT_MS, 10).unwrap_err();
    let absent = BranchName::new("absent").unwrap();
    assert_eq!(world.repository.merge(&absent, &head, "m", AT_MS, 10), Ok(Merge::NoTarget));
}

#[test]
fn a_path_that_fast_import_refuses_is_merged_all_the_same() {
    let world = World::new();
    let blob = world.git(&["rev-parse", &format!("main:{}", Specimen::path(0))]);
    let listing = world.git(&["ls-tree", "main"]) + &format!("\n120000 blob {blob}\t.gitmodules\n");
    let tree = world.specimen.git_fed(&["mktree"], listing.as_bytes()).unwrap();
    let head = Oid::new(&world.git(&["commit-tree", &tree, "-p", "main", "-m", "odd"])).unwrap();
    let train = world.train(&[&head], LandMethod::Merge);
    assert_eq!(merged(&train.cars[0]).2.as_str(), tree);
    let left = fs::read_dir(world.dir.path().join("control")).unwrap();
    assert!(left.flatten().all(|entry| !entry.file_name().to_string_lossy().contains("crash")));
}

#[test]
fn what_an_agent_committed_is_kept_loose_if_it_is_little_and_in_a_pack_if_it_is_much() {
    let world = World::new();
    let start = world.specimen.tip("main").unwrap();
    let little = world.commit("main", &[("new", "x\n")]);
    let (loose, packs) = (world.loose(), world.packs().len());
    world.repository.keep(&start, &little).unwrap();
    world.repository.keep(&start, &start).unwrap();
    assert_eq!((world.loose(), world.packs().len()), (loose, packs));
    let names: Vec<_> = (0..250).map(|at| (format!("many/{at}"), format!("{at}\n"))).collect();
    let files: Vec<_> = names.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let much = world.commit("main", &files);
    world.repository.keep(&start, &much).unwrap();
    assert_eq!(world.packs().len(), packs + 1);
    // All of it is in the pack: without the loose objects nothing is missing.
    world.git(&["prune-packed"]);
    assert_eq!(world.loose(), loose);
    world.repository.keep(&start, &Oid::new(&"1".repeat(40)).unwrap()).unwrap_err();
}
