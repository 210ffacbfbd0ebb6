//! Random histories: from a seed, commits of every kind that git can be asked to merge, and heads to merge.

use std::collections::BTreeMap;
use std::path::Path;

use ropewalk_core::id::Oid;
use ropewalk_core::settings::LandMethod;

use crate::oracle::{git, git_fed};

/// SplitMix64, as in the simulation.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.draw() % bound as u64).unwrap()
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

#[derive(Clone, PartialEq)]
struct File {
    mode: &'static str,
    /// A submodule's: the commit.
    content: String,
}

type Files = BTreeMap<String, File>;

struct Commit {
    files: Files,
    parents: Vec<usize>,
}

/// Heads to be merged into `main`, in order, each in its way.
pub(crate) struct Heads {
    pub(crate) cars: Vec<(Oid, LandMethod)>,
}

const NAMES: [&str; 17] = [
    "a.txt",
    "b.txt",
    "c.txt",
    "d/one",
    "d/two",
    "d/three",
    "d/e/four",
    "d/e/five",
    "f/six",
    "f/seven",
    "g",
    "run.sh",
    "sp ace/ü ñ",
    "quo\"te",
    "new\nline",
    "tab\t\\",
    "dir.x",
];
const NEW_NAMES: [&str; 8] =
    ["n0", "d/n1", "d/n2", "d/e/n3", "f/n4", "dir.x/inner", "g/inner/most", "n0/inner"];
/// As long as the longest train.
const CARS: usize = 7;

struct Writer<'a> {
    chance: &'a mut Chance,
    commits: Vec<Commit>,
    /// How many edits may meet others: few in a calm history.
    is_calm: bool,
}

/// Makes a history in the empty repository at `folder`, with `main` at its tip.
pub(crate) fn generate(folder: &Path, chance: &mut Chance) -> Heads {
    let is_calm = chance.one_in(2);
    let mut writer = Writer { chance, commits: Vec::new(), is_calm };
    let (main, branches) = writer.write();
    let mut stream = String::new();
    for (at, commit) in writer.commits.iter().enumerate() {
        commit.tell(at, &mut stream);
    }
    stream += &format!("reset refs/heads/main\nfrom :{}\n\n", main + 1);
    for (at, commit) in branches.iter().enumerate() {
        // So that a clone has them.
        stream += &format!("reset refs/heads/car{at}\nfrom :{}\n\n", commit + 1);
    }
    git_fed(folder, &["fast-import", "--quiet"], &stream);
    let methods = [LandMethod::Merge, LandMethod::Squash, LandMethod::Rebase];
    let all = chance.below(4);
    let mut car = |at: usize| {
        let head = Oid::new(&git(folder, &["rev-parse", &format!("refs/heads/car{at}")])).unwrap();
        (head, methods.get(all).copied().unwrap_or_else(|| chance.pick(&methods)))
    };
    Heads { cars: (0..branches.len()).map(&mut car).collect() }
}

impl Commit {
    fn tell(&self, at: usize, stream: &mut String) {
        *stream += &format!("commit refs/heads/writing\nmark :{}\n", at + 1);
        *stream += &format!("committer Person <person@example.org> {} +0000\n", 1_700_000_000 + at * 60);
        let message = format!("commit {at}\n");
        *stream += &format!("data {}\n{message}\n", message.len());
        match self.parents.as_slice() {
            // Another commit that begins a history.
            [] if at > 0 => {
                stream.insert_str(stream.rfind("commit refs").unwrap(), "reset refs/heads/writing\n\n")
            }
            parents => {
                for (place, parent) in parents.iter().enumerate() {
                    *stream += &format!("{} :{}\n", if place == 0 { "from" } else { "merge" }, parent + 1);
                }
            }
        }
        *stream += "deleteall\n";
        for (name, File { mode, content }) in &self.files {
            let name =
                name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
            *stream += &match *mode {
                "160000" => format!("M 160000 {content} \"{name}\"\n"),
                _ => format!("M {mode} inline \"{name}\"\ndata {}\n{content}\n", content.len()),
            };
        }
    }
}

