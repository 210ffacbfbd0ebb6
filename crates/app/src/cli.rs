//! The command line, as data. One definition gives parser, help, completions and man pages.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Exit codes, as `--help` shows them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    something of ours or of the machine failed; the text says what
  2    the input or the command line is wrong; nothing was changed
  3    the run ended, but something waits for a person
  4    there is no such PRD, task or file
  5    the state does not allow it
  75   busy; later it may work
  130  interrupted; the same command goes on";

/// Runs many AI coding agents side by side and lays their work into one branch.
#[derive(Debug, Parser)]
#[command(name = "ropewalk", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// Print one JSON value on stdout, everything else on stderr.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented ropewalk.toml for this repository.
    #[command(after_help = "Example:\n  ropewalk init")]
    Init(Init),
    /// Look at what this repository's ropewalk.toml asks to be run, and let it.
    #[command(after_help = "\
Examples:
  ropewalk trust          # shows what would be run, and asks
  ropewalk trust --yes    # without a terminal
  ropewalk trust --show

Trust is for exactly these bytes of the file: once it changes, it is asked again. What a command line names, such as a
script of the repository, is not looked at.")]
    Trust(Trust),
    /// Import a PRD and run it to the end; without a file, everything that is queued.
    #[command(after_help = "\
Examples:
  ropewalk run prd.json --command './agent.sh' --workers 8 --check 'cargo test'
  ropewalk run                    # everything that is queued, to the end
  ropewalk run prd.json --detach  # in the background; `ropewalk run --attach` looks on, `ropewalk stop` ends it

Ctrl-C stops cleanly: what runs has a minute to end by itself, then it is ended (--end) or left to go on alone
(--leave), and the same command goes on. A second Ctrl-C ends at once, as safe as kill -9: agents go on alone.")]
    Run(Box<Run>),
    /// Show what happens: a repository, a PRD of 12 stories, four workers, no AI.
    #[command(after_help = "Example:\n  ropewalk demo --dir /tmp/ropewalk-demo")]
    Demo(Demo),
    /// Single tasks.
    #[command(subcommand)]
    Task(Task),
    /// PRDs: documents of stories.
    #[command(subcommand)]
    Prd(Prd),
    /// What runs, lands and waits.
    #[command(after_help = "Examples:\n  ropewalk status --json\n  ropewalk status --system")]
    Status(Status),
    /// End the engine that runs in the background, or in another terminal.
    #[command(after_help = "\
Examples:
  ropewalk stop
  ropewalk stop PRD-001              # this PRD alone; `prd approve PRD-001` lets it go on
  ropewalk stop --leave --grace 0s   # agents go on alone; the next run takes them up")]
    Stop(Stop),
    /// Put by what a running attempt has done so far.
    #[command(after_help = "Example:\n  ropewalk checkpoint PRD-001/US-003")]
    Checkpoint(Name),
    /// What an attempt printed.
    #[command(after_help = "\
Examples:
  ropewalk logs PRD-001/US-003 --follow
  ropewalk logs 7 --tail 100 --stderr
  ropewalk logs 7 --since 10m --grep error

Into a pipe or a file it goes byte for byte; on a terminal escapes are shown, not acted upon. With --grep and on a
terminal, lines are cut at 64 kB.")]
    Logs(Logs),
    /// Why a task is not running: the dependency, the limit, the lease or the question.
    #[command(after_help = "Example:\n  ropewalk why PRD-001/US-003")]
    Why(Name),
    /// End tasks that nobody wants any more.
    #[command(after_help = "Example:\n  ropewalk cancel 7 8 PRD-001/US-003")]
    Cancel(Names),
    /// Try a parked or cancelled task again, or one that waits at once.
    #[command(after_help = "\
Examples:
  ropewalk retry 7
  ropewalk retry 7 8 PRD-001/US-003
  ropewalk retry 7 --from checkpoint   # on what its latest checkpoint holds
  ropewalk retry 7 --from 2.1")]
    Retry(Retry),
    /// What waits to land, what came back, what has landed.
    #[command(subcommand)]
    Merge(Merge),
    /// Where work that runs or waits to land would meet, before it lands.
    #[command(after_help = "Example:\n  ropewalk conflicts")]
    Conflicts,
    /// What an attempt changed.
    #[command(after_help = "\
