//! A repository with a worktree that an agent works in, canaries to plant in it, and bait to be left alone.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ropewalk_core::id::{AttemptId, Oid};
use ropewalk_core::settings::LandMethod;
use ropewalk_host::git::{Car, Coupled, Guard, Landing};

use crate::world::*;

pub(crate) const HOOKS: [&str; 20] = [
    "applypatch-msg",
    "commit-msg",
    "fsmonitor-watchman",
    "post-applypatch",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-receive",
    "post-rewrite",
    "post-update",
    "pre-applypatch",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "prepare-commit-msg",
    "reference-transaction",
    "update",
];

/// No object has this name.
pub(crate) const MISSING: &str = "1111111111111111111111111111111111111111";

/// Whose configuration a canary is planted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The one that all worktrees share.
    Shared,
    /// The main checkout's own.
    Main,
    /// The worktree's own.
    Own,
    /// That of a git folder which the worktree's pointer was led to.
    Pointer,
}

/// A place where git runs what a setting says.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    /// `{}` is the canary, `{dir}` its folder.
    settings: &'static [(&'static str, &'static str)],
    /// What makes plain git run it.
    pub(crate) plain: &'static [&'static [&'static str]],
    /// Places of one group can be planted at once without one hiding the other.
    pub(crate) group: u8,
}

