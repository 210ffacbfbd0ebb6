//! What this machine offers, with a reason for what it does not. For people; a worker tries instead of asking.

use std::fs;
use std::path::{Path, PathBuf};

use ropewalk_core::resource::Rung;
use rustix::fs::{Access, access};
use serde::{Deserialize, Serialize};

use super::mounts::{self, Mount};

/// All of it, for `ropewalk doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The best that there is: what attempts get.
    pub rung: Rung,
    /// Every rung, strongest first.
    pub rungs: Vec<RungOffer>,
    /// Where cgroup v2 is mounted.
    #[serde(default)]
    pub cgroup_mount: Option<PathBuf>,
    /// This process's own folder in it.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
    /// `cgroup.kill`: Linux 5.14.
    pub kills: bool,
    /// `cgroup.freeze`: Linux 5.2.
    pub freezes: bool,
    /// The v2 controllers that we were given.
    pub controllers: Vec<String>,
    /// How bounds on memory and on processes are kept.
    pub bounds: Vec<ControllerOffer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungOffer {
    pub rung: Rung,
    pub is_available: bool,
    /// Why not, or what it does.
    pub reason: String,
}

/// Who keeps one bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControllerOffer {
    /// `memory` or `pids`.
    pub controller: String,
    /// `cgroup v2`, `cgroup v1`, or `watcher`: the worker looks twice a second.
    pub kept_by: String,
    pub reason: String,
}

/// Looks. Makes an empty cgroup for a moment, because permission is told by nothing else for certain.
pub fn survey() -> Survey {
    let mounts = mounts::mounts();
    let cgroup = mounts::own_v2(&mounts);
    let tried = try_cgroup(&mounts, cgroup.as_deref());
    let (kills, freezes, controllers) = match &tried {
        Ok(offer) => (offer.kills, offer.freezes, offer.controllers.clone()),
        Err(_) => (false, false, Vec::new()),
    };
    let rungs = vec![
        match tried {
            Ok(offer) if offer.kills => {
                available(Rung::Cgroup, "ends all at once, also after the worker's death")
            }
            Ok(offer) if offer.freezes => {
                available(Rung::Cgroup, "freezes, then ends one by one: there is no cgroup.kill (Linux 5.14)")
            }
            Ok(_) => missing(Rung::Cgroup, "neither cgroup.kill nor cgroup.freeze is there (Linux 5.2)"),
            Err(reason) => missing(Rung::Cgroup, &reason),
        },
        match rustix::process::child_subreaper() {
            Ok(_) => available(Rung::Subreaper, "finds all that descends from a living worker"),
            Err(error) => missing(Rung::Subreaper, &format!("the kernel refuses it: {error}")),
        },
        available(Rung::Group, "weak: a process with its own session and a cleared environment escapes"),
    ];
    let best = rungs.iter().find(|offer| offer.is_available).map_or(Rung::Group, |offer| offer.rung);
    let bounds = ["memory", "pids"].map(|controller| bound(&mounts, controller, best, &controllers)).to_vec();
    let cgroup_mount = mounts.iter().find(|mount| mount.is_v2).map(|mount| mount.point.clone());
    Survey { rung: best, rungs, cgroup_mount, cgroup, kills, freezes, controllers, bounds }
}

fn available(rung: Rung, reason: &str) -> RungOffer {
    RungOffer { rung, is_available: true, reason: reason.to_owned() }
}

fn missing(rung: Rung, reason: &str) -> RungOffer {
    RungOffer { rung, is_available: false, reason: reason.to_owned() }
}

struct CgroupOffer {
    kills: bool,
    freezes: bool,
    controllers: Vec<String>,
}

fn try_cgroup(mounts: &[Mount], own: Option<&Path>) -> Result<CgroupOffer, String> {
    if !mounts.iter().any(|mount| mount.is_v2) {
        return Err("no cgroup v2 hierarchy is mounted".into());
    }
    let own = own.ok_or("the mounted cgroup v2 hierarchy does not show this process")?;
    access(own.join("cgroup.procs"), Access::WRITE_OK)
        .map_err(|error| format!("{} may not be written: {error}", own.join("cgroup.procs").display()))?;
    let name = format!("ropewalk-survey-{}", std::process::id());
    let folder = own.join(name);
    fs::create_dir(&folder)
        .map_err(|error| format!("no cgroup may be made in {}: {error}", own.display()))?;
    let controllers = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    let offer = CgroupOffer {
        kills: folder.join("cgroup.kill").exists(),
        freezes: folder.join("cgroup.freeze").exists(),
        controllers: controllers.split_ascii_whitespace().map(str::to_owned).collect(),
    };
    let _ = fs::remove_dir(&folder);
    Ok(offer)
}

fn bound(mounts: &[Mount], controller: &str, rung: Rung, delegated: &[String]) -> ControllerOffer {
    let offer = |kept_by: &str, reason: String| ControllerOffer {
        controller: controller.to_owned(),
        kept_by: kept_by.to_owned(),
        reason,
    };
    if rung == Rung::Cgroup && delegated.iter().any(|name| name == controller) {
        return offer("cgroup v2", "the controller is delegated".into());
    }
    let Some(own) = mounts::own_v1(mounts, controller) else {
        return offer(
            "watcher",
            "neither a delegated v2 controller nor a v1 hierarchy shows this process".into(),
        );
    };
    match access(&own, Access::WRITE_OK) {
        Ok(()) => offer("cgroup v1", format!("{} is writable", own.display())),
        Err(error) => offer("watcher", format!("{} may not be written: {error}", own.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_names_each_rung_with_a_reason_and_leaves_nothing_behind() {
        let survey = survey();
        assert_eq!(
            survey.rungs.iter().map(|o| o.rung).collect::<Vec<_>>(),
            [Rung::Cgroup, Rung::Subreaper, Rung::Group]
        );
        assert!(survey.rungs.iter().all(|offer| !offer.reason.is_empty()), "{survey:?}");
        assert!(survey.rungs.iter().any(|offer| offer.is_available && offer.rung == survey.rung));
        if let Some(cgroup) = &survey.cgroup {
            assert!(!cgroup.join(format!("ropewalk-survey-{}", std::process::id())).exists());
        }
        let text = serde_json::to_string(&survey).unwrap();
        assert_eq!(serde_json::from_str::<Survey>(&text).unwrap(), survey);
    }
}
