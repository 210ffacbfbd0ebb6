//! How surely the processes of an attempt can be found and ended. Knows the rungs and which of them this machine
//! has; unaware of deadlines and of why anything is to end.
//!
//! | rung | what it finds | what it needs |
//! | --- | --- | --- |
//! | cgroup | all that was started in it, also after the worker's death | a writable cgroup v2 |
//! | subreaper | all that descends from the worker, while it lives | Linux |
//! | group | what has the session or the mark | nothing; weak |
//!
//! Moving a process between cgroups waits for every processor (6 ms), so nothing moves per attempt: the worker
//! goes into `<its cgroup>/ropewalk-PID-START/agents` once, and all that it starts is born there. Only when it must
//! kill the whole of `agents` does it step aside into `worker` beside it.

mod cgroup;
mod controllers;
pub(crate) mod mark;
mod mounts;
mod survey;

use std::io;
use std::path::Path;

use ropewalk_core::resource::Rung;

pub(crate) use self::cgroup::{remove_of, remove_stale};
pub(crate) use self::controllers::Confines;
pub use self::survey::{ControllerOffer, RungOffer, Survey, survey};
use crate::identity::ProcessIdentity;

/// Which rung a worker takes: the best that there is, or this one and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    #[default]
    Auto,
    Only(Rung),
}

impl Choice {
    /// As the worker's option `--containment` says it.
    pub fn parse(word: &str) -> Option<Choice> {
        match word {
            "auto" => Some(Choice::Auto),
            "cgroup" => Some(Choice::Only(Rung::Cgroup)),
            "subreaper" => Some(Choice::Only(Rung::Subreaper)),
            "group" => Some(Choice::Only(Rung::Group)),
            _ => None,
        }
    }
}

/// What a worker holds its agents in, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Container {
    rung: Rung,
    cgroup: Option<cgroup::Cgroup>,
    /// Whether memory and process bounds may be left to cgroup controllers.
    pub(crate) has_controllers: bool,
}

impl Container {
    /// Makes this process the root of a container. To be called once, early, with a single thread.
    ///
    /// # Errors
    /// When the one rung that was asked for is not to be had.
    pub(crate) fn enter(
        choice: Choice,
        own: &ProcessIdentity,
        has_controllers: bool,
    ) -> io::Result<Container> {
        let without = |rung| Container { rung, cgroup: None, has_controllers };
        if choice == Choice::Only(Rung::Group) {
            return Ok(without(Rung::Group));
        }
        let reaps = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        match choice {
            Choice::Only(Rung::Subreaper) => {
                reaps?;
                return Ok(without(Rung::Subreaper));
            }
            Choice::Auto if reaps.is_err() => return Ok(without(Rung::Group)),
            Choice::Auto | Choice::Only(_) => reaps?,
        }
        match cgroup::Cgroup::enter(own) {
            Ok(cgroup) => Ok(Container { rung: Rung::Cgroup, cgroup: Some(cgroup), has_controllers }),
            Err(_) if choice == Choice::Auto => Ok(without(Rung::Subreaper)),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn rung(&self) -> Rung {
        self.rung
    }

    /// The folder of the worker's own cgroup, above that of its agents.
    pub(crate) fn cgroup(&self) -> Option<&Path> {
        self.cgroup.as_ref().map(cgroup::Cgroup::top)
    }

    /// Kills all that is in the agents' cgroup, at once and whatever it forks meanwhile, and waits (bounded) until
    /// nothing is alive in it; `meanwhile` is called again and again, to reap. False: there is no cgroup, or it
    /// does not obey, and the next rung has to do.
    pub(crate) fn kill_agents(&self, meanwhile: impl FnMut()) -> bool {
        self.cgroup.as_ref().is_some_and(|cgroup| cgroup.kill_agents(meanwhile).is_ok())
    }

    /// Steps out of the container and takes it away. What cannot be removed is left to the next sweep.
    pub(crate) fn leave(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.leave();
        }
    }
}

/// Kills all that is left in the container of a worker that is gone, and takes it away. `cgroup` is what the
/// worker's note says, and is believed only where it can be no other's. Returns whether it is empty now: `None`
/// when there is no such container.
pub(crate) fn kill_left(worker: &ProcessIdentity, cgroup: Option<&Path>) -> Option<LeftInside> {
    cgroup::kill_left(worker, cgroup?)
}

/// What was found in the container of a worker that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftInside {
    pub(crate) killed: usize,
    pub(crate) is_empty: bool,
}