const fn place(
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
    plain: &'static [&'static [&'static str]],
    group: u8,
) -> Place {
    Place { name, settings, plain, group }
}

/// `uploadpack.packObjectsHook` is not among them: git itself heeds it from nobody's repository.
pub(crate) const PLACES: &[Place] = &[
    place("core.fsmonitor", &[("core.fsmonitor", "{}")], &[&["status"]], 0),
    place(
        "core.hooksPath",
        &[("core.hooksPath", "{dir}")],
        &[&["commit", "-q", "--allow-empty", "-m", "x"]],
        0,
    ),
    place("filter.clean", &[("filter.x.clean", "{}")], &[&["add", "f.x"]], 0),
    place(
        "filter.smudge",
        &[("filter.x.smudge", "{}")],
        &[&["checkout", "-q", "-f", "HEAD", "--", "f.x"]],
        0,
    ),
    place("filter.process", &[("filter.y.process", "{}")], &[&["add", "f.y"]], 0),
    place("diff.command", &[("diff.x.command", "{}")], &[&["diff"]], 0),
    place("diff.textconv", &[("diff.z.textconv", "{}")], &[&["diff", "f.z"]], 0),
    place("diff.external", &[("diff.external", "{}")], &[&["diff"]], 1),
    place("merge.driver", &[("merge.x.driver", "{}")], &[&["commit", "-qam", "x"], &["merge", "theirs"]], 0),
    place("core.sshCommand", &[("core.sshCommand", "{}")], &[&["ls-remote", "ssh://localhost/x"]], 0),
    place("core.editor", &[("core.editor", "{}")], &[&["commit", "--allow-empty"]], 0),
    place(
        "sequence.editor",
        &[("sequence.editor", "{}")],
        &[&["commit", "-qam", "x"], &["rebase", "-i", "HEAD~1"]],
        0,
    ),
    place("core.pager", &[("core.pager", "{}")], &[&["grep", "-O", "one"]], 0),
    place("core.askPass", &[("core.askPass", "{}")], &[&["credential", "fill"]], 0),
    place("credential.helper", &[("credential.helper", "{}")], &[&["credential", "fill"]], 0),
    place(
        "gpg.program",
        &[("commit.gpgSign", "true"), ("gpg.program", "{}"), ("log.showSignature", "true")],
        &[&["commit", "-q", "--allow-empty", "-m", "x"]],
        0,
    ),
    place(
        "gpg.ssh.program",
        &[
            ("commit.gpgSign", "true"),
            ("gpg.format", "ssh"),
            ("gpg.ssh.program", "{}"),
            ("user.signingKey", "{}"),
        ],
        &[&["commit", "-q", "--allow-empty", "-m", "x"]],
        1,
    ),
    place("alias", &[("alias.greet", "!{}")], &[&["greet"]], 0),
    place("alternateRefs", &[("core.alternateRefsCommand", "{}")], &[&["rev-list", "--alternate-refs"]], 0),
    place("include.path", &[("include.path", "{dir}/config")], &[&["status"]], 1),
    place("includeIf", &[("includeIf.onbranch:**.path", "{dir}/config")], &[&["status"]], 2),
    place(
        "trailer",
        &[("trailer.x.key", "X"), ("trailer.x.cmd", "{}")],
        &[&["interpret-trailers", "--trailer", "x=y"]],
        0,
    ),
    place(
        "difftool",
        &[("diff.tool", "x"), ("difftool.x.cmd", "{}"), ("difftool.prompt", "false")],
        &[&["difftool"]],
        0,
    ),
    place(
        "gc.recentObjectsHook",
        &[("gc.recentObjectsHook", "{}"), ("gc.auto", "1")],
        &[&["hash-object", "-w", "a.txt"], &["prune", "--expire=now"]],
        0,
    ),
    place(
        "remote.uploadpack",
        &[("remote.far.url", "{dir}"), ("remote.far.uploadpack", "{}")],
        &[&["ls-remote", "far"]],
        0,
    ),
    // Objects that are missing are fetched, by whatever the address says.
    place(
        "promisor",
        &[
            ("protocol.ext.allow", "always"),
            ("remote.evil.promisor", "true"),
            ("remote.evil.url", "ext::{} x"),
        ],
        &[&["cat-file", "-p", "1111111111111111111111111111111111111111"]],
        2,
    ),
    place("core.worktree", &[("core.worktree", "{dir}"), ("core.fsmonitor", "{}")], &[&["status"]], 2),
];

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) id: AttemptId,
    /// The agent's worktree.
    pub(crate) path: PathBuf,
    pub(crate) start: Oid,
    /// A commit that conflicts with the agent's work, and one that does not.
    pub(crate) theirs: Oid,
    pub(crate) apart: Oid,
    /// A folder outside everything.
    pub(crate) bait: PathBuf,
    pub(crate) guard: Guard,
    pointer: String,
    admin: PathBuf,
    configuration: Vec<u8>,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let world = World::new();
        let top = world.top.clone();
        write(&top, ".gitattributes", "*.x filter=x diff=x merge=x\n*.y filter=y\n*.z diff=z\n");
        for name in ["f.x", "f.y", "f.z", "folder/inner.txt"] {
            write(&top, name, "one\ntwo\n");
        }
        let start = commit(&top, "folder/other.txt", "one\n");
        let aside = |name: &str, file: &str| {
            git(&top, &["checkout", "-q", "-b", name, "main"]);
            let made = commit(&top, file, &format!("{name}\n"));
            git(&top, &["checkout", "-q", "main"]);
            made
        };
        let (theirs, apart) = (aside("theirs", "f.x"), aside("apart", "apart.txt"));
        let other = world.dir.path().join("other");
        fs::create_dir(&other).unwrap();
        git(&other, &["init", "-q"]);
        commit(&other, "o.txt", "o\n");
        write(&top, ".git/objects/info/alternates", &format!("{}/.git/objects\n", other.display()));
        let bait = world.dir.path().join("bait");
        write(&bait, "bait.txt", "bait\n");
        write(&bait, "folder/inner.txt", "one\ntwo\n");
        write(&top, ".git/hooks/post-merge", "#!/bin/sh\n");
        let id = attempt(7, 1);
        let path = world.add(id);
        let pointer = fs::read_to_string(path.join(".git")).unwrap();
        let admin = PathBuf::from(pointer.trim_end().strip_prefix("gitdir: ").unwrap());
        let guard = world.repo.guard(&path).unwrap();
        let configuration = fs::read(top.join(".git/config")).unwrap();
        let stage =
            Stage { world, id, path, start, theirs, apart, bait, guard, pointer, admin, configuration };
        stage.work();
        stage
    }

    pub(crate) fn admin(&self) -> &Path {
        &self.admin
    }

    fn work(&self) {
        for name in ["a.txt", "f.x", "f.y", "f.z"] {
            write(&self.path, name, "the agent's\n");
        }
    }

    /// Everything as it was before anything was planted.
    pub(crate) fn reset(&self, scope: Scope) {
        let common = self.world.top.join(".git");
        fs::write(common.join("config"), &self.configuration).unwrap();
        for file in [common.join("config.worktree"), self.admin.join("config.worktree")] {
            let _ = fs::remove_file(file);
        }
        fs::write(self.path.join(".git"), &self.pointer).unwrap();
        let _ = fs::remove_dir_all(self.world.dir.path().join("evil.git"));
        for folder in [&self.path, &self.world.top] {
            for operation in ["merge", "rebase"] {
                let _ = raw_git(folder, &[operation, "--abort"]);
            }
            git(folder, &["-c", "core.hooksPath=/dev/null", "reset", "-q", "--hard", self.start.as_str()]);
        }
        self.work();
        if scope == Scope::Main {
            for name in ["a.txt", "f.x", "f.y", "f.z"] {
                write(&self.world.top, name, "the user's\n");
            }
        }
    }

    fn canary(&self, name: &str) -> (PathBuf, PathBuf) {
        let folder = self.world.dir.path().join("canaries").join(name);
        fs::create_dir_all(&folder).unwrap();
        let script = folder.join("sing");
        let sang = self.world.dir.path().join("sang");
        let text = format!("#!/bin/sh\necho '{name}' \"${{0##*/}}\" >>'{}'\n", sang.display());
        for file in [script.clone(), folder.join("pre-commit"), folder.join("reference-transaction")] {
            fs::write(&file, &text).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(folder.join("config"), format!("[core]\n\tfsmonitor = {}\n", script.display())).unwrap();
        (script, folder)
    }

    pub(crate) fn plant(&self, place: &Place, scope: Scope) {
        let (script, folder) = self.canary(place.name);
        let common = self.world.top.join(".git");
        let file = match scope {
            Scope::Shared => common.join("config"),
            Scope::Main => common.join("config.worktree"),
            Scope::Own => self.admin.join("config.worktree"),
            Scope::Pointer => {
                let evil = self.evil();
                fs::write(self.path.join(".git"), format!("gitdir: {}\n", evil.display())).unwrap();
                evil.join("config")
            }
        };
        let set = |file: &Path, key: &str, value: &str| {
            git(Path::new("/"), &["config", "--file", file.to_str().unwrap(), "--add", key, value]);
        };
        if matches!(scope, Scope::Main | Scope::Own) {
            set(&common.join("config"), "extensions.worktreeConfig", "true");
        }
        for (key, value) in place.settings {
            let value = value.replace("{dir}", folder.to_str().unwrap());
            set(&file, key, &value.replace("{}", script.to_str().unwrap()));
        }
    }

    /// A git folder of the agent's that has all of the repository and runs a canary.
    pub(crate) fn evil(&self) -> PathBuf {
        let evil = self.world.dir.path().join("evil.git");
        if !evil.exists() {
            let common = self.world.top.join(".git");
            git(&self.world.top, &["clone", "-q", "--bare", "--no-hardlinks", ".", evil.to_str().unwrap()]);
            git(&evil, &["config", "core.bare", "false"]);
            fs::copy(common.join("index"), evil.join("index")).unwrap();
            let (script, _) = self.canary("evil");
            git(&evil, &["config", "core.fsmonitor", script.to_str().unwrap()]);
            let alternates = fs::read(common.join("objects/info/alternates")).unwrap();
            fs::write(evil.join("objects/info/alternates"), alternates).unwrap();
        }
        evil
    }

    pub(crate) fn plant_hooks(&self) {
        let (script, _) = self.canary("hook");
        let hooks = self.world.top.join(".git/hooks");
        fs::create_dir_all(&hooks).unwrap();
        for hook in HOOKS {
            let _ = fs::remove_file(hooks.join(hook));
            fs::copy(&script, hooks.join(hook)).unwrap();
        }
    }

    /// Runs git as a person would, who does not know what was planted. How it ends is not of interest.
    pub(crate) fn plain(&self, scope: Scope, args: &[&str]) {
        let folder = if scope == Scope::Main { &self.world.top } else { &self.path };
        self.plain_in(folder, args);
    }

    pub(crate) fn plain_in(&self, folder: &Path, args: &[&str]) {
        let mut child = Command::new("git")
            .args(args)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Person")))
            .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "person@example.org")))
            .env_remove("GIT_EDITOR")
            .env_remove("VISUAL")
            .env_remove("GIT_ASKPASS")
            .env_remove("SSH_ASKPASS")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // One that does not read is fine.
        let _ = child.stdin.take().unwrap().write_all(b"protocol=https\nhost=example.org\n\n");
        child.wait().unwrap();
    }

    /// What the canaries wrote.
    pub(crate) fn sang(&self) -> String {
        fs::read_to_string(self.world.dir.path().join("sang")).unwrap_or_default()
    }

    pub(crate) fn hush(&self) {
        let _ = fs::remove_file(self.world.dir.path().join("sang"));
    }

    pub(crate) fn tampered(&self) -> Option<String> {
        self.world.repo.tampered(&self.path, &self.guard).unwrap()
    }

    /// What lies in the bait.
    pub(crate) fn before(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        list(&self.bait, &mut found);
        found
    }

    pub(crate) fn assert_silent(&self, what: &str, before: &BTreeMap<PathBuf, Vec<u8>>) {
        assert_eq!(self.sang(), "", "{what}: a canary sang");
        assert_eq!(self.before(), *before, "{what}: the bait changed");
    }

    /// Lands what fits of these, one upon the other, on the branch that is checked out, and undoes it.
    pub(crate) fn land_all(&self, heads: &[Oid]) {
        let repo = &self.world.repo;
        for head in heads {
            let car = Car { head, message: "car\n", at_ms: AT_MS, method: LandMethod::Merge };
            let tip = self.world.start();
            let train = repo.train(&branch("main"), &[car], 4096).unwrap().unwrap();
            if let Coupled::Merged { commit, .. } = &train.cars[0] {
                let check = self.world.tree("check");
                repo.add_check_worktree("1", &check, commit).unwrap();
                repo.remove_check_worktree(&check).unwrap();
                repo.land(&branch("main"), &tip, commit, "land").unwrap();
            }
        }
        git(&self.world.top, &["reset", "-q", "--hard", self.start.as_str()]);
    }

    /// Whether a landing of this commit on the checked-out branch moved the checkout.
    pub(crate) fn try_land(&self, commit: &Oid) -> bool {
        let landed = self.world.repo.land(&branch("main"), &self.world.start(), commit, "land");
        matches!(landed, Ok(Landing::Landed { .. }))
    }

    /// Commits with names in them that git itself would never write, and whether it refuses to check them out.
    pub(crate) fn crafted(&self) -> Vec<(&'static str, bool, Oid)> {
        let top = &self.world.top;
        let (script, _) = self.canary("crafted");
        let blob = git(top, &["hash-object", "-w", script.to_str().unwrap()]);
        let target = self.world.dir.path().join("target");
        fs::write(&target, self.bait.to_str().unwrap()).unwrap();
        let link = git(top, &["hash-object", "-w", target.to_str().unwrap()]);
        let inner = self.tree(&[("100755", &blob, "bait.txt")]);
        let commit = |entries: &[(&str, &str, &str)]| {
            let tree = self.tree(entries);
            let made = git(top, &["commit-tree", &tree, "-p", self.start.as_str(), "-m", "crafted"]);
            Oid::new(&made).unwrap()
        };
        vec![
            ("git folder", true, commit(&[("40000", &inner, ".git")])),
            ("git folder, other case", true, commit(&[("40000", &inner, ".GIT")])),
            ("parent", true, commit(&[("40000", &inner, "..")])),
            ("slash", true, commit(&[("100755", &blob, "../bait/bait.txt")])),
            // Which of the two is there is git's choice; nothing goes through the link.
            ("link and folder", false, commit(&[("120000", &link, "x"), ("40000", &inner, "x")])),
        ]
    }

    /// Written as bytes: git's own tools refuse such names.
    fn tree(&self, entries: &[(&str, &str, &str)]) -> String {
        let mut bytes = Vec::new();
        for (mode, oid, name) in entries {
            bytes.extend(format!("{mode} {name}\0").into_bytes());
            bytes.extend(
                oid.as_bytes()
                    .chunks(2)
                    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()),
            );
        }
        let file = self.world.dir.path().join("tree");
        fs::write(&file, bytes).unwrap();
        let args = ["hash-object", "-w", "-t", "tree", "--literally", file.to_str().unwrap()];
        git(&self.world.top, &args)
    }
}

fn list(folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), vec![]);
            list(&path, found);
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap_or_default());
        }
    }
}