Examples:
  ropewalk diff PRD-001/US-003
  ropewalk diff 7 --attempt 2 --stat")]
    Diff(Diff),
    /// Say whether work that waits for you may land.
    #[command(after_help = "\
Examples:
  ropewalk review 7 --approve
  ropewalk review 7 --reject \"the error text names no file\"   # the next attempt is told

Work waits where the project's settings say so: [land] review = true.")]
    Review(Review),
    /// What was kept of attempts' worktrees before they were removed.
    #[command(subcommand)]
    Rescue(Rescue),
    /// Worktrees: those in which agents work, and those of failed attempts.
    #[command(subcommand)]
    Worktree(Worktree),
    /// What this machine offers: what is there, what is weak, what is missing, and what to do about it.
    #[command(after_help = "\
Example:
  ropewalk doctor

Works anywhere, with or without a repository, and changes nothing. Exit code 1: something is missing without which
nothing can run.")]
    Doctor,
    /// Settings and where each comes from.
    #[command(subcommand)]
    Config(Config),
    /// Measure what this machine makes of us.
    #[command(subcommand)]
    Bench(Bench),
    /// Print shell completions.
    #[command(
        after_help = "Example:\n  ropewalk completions bash > ~/.local/share/bash-completion/completions/ropewalk"
    )]
    Completions { shell: clap_complete::Shell },
    /// Write man pages into a folder.
    #[command(after_help = "Example:\n  ropewalk man ~/.local/share/man/man1")]
    Man { folder: PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Write over a ropewalk.toml that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Trust it without a question.
    #[arg(long, conflicts_with_all = ["show", "revoke"])]
    pub(crate) yes: bool,
    /// Only show what would be run, and whether it is trusted.
    #[arg(long, conflicts_with = "revoke")]
    pub(crate) show: bool,
    /// Take the trust back.
    #[arg(long)]
    pub(crate) revoke: bool,
}

