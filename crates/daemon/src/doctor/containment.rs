//! How surely attempts are ended here, in the doctor's words. Unaware of how it is found out.

use ropewalk_core::resource::Rung;
use ropewalk_host::containment::{ControllerOffer, Survey};

use super::Finding;

/// The rung in force, what cgroups there are, and who keeps an attempt's limits.
pub(super) fn findings(survey: &Survey) -> [Finding; 3] {
    [rung(survey), cgroup(survey), limits(&survey.bounds)]
}

fn rung(survey: &Survey) -> Finding {
    const TOPIC: &str = "containment";
    let text = format!("{}: {}", survey.rung.name(), reason(survey, survey.rung));
    let advice = "run it where cgroup v2 is delegated, such as `systemd-run --user --scope -p Delegate=yes`";
    match survey.rung {
        Rung::Cgroup => Finding::ok(TOPIC, text),
        Rung::Subreaper => Finding::ok(TOPIC, text).advice(advice),
        Rung::Group => Finding::weak(TOPIC, text).advice(advice),
    }
}

fn reason(survey: &Survey, rung: Rung) -> &str {
    survey.rungs.iter().find(|offer| offer.rung == rung).map_or("", |offer| offer.reason.as_str())
}

fn cgroup(survey: &Survey) -> Finding {
    const TOPIC: &str = "cgroup";
    let Some(mount) = &survey.cgroup_mount else {
        return Finding::missing(TOPIC, "no cgroup v2 is mounted");
    };
    if survey.rung != Rung::Cgroup {
        let reason = reason(survey, Rung::Cgroup);
        return Finding::missing(
            TOPIC,
            format!("v2 is mounted at {} but not for us: {reason}", mount.display()),
        );
    }
    let controllers = match survey.controllers.as_slice() {
        [] => "without controllers".to_owned(),
        names => format!("with {}", names.join(", ")),
    };
    Finding::ok(TOPIC, format!("v2 at {}, {controllers}", mount.display()))
}

fn limits(offers: &[ControllerOffer]) -> Finding {
    const TOPIC: &str = "limits";
    let told: Vec<String> =
        offers.iter().map(|offer| format!("{} kept by {}", offer.controller, offer.kept_by)).collect();
    let text = told.join(", ");
    if offers.iter().any(|offer| offer.kept_by == "watcher") {
        let advice = "a watcher sees a sudden breach half a second late; a delegated cgroup controller sees it at once";
        return Finding::weak(TOPIC, text).advice(advice);
    }
    Finding::ok(TOPIC, text)
}

#[cfg(test)]
mod tests {
    use ropewalk_host::containment::RungOffer;

    use super::*;

    #[test]
    fn the_rung_in_force_is_named_with_its_reason() {
        let offer = |rung, reason: &str| RungOffer { rung, is_available: true, reason: reason.into() };
        let survey = |rung| Survey {
            rung,
            rungs: vec![
                offer(Rung::Cgroup, "no folder may be made"),
                offer(Rung::Subreaper, "finds all"),
                offer(Rung::Group, "weak"),
            ],
            cgroup_mount: Some("/sys/fs/cgroup".into()),
            cgroup: None,
            kills: true,
            freezes: true,
            controllers: vec!["memory".into(), "pids".into()],
            bounds: vec![],
        };
        assert_eq!(rung(&survey(Rung::Cgroup)).told(), "ok cgroup: no folder may be made");
        assert_eq!(rung(&survey(Rung::Subreaper)).told(), "ok subreaper: finds all +");
        assert_eq!(rung(&survey(Rung::Group)).told(), "weak group: weak +");
        assert_eq!(cgroup(&survey(Rung::Cgroup)).told(), "ok v2 at /sys/fs/cgroup, with memory, pids");
        let refused = "missing v2 is mounted at /sys/fs/cgroup but not for us: no folder may be made";
        assert_eq!(cgroup(&survey(Rung::Group)).told(), refused);
        let none = Survey { cgroup_mount: None, ..survey(Rung::Group) };
        assert_eq!(cgroup(&none).told(), "missing no cgroup v2 is mounted");
        let kept =
            |by: &str| ControllerOffer { controller: "memory".into(), kept_by: by.into(), reason: "".into() };
        assert_eq!(limits(&[kept("cgroup v1")]).told(), "ok memory kept by cgroup v1");
        assert_eq!(limits(&[kept("watcher")]).told(), "weak memory kept by watcher +");
    }
}