impl Writer<'_> {
    /// The tip of `main`, and the heads.
    fn write(&mut self) -> (usize, Vec<usize>) {
        let mut files: Files = NAMES
            .iter()
            .map(|name| {
                let mode = if *name == "run.sh" { "100755" } else { "100644" };
                let lines =
                    (0..9).map(|line| format!("{name:?} has line {line} {}\n", self.chance.below(1000)));
                ((*name).to_owned(), File { mode, content: lines.collect() })
            })
            .collect();
        files.insert("link".to_owned(), File { mode: "120000", content: "a.txt".to_owned() });
        files.insert("module".to_owned(), self.module());
        self.commits.push(Commit { files, parents: vec![] });
        let mut main = 0;
        let mut tips = Vec::new();
        for _ in 0..10 + self.chance.below(12) {
            match self.chance.below(10) {
                0 | 1 => main = self.commit(main),
                2 if !tips.is_empty() && !self.chance.one_in(3) => {
                    let other = self.chance.pick(&tips);
                    main = self.join(main, other);
                }
                3 | 4 if !tips.is_empty() => {
                    let at = self.chance.below(tips.len());
                    let other = if self.chance.one_in(3) { self.chance.pick(&tips) } else { main };
                    tips[at] = self.join(tips[at], other);
                }
                5 | 6 if !tips.is_empty() => {
                    let at = self.chance.below(tips.len());
                    tips[at] = self.commit(tips[at]);
                }
                _ => {
                    let from = if self.chance.one_in(4) { self.any() } else { main };
                    tips.push(self.commit(from));
                }
            }
        }
        if self.chance.one_in(12) {
            let files = self.commits[main].files.clone();
            self.commits.push(Commit { files, parents: vec![] });
            tips.push(self.commits.len() - 1);
        }
        let mut heads = Vec::new();
        while heads.len() < CARS {
            let known =
                if tips.is_empty() || self.chance.one_in(8) { self.any() } else { self.chance.pick(&tips) };
            let is_new = self.is_calm && self.chance.one_in(2);
            heads.push(if is_new { self.commit(main) } else { known });
        }
        (main, heads)
    }

    fn any(&mut self) -> usize {
        self.chance.below(self.commits.len())
    }

    fn module(&mut self) -> File {
        let content =
            format!("{:016x}{:016x}{:08x}", self.chance.draw(), self.chance.draw(), self.chance.below(9));
        File { mode: "160000", content }
    }

    fn join(&mut self, one: usize, other: usize) -> usize {
        let mut files = self.commits[one].files.clone();
        for (name, file) in self.commits[other].files.clone() {
            if files.get(&name) != Some(&file) && !self.chance.one_in(3) {
                put(&mut files, &name, file);
            }
        }
        self.commits.push(Commit { files, parents: vec![one, other] });
        self.commits.len() - 1
    }

    fn commit(&mut self, parent: usize) -> usize {
        let mut files = self.commits[parent].files.clone();
        for _ in 0..1 + self.chance.below(if self.is_calm { 2 } else { 4 }) {
            self.change(&mut files);
        }
        self.commits.push(Commit { files, parents: vec![parent] });
        self.commits.len() - 1
    }

    fn change(&mut self, files: &mut Files) {
        let names: Vec<String> = files.keys().cloned().collect();
        let name = self.chance.pick(&names);
        let mut file = files[&name].clone();
        let how =
            if self.is_calm && !self.chance.one_in(4) { self.chance.below(2) } else { self.chance.below(14) };
        match how {
            0 | 2 | 3 => self.edit(&mut file),
            1 => {
                let number = if self.is_calm { self.chance.below(1000) } else { self.chance.below(3) };
                let content = format!("{number}\n").repeat(1 + self.chance.below(3));
                let place = self.chance.pick(&["", "d/", "f/", "own/"]);
                return put(files, &format!("{place}new{number}"), File { mode: "100644", content });
            }
            4 => return drop(files.remove(&name)),
            5 | 6 => {
                files.remove(&name);
                if self.chance.one_in(2) {
                    self.edit(&mut file);
                }
                let new = self.chance.pick(&NEW_NAMES);
                return put(files, new, file);
            }
            7 => {
                let (from, to) =
                    self.chance.pick(&[("d/", "h/"), ("f/", "d/"), ("d/e/", "e/"), ("sp ace/", "d/")]);
                for (name, file) in files.clone().iter().filter(|(name, _)| name.starts_with(from)) {
                    files.remove(name);
                    put(files, &name.replacen(from, to, 1), file.clone());
                }
                return;
            }
            8 if file.mode == "100644" => file.mode = "100755",
            8 if file.mode == "100755" => file.mode = "100644",
            9 => {
                file = File {
                    mode: "120000",
                    content: self.chance.pick(&["b.txt", "d/one", "nowhere"]).to_owned(),
                }
            }
            10 => return put(files, "module", self.module()),
            11 => {
                let new = self.chance.pick(&NEW_NAMES);
                let content = self.chance.pick(&["same\n", "other\n"]).to_owned();
                return put(files, new, File { mode: "100644", content });
            }
            12 => file = File { mode: "100644", content: "short\n".to_owned() },
            // A commit without a change, perhaps.
            _ => return,
        }
        put(files, &name, file);
    }

    fn edit(&mut self, file: &mut File) {
        if file.mode == "160000" {
            return *file = self.module();
        }
        if file.mode == "120000" {
            return file.content.push('x');
        }
        let mut lines: Vec<String> = file.content.lines().map(str::to_owned).collect();
        let at = self.chance.below(lines.len());
        lines[at] = format!("edit {}", self.chance.below(if self.is_calm { 1 << 20 } else { 3 }));
        file.content = lines.join("\n") + "\n";
    }
}

/// Puts a file in its place, and takes away what cannot be beside it.
fn put(files: &mut Files, name: &str, file: File) {
    let lies_in =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
    files.retain(|other, _| !lies_in(other, name) && !lies_in(name, other));
    files.insert(name.to_owned(), file);
}
