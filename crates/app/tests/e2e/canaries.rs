//! An agent that plants a program wherever git would run one: none is run by anything of ours, and its task is told
//! as tampered with, also after kills and a restart.

use std::fs;

use crate::support::{Bench, send, story, wait_for};

const BRANCH: &str = "feature/PRD-001";

/// Plants all of it in the shared repository and in its own worktree, works, and waits for the gate.
const AGENT: &str = r#"
set -e
root=$1
echo "$ROPEWALK_STORY" > "$ROPEWALK_STORY.x"
case $ROPEWALK_STORY in US-000) exit 0 ;; esac
canary() {
    printf '#!/bin/sh\necho "%s" >> "%s/sang"\n' "$1" "$root" > "$root/canary-$1"
    chmod +x "$root/canary-$1"
}
until mkdir "$root/alone" 2>/dev/null; do sleep 0.02; done
common=$(git rev-parse --path-format=absolute --git-common-dir)
own=$(git rev-parse --path-format=absolute --git-dir)
git config extensions.worktreeConfig true
for file in "$common/config" "$common/config.worktree" "$own/config.worktree"; do
    for key in core.fsmonitor core.sshCommand core.editor core.pager core.askPass core.alternateRefsCommand \
        filter.x.clean filter.x.smudge filter.x.process diff.x.command diff.x.textconv diff.external \
        merge.x.driver gpg.program credential.helper sequence.editor gc.recentObjectsHook; do
        canary "$key"
        git config --file "$file" "$key" "$root/canary-$key"
    done
    git config --file "$file" commit.gpgSign true
    git config --file "$file" log.showSignature true
    git config --file "$file" filter.x.required true
    git config --file "$file" alias.st "!$root/canary-core.editor"
done
mkdir -p "$common/hooks" "$common/info"
for hook in applypatch-msg commit-msg post-checkout post-commit post-index-change post-merge post-rewrite \
    pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase prepare-commit-msg reference-transaction update; do
    canary "$hook"
    cp "$root/canary-$hook" "$common/hooks/$hook"
done
echo '* filter=x diff=x merge=x' > "$common/info/attributes"
echo '* filter=x diff=x merge=x' > .gitattributes
echo "gitdir: $common" > .git
rmdir "$root/alone"
echo $$ > "$root/planted-$ROPEWALK_STORY"
while [ ! -e "$root/go" ]; do sleep 0.05; done
"#;

#[test]
fn nothing_that_an_agent_plants_is_run_and_its_task_is_parked_with_its_work_kept() {
    let bench = Bench::new();
    let root = bench.root();
    let script = root.join("hostile.sh");
    fs::write(&script, AGENT).expect("a script");
    let stories = [story("US-000", &[]), story("US-001", &["US-000"]), story("US-002", &["US-000"])];
    let prd = bench.prd(&stories);
    let agent = format!("sh {} {}", script.display(), root.display());
    let run = ["run", prd.to_str().expect("a path"), "--command", &agent, "--workers", "2"];
    let engine = bench.spawn(&run);
    let planted = |name: &str| {
        wait_for(name, || {
            let text = fs::read_to_string(root.join(format!("planted-{name}"))).ok()?;
            text.trim().parse::<u32>().ok()
        })
    };
    planted("US-001");
    let victim = planted("US-002");

    // The engine is killed, and one of the agents; commands look meanwhile, and the next engine takes over.
    engine.kill();
    send("-KILL", victim);
    let look = || {
        for args in [
            &["status"][..],
            &["status", "--system"],
            &["doctor"],
            &["prd", "show", "PRD-001"],
            &["diff", "PRD-001/US-000"],
            &["merge", "list"],
            &["why", "PRD-001/US-001"],
        ] {
            let ran = bench.run(args);
            assert!(ran.code.is_some(), "{ran}");
        }
    };
    look();
    fs::write(root.join("go"), "").expect("the gate");
    let ran = bench.expect(3, &run);
    ran.says(&["what git obeys in the repository was changed"]);
    look();

    for id in ["PRD-001/US-001", "PRD-001/US-002"] {
        let shown = bench.json(&["task", "show", id]);
        assert_eq!((&shown["state"], &shown["attempts"]), (&"parked".into(), &1.into()), "{shown}");
        let why = bench.run(&["why", id]);
        why.says(&["was changed: ", "was added", "then retry"]);
        bench.expect(0, &["diff", id]).says(&[".x"]);
    }
    let landed: Vec<_> = bench.landed_on(BRANCH).into_iter().map(|landed| landed.story).collect();
    assert_eq!(landed, ["US-000"], "what was tampered with lands nowhere");
    let tip = bench.git(&["-c", "core.fsmonitor=false", "rev-parse", "refs/heads/main"]);
    bench.expect(0, &["prd", "land", "PRD-001", "--partial"]);
    assert_ne!(bench.git(&["-c", "core.fsmonitor=false", "rev-parse", "refs/heads/main"]), tip);
    assert!(bench.repo.join("US-000.x").exists(), "the checkout moved along");

    let sang = fs::read_to_string(root.join("sang")).unwrap_or_default();
    assert_eq!(sang, "", "a canary sang");
    bench.git_may_fail(&["status"]);
    let sang = fs::read_to_string(root.join("sang")).unwrap_or_default();
    assert!(sang.contains("core.fsmonitor"), "plain git would have run it: {sang:?}");
}