/// Settings that a command line may give; they win over the environment and the files.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Set {
    /// The agent: a command that gets the prompt on stdin and works in the current folder.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// A command that must succeed on the merged tree before it lands; may be repeated.
    #[arg(long = "check", value_name = "COMMAND")]
    pub(crate) checks: Vec<String>,
    /// The time of an attempt, such as 90s or 30m.
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// End an attempt that neither prints nor uses the processor for so long; off: never.
    #[arg(long, value_name = "TIME")]
    pub(crate) stall: Option<String>,
    /// The memory of all processes of an attempt together, such as 512MiB or 4G.
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// The processor time of all processes of an attempt together, such as 30m.
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_time: Option<String>,
    /// The processes and threads of an attempt at once.
    #[arg(long, value_name = "N")]
    pub(crate) processes: Option<String>,
    /// The files that one process of an attempt has open.
    #[arg(long, value_name = "N")]
    pub(crate) open_files: Option<String>,
    /// The size of any one file that an attempt writes, its output included.
    #[arg(long, value_name = "SIZE")]
    pub(crate) file_size: Option<String>,
    /// How much an attempt gives way on the processor, from 0 to 19.
    #[arg(long, value_name = "N")]
    pub(crate) nice: Option<String>,
    /// How many failed attempts park a task.
    #[arg(long, value_name = "N")]
    pub(crate) attempts: Option<String>,
    /// A variable for the agent: NAME hands ours on, NAME=VALUE sets it; may be repeated.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// A variable of ours that the agent gets and whose value is never stored; may be repeated.
    #[arg(long = "secret", value_name = "NAME")]
    pub(crate) secrets: Vec<String>,
    /// The branch that work starts from and PRDs land on.
    #[arg(long, value_name = "BRANCH")]
    pub(crate) base: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The PRD file. Running a changed file again adds and updates stories that have not started.
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) set: Set,
    /// Attempts at once.
    #[arg(long, short, value_name = "N")]
    pub(crate) workers: Option<String>,
    /// All PRDs that are queued, which is also what happens where no file is given.
    #[arg(long, conflicts_with = "file")]
    pub(crate) all: bool,
    /// PRDs that are worked on at once; the others wait for their turn.
    #[arg(long, value_name = "N")]
    pub(crate) max_prds: Option<String>,
    /// The PRD's id, where the file has none.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Take `passes: true` of the file as done.
    #[arg(long)]
    pub(crate) trust_passes: bool,
    /// Run in the background: the terminal may be closed.
    #[arg(long, conflicts_with = "attach")]
    pub(crate) detach: bool,
    /// Look on while another run works; Ctrl-C leaves it running.
    #[arg(long, conflicts_with_all = ["file", "end", "leave"])]
    pub(crate) attach: bool,
    #[command(flatten)]
    pub(crate) at_stop: AtStop,
    /// This process is the background's.
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// What a stop does with attempts that still run when their time is over.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct AtStop {
    /// A stop ends what still runs after the grace; its work is put by.
    #[arg(long, conflicts_with = "leave")]
    pub(crate) end: bool,
    /// A stop leaves what still runs after the grace to go on alone.
    #[arg(long)]
    pub(crate) leave: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// This PRD alone: what runs of it is ended, and nothing more of it starts before `prd approve`.
    #[arg(conflicts_with_all = ["end", "leave", "grace"])]
    pub(crate) prd: Option<String>,
    #[command(flatten)]
    pub(crate) at_stop: AtStop,
    /// How long what runs has to end by itself, such as 60s or 0s.
    #[arg(long, value_name = "TIME")]
    pub(crate) grace: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// The machine: processor, memory, load, pressure, and how attempts have gone.
    #[arg(long)]
    pub(crate) system: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Merge {
    /// The merge queues of all targets, and what became of the latest candidates.
    #[command(after_help = "Example:\n  ropewalk merge list")]
    List,
    /// One task's latest candidate: its merge, how its checks went, why it came back.
    #[command(after_help = "Example:\n  ropewalk merge show PRD-001/US-003")]
    Show(Name),
    /// Put candidates that are parked back into the queue, where they are good as they are; else try again.
    #[command(after_help = "Example:\n  ropewalk merge retry 7 8")]
    Retry(Names),
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    pub(crate) name: Name,
    /// This attempt instead of the latest.
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u32>,
    /// Names of files and counts of lines only.
    #[arg(long)]
    pub(crate) stat: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Review {
    #[command(flatten)]
    pub(crate) name: Name,
    /// It may land.
    #[arg(long, conflicts_with = "reject")]
    pub(crate) approve: bool,
    /// Another attempt goes on from it, and is told this.
    #[arg(long, value_name = "COMMENT")]
    pub(crate) reject: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    pub(crate) names: Names,
    /// Start on a checkpoint: `checkpoint` for the latest, or ATTEMPT.NUMBER as `task show` lists them.
    #[arg(long, value_name = "CHECKPOINT")]
    pub(crate) from: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The new folder to work in; it is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Queue a task: an agent in a worktree, or a plain command in a folder.
    #[command(after_help = "\
Examples:
  ropewalk task add 'fix the typo in README' --command './agent.sh' --priority P0
  ropewalk task add 'nightly report' --no-worktree --command 'make report' --after 7

A task in a worktree lands on the branch of the project's single tasks; `ropewalk prd land TASKS` takes it to the
base. A plain command has nothing to land.")]
    Add(Box<TaskAdd>),
    /// Make a task that has not started wait for another one as well.
    #[command(after_help = "Example:\n  ropewalk task after 7 --on 3")]
    After {
        #[command(flatten)]
        name: Name,
        /// The task to wait for.
        #[arg(long, value_name = "ID")]
        on: String,
    },
    /// List tasks.
    #[command(after_help = "Example:\n  ropewalk task list --state parked")]
    List(TaskList),
    /// Show one task with its attempts.
    #[command(after_help = "Example:\n  ropewalk task show 7")]
    Show(Name),
}

#[derive(Debug, Args)]
pub(crate) struct TaskAdd {
    /// What is to be done: the agent's prompt.
    pub(crate) text: String,
    #[command(flatten)]
    pub(crate) set: Set,
    /// P0, P1, P2 or a number; lower goes first.
    #[arg(long)]
    pub(crate) priority: Option<String>,
    /// A task that must be done before; may be repeated.
    #[arg(long, value_name = "ID")]
    pub(crate) after: Vec<String>,
    /// How many copies.
    #[arg(long, default_value_t = 1)]
    pub(crate) count: u32,
    /// A plain command in the current folder: no git, nothing to land.
    #[arg(long)]
    pub(crate) no_worktree: bool,
    /// A plain command in this folder.
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TaskList {
    /// Only tasks in this state; may be repeated.
    #[arg(long)]
    pub(crate) state: Vec<String>,
    /// Only tasks of this PRD.
    #[arg(long, value_name = "ID")]
    pub(crate) prd: Option<String>,
    /// Only tasks with a greater number.
    #[arg(long, default_value_t = 0, value_name = "ID")]
    pub(crate) after: u64,
    /// At most so many.
    #[arg(long, default_value_t = 200)]
    pub(crate) limit: usize,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Prd {
    /// Import a PRD file as a draft.
    #[command(after_help = "Example:\n  ropewalk prd import prd.json --approve")]
    Import(Box<PrdImport>),
    /// List PRDs.
    #[command(after_help = "Example:\n  ropewalk prd list --state active")]
    List(PrdList),
    /// Show one PRD with its stories.
    #[command(after_help = "Example:\n  ropewalk prd show PRD-001")]
    Show(PrdName),
    /// Show in which order its open stories can be worked off.
    #[command(after_help = "Example:\n  ropewalk prd plan PRD-001")]
    Plan(PrdName),
    /// Let a draft run.
    #[command(after_help = "Example:\n  ropewalk prd approve PRD-001")]
    Approve(PrdName),
    /// Give a PRD up; its open stories are cancelled.
    #[command(after_help = "Example:\n  ropewalk prd abandon PRD-001 --reason 'superseded by PRD-004'")]
    Abandon {
        #[command(flatten)]
        name: PrdName,
        #[arg(long)]
        reason: String,
    },
    /// Call a PRD completed.
    #[command(after_help = "Example:\n  ropewalk prd complete PRD-001")]
    Complete {
        #[command(flatten)]
        name: PrdName,
        /// Also with stories that have not landed; they are cancelled.
        #[arg(long)]
        force: bool,
    },
    /// Land a PRD's branch on its base.
    #[command(after_help = "Example:\n  ropewalk prd land PRD-001")]
    Land {
        #[command(flatten)]
        name: PrdName,
        /// Also with stories that have not landed.
        #[arg(long)]
        partial: bool,
    },
    /// Find PRDs by words, "phrases", tag:NAME, AND, OR, NOT.
    #[command(after_help = "Example:\n  ropewalk prd search 'memory AND NOT tag:deprecated'")]
    Search {
        /// The search; words side by side mean AND.
        #[arg(required = true)]
        query: Vec<String>,
    },
    /// Write a PRD's document back, unknown fields and all, with what landed marked.
    #[command(after_help = "Example:\n  ropewalk prd export PRD-001 > prd.json")]
    Export(PrdName),
}

#[derive(Debug, Args)]
pub(crate) struct PrdImport {
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) set: Set,
    /// Let it run as well.
    #[arg(long)]
    pub(crate) approve: bool,
    /// The PRD's id, where the file has none.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Take `passes: true` of the file as done.
    #[arg(long)]
    pub(crate) trust_passes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PrdList {
    /// Only PRDs in this state; may be repeated.
    #[arg(long)]
    pub(crate) state: Vec<String>,
    /// Those of all projects, not only of this repository.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) name: Name,
    /// Go on until the attempt ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin with the last N lines.
    #[arg(long, short = 'n', value_name = "N")]
    pub(crate) tail: Option<u64>,
    /// Begin with what came since: a length of time (10m), a time of day (14:30) or a date and time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Begin at this byte: where the answer before stopped (`next_offset` of --json).
    #[arg(long, value_name = "BYTES")]
    pub(crate) offset: Option<u64>,
    /// Only lines that contain this text, exactly.
    #[arg(long, value_name = "TEXT")]
    pub(crate) grep: Option<String>,
    /// What it wrote to stderr.
    #[arg(long)]
    pub(crate) stderr: bool,
    /// This attempt instead of the latest.
    #[arg(long, value_name = "N")]
    pub(crate) attempt: Option<u32>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Name {
    /// A task's number, or a story as PRD/STORY.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct PrdName {
    /// A PRD's id, such as PRD-001.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Names {
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rescue {
    /// List what was rescued in this repository.
    #[command(after_help = "Example:\n  ropewalk rescue list --task PRD-001/US-003")]
    List {
        /// Only those of this task.
        #[arg(long, value_name = "ID")]
        task: Option<String>,
    },
    /// Show one rescue: what it holds, what was left out.
    #[command(after_help = "Example:\n  ropewalk rescue show 3.1 --patch")]
    Show {
        /// As `rescue list` names it, such as 3.1.
        id: String,
        /// Which files differ from the commit that the worktree was at.
        #[arg(long, conflicts_with = "patch")]
        stat: bool,
        /// How they differ.
        #[arg(long)]
        patch: bool,
    },
    /// Write rescued files back, into a new folder.
    #[command(after_help = "\
Examples:
  ropewalk rescue restore 3.1                        # all files, into ./rescue-3.1
  ropewalk rescue restore 3.1 --to . src/lib.rs      # one of them, into place
  ropewalk rescue restore 3.1:stash-1 --to /tmp/old  # another part; `rescue show 3.1` lists them
  ropewalk rescue restore 3.1 --branch look          # its commits, as a branch

Nothing is overwritten without --force, and nothing is written through a link.")]
    Restore(RescueRestore),
}

#[derive(Debug, Args)]
pub(crate) struct RescueRestore {
    /// A rescue such as 3.1, or a part of one such as 3.1:index.
    pub(crate) id: String,
    /// Only these files and folders of it.
    pub(crate) paths: Vec<PathBuf>,
    /// The folder to write to; nothing: rescue-ID here.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Make this branch at its commit as well; without --to, instead.
    #[arg(long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Write over files that are there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Worktree {
    /// List worktrees of live attempts and those that are kept.
    #[command(after_help = "Example:\n  ropewalk worktree list")]
    List,
    /// Open a shell in the worktree of a failed attempt.
    #[command(
        after_help = "Examples:\n  ropewalk worktree enter 3.1\n  cd \"$(ropewalk worktree enter 3.1 --print)\""
    )]
    Enter {
        /// As `worktree list` names it, such as 3.1.
        id: String,
        /// Print the path instead.
        #[arg(long)]
        print: bool,
    },
    /// Remove kept worktrees, once what is in them is rescued.
    #[command(after_help = "Example:\n  ropewalk worktree prune --all")]
    Prune {
        /// As `worktree list` names them.
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All that are kept.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show the settings in force here.
    #[command(after_help = "Example:\n  ropewalk config show --origin")]
    Show {
        /// Say where each value comes from.
        #[arg(long)]
        origin: bool,
    },
    /// Print where settings and state live.
    #[command(after_help = "Example:\n  ropewalk config path")]
    Path,
    /// Print the reference of all settings, in Markdown.
    #[command(after_help = "Example:\n  ropewalk config reference")]
    Reference,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// How fast output is captured, beside the child alone and beside the least work possible.
    #[command(after_help = "Example:\n  ropewalk bench output --mib 256")]
    Output(BenchOutput),
    /// How quickly candidates become one line of history, beside git as a person would use it.
    #[command(after_help = "Example:\n  ropewalk bench git --files 5000")]
    Git(BenchGit),
    /// What the measured child does.
    #[command(hide = true)]
    Print { file: PathBuf, times: u64 },
}

#[derive(Debug, Args)]
pub(crate) struct BenchOutput {
    /// How much is printed at a time.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) mib: u64,
    /// How often everything is measured; the best counts.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Where to write (and delete again); nothing: beside the state.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchGit {
    /// Files of the repository that is generated.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    pub(crate) files: u32,
    /// How often everything is measured; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Where to write (and delete again); nothing: beside the state.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
