//! Where a command is given: the repository, the settings in force there, the state folder.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use ropewalk_core::command::Done;
use ropewalk_core::resource::Bounds;
use ropewalk_core::settings::{EnvValue, Settings};
use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::door::Options;
use ropewalk_daemon::session::Session;
use ropewalk_host::git::{self, Discovered, RepositoryFault, discover};
use ropewalk_host::redact::VALUE_BYTES_MIN;
use ropewalk_host::shell;

use crate::cli::Set;
use crate::config::{self, Config, Flags, Layer, Source};
use crate::failure::Failure;
use crate::out::Out;
use crate::trust;

pub(crate) struct Place {
    pub(crate) home: PathBuf,
    pub(crate) folder: PathBuf,
    repository: Result<Discovered, RepositoryFault>,
    env: Vec<(String, String)>,
    /// The project's file, read once: what is trusted and what is used are the same bytes.
    source: OnceCell<Option<Source>>,
}

/// Stands for the checks of a file that is not trusted any more: no program has this name, so that whatever comes to be
/// checked is parked and says why.
const NOT_TRUSTED: &str = "ropewalk.toml-is-not-trusted-any-more,-see-ropewalk-trust";

impl Place {
    /// Looks round: changes nothing.
    pub(crate) fn look() -> Result<Place, Failure> {
        let env = config::environment()?;
        let folder = std::env::current_dir()
            .map_err(|error| Failure::broken(format!("the current folder cannot be read: {error}")))?;
        Place::at(&folder, env)
    }

    pub(crate) fn at(folder: &Path, env: Vec<(String, String)>) -> Result<Place, Failure> {
        let home = config::home(env.iter().cloned())?;
        Ok(Place {
            home,
            folder: folder.to_owned(),
            repository: discover(folder),
            env,
            source: OnceCell::new(),
        })
    }

    /// The repository, or why there is none that can be worked on.
    pub(crate) fn repository(&self) -> Result<&Discovered, Failure> {
        self.repository.as_ref().map_err(|fault| Failure::input(fault.to_string()))
    }

    /// The common git folder, which tells this repository's PRDs from others; nothing outside of one.
    pub(crate) fn common_dir(&self) -> Option<String> {
        self.repository.as_ref().ok().map(|found| found.common_dir.to_string_lossy().into_owned())
    }

    pub(crate) fn project_file(&self) -> Option<PathBuf> {
        self.repository.as_ref().ok().map(|found| found.top.join(config::PROJECT_FILE))
    }

    pub(crate) fn user_file(&self) -> Option<PathBuf> {
        config::user_file(self.env.iter().cloned())
    }

    /// The project's file as it was when it was first asked for; nothing outside of a repository.
    pub(crate) fn source(&self) -> Option<&Source> {
        let read = || {
            let found = self.repository.as_ref().ok()?;
            Some(Source::read_within(&found.top, config::PROJECT_FILE))
        };
        self.source.get_or_init(read).as_ref()
    }

    /// The settings in force, flags included, to act upon: refused as long as the project's file asks for something to
    /// be run and the user does not trust it.
    pub(crate) fn config(&self, set: &Set, workers: Option<&String>) -> Result<Config, Failure> {
        self.config_at_once(set, workers, None)
    }

    /// The same, with how many PRDs are worked on at once.
    pub(crate) fn config_at_once(
        &self,
        set: &Set,
        workers: Option<&String>,
        max_prds: Option<&String>,
    ) -> Result<Config, Failure> {
        let config = self.read_config(set, workers, max_prds)?;
        trust::refuse_untrusted(self)?;
        Ok(config)
    }

    /// The same to look at, or to read what is run by nobody, whether the user trusts it or not.
    pub(crate) fn untrusted_config(&self, set: &Set, workers: Option<&String>) -> Result<Config, Failure> {
        self.read_config(set, workers, None)
    }

    fn read_config(
        &self,
        set: &Set,
        workers: Option<&String>,
        max_prds: Option<&String>,
    ) -> Result<Config, Failure> {
        let flags = Flags {
            command: set.command.clone(),
            checks: set.checks.clone(),
            timeout: set.timeout.clone(),
            stall: set.stall.clone(),
            memory: set.memory.clone(),
            cpu_time: set.cpu_time.clone(),
            processes: set.processes.clone(),
            open_files: set.open_files.clone(),
            file_size: set.file_size.clone(),
            nice: set.nice.clone(),
            attempts: set.attempts.clone(),
            workers: workers.cloned(),
            max_prds: max_prds.cloned(),
            env: set.env.clone(),
            secrets: set.secrets.clone(),
            base: set.base.clone(),
        };
        let user = self.user_file();
        Ok(config::resolve(&flags, self.env.iter().cloned(), self.source(), user.as_deref())?)
    }

    /// The settings without any flag: the project's own.
    pub(crate) fn project_settings(&self) -> Result<Settings, Failure> {
        let config = self.config(&Set::default(), None)?;
        Ok(self.anchored(&config))
    }

    /// All settings in force, the agent's program named so that it means the same in every worktree.
    pub(crate) fn anchored(&self, config: &Config) -> Settings {
        let mut settings = config.settings();
        let folder = config.origin("agent.shell.command").and_then(config::Origin::folder);
        let folder = folder.unwrap_or(&self.folder).to_owned();
        settings.command = settings.command.map(|command| shell::anchor(&command, &folder));
        let is_default = |key| config.origin(key).is_none_or(|origin| origin.layer == Layer::Default);
        if is_default("attempt.require_change") {
            settings.require_change = None;
        }
        settings
    }

    /// Only what the flags say: the overrides of one PRD or task.
    pub(crate) fn overrides(&self, set: &Set) -> Result<Settings, Failure> {
        let config = self.config(set, None)?;
        let all = self.anchored(&config);
        let bounds = Bounds {
            memory_bytes: set.memory.is_some().then_some(all.bounds.memory_bytes).flatten(),
            cpu_ms: set.cpu_time.is_some().then_some(all.bounds.cpu_ms).flatten(),
            processes: set.processes.is_some().then_some(all.bounds.processes).flatten(),
            open_files: set.open_files.is_some().then_some(all.bounds.open_files).flatten(),
            file_bytes: set.file_size.is_some().then_some(all.bounds.file_bytes).flatten(),
            nice: set.nice.is_some().then_some(all.bounds.nice).flatten(),
        };
        let is_given = |name: &String| is_given(name, &set.env) || set.secrets.contains(name);
        Ok(Settings {
            command: set.command.is_some().then_some(all.command).flatten(),
            checks: (!set.checks.is_empty()).then_some(all.checks).flatten(),
            timeout_ms: set.timeout.is_some().then_some(all.timeout_ms).flatten(),
            stall_ms: set.stall.is_some().then_some(all.stall_ms).flatten(),
            bounds,
            // Those of the layers below too: this list takes the place of the project's.
            secrets: (!set.secrets.is_empty()).then_some(all.secrets).flatten(),
            attempts_max: set.attempts.is_some().then_some(all.attempts_max).flatten(),
            base: set.base.is_some().then_some(all.base).flatten(),
            env: all.env.into_iter().filter(|(name, _)| is_given(name)).collect(),
            ..Settings::default()
        })
    }

    /// Asks from here; a refusal is a failure.
    pub(crate) fn ask(&self, session: &mut Session, request: Request) -> Result<Response, Failure> {
        match session.ask(self.common_dir().as_deref(), request)? {
            Response::Refused(refusal) => Err(refusal.into()),
            response => Ok(response),
        }
    }

    /// Asks from here for a change.
    pub(crate) fn done(&self, session: &mut Session, request: Request) -> Result<Done, Failure> {
        match self.ask(session, request)? {
            Response::Done(done) => Ok(done),
            response => Err(Failure::unexpected(&response)),
        }
    }

    /// Makes the repository known, with its settings of this moment.
    pub(crate) fn add_project(&self, session: &mut Session) -> Result<(), Failure> {
        self.add_project_with(session, self.project_settings()?)
    }

    /// The same with what is set outside of the repository alone. What waits to land is not to land unchecked for that:
    /// where the file has checks, none can be run until it is trusted again.
    pub(crate) fn add_project_without_file(&self, session: &mut Session) -> Result<(), Failure> {
        let user = self.user_file();
        let env = self.env.iter().cloned();
        let config = config::resolve(&Flags::default(), env, None, user.as_deref())?;
        let mut settings = self.anchored(&config);
        // A file that cannot be read any more may have had some.
        let file = self.untrusted_config(&Set::default(), None).ok().map(|config| config.settings());
        if file.as_ref().is_none_or(|file| file.checks.as_ref().is_some_and(|checks| !checks.is_empty())) {
            settings.checks = Some(vec![NOT_TRUSTED.to_owned()]);
        }
        settings.review = settings.review.filter(|wanted| *wanted).or(file.and_then(|file| file.review));
        self.add_project_with(session, settings)
    }

    fn add_project_with(&self, session: &mut Session, settings: Settings) -> Result<(), Failure> {
        let found = self.repository()?;
        let top = found.top.to_string_lossy().into_owned();
        let settings = Box::new(settings);
        let request = Request::AddProject { top, base: found.base.clone(), settings };
        self.done(session, request)?;
        Ok(())
    }

    /// Names a base that is not there before anything is changed.
    pub(crate) fn check_base(&self, settings: &Settings) -> Result<(), Failure> {
        let found = self.repository()?;
        let Some(base) = &settings.base else { return Ok(()) };
        let is_there =
            git::has_branch(&found.common_dir, base).map_err(|error| Failure::broken(error.to_string()))?;
        if is_there {
            return Ok(());
        }
        Err(Failure::input(format!("there is no branch {base} to start from in {}", found.top.display()))
            .hint("name one with --base, or set base in ropewalk.toml"))
    }

    /// Names a missing agent before anything is changed.
    pub(crate) fn check_agent(&self, settings: &Settings) -> Result<(), Failure> {
        let Some(command) = &settings.command else {
            return Err(Failure::input("no agent is set")
                .hint("give one with --command './agent.sh'")
                .hint("or set it in ropewalk.toml: [agent.shell] command = \"./agent.sh\""));
        };
        let Some(word) = shell::program_of(command) else { return Ok(()) };
        let path = self.env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str());
        match shell::find_program(&word, &self.folder, path) {
            Ok(_) => Ok(()),
            Err(fault) => Err(Failure::input(format!("the agent cannot be started: {fault}")).hint(
                "the command is run by `sh -c` in a worktree; a relative path means the project's own file",
            )),
        }
    }

    /// Names a secret that could not be kept out of the output before anything is changed. One that is not set is
    /// only remarked upon: an agent may well do without it.
    pub(crate) fn check_secrets(&self, settings: &Settings, out: &Out) -> Result<(), Failure> {
        for text in settings.command.iter().chain(settings.checks.iter().flatten()) {
            self.refuse_secret_in(settings, text, "a command")?;
        }
        for (name, value) in &settings.env {
            if let EnvValue::Text(text) = value {
                self.refuse_secret_in(settings, text, &format!("the variable {name}"))?;
            }
        }
        for name in settings.secrets.iter().flatten() {
            let value =
                self.env.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim());
            if value.is_empty() {
                out.remark(&format!(
                    "the secret {name} is not set in this environment; agents start without it"
                ));
            } else if value.len() < VALUE_BYTES_MIN {
                return Err(Failure::input(format!(
                    "the secret {name} is too short to be told from other text: it has fewer than \
                     {VALUE_BYTES_MIN} bytes"
                ))
                .hint(format!(
                    "give {name} a longer value, or take it out of the secrets and hand it on with --env"
                )));
            }
        }
        Ok(())
    }

    /// A secret's value in a text that is stored would reach the disk.
    pub(crate) fn refuse_secret_in(
        &self,
        settings: &Settings,
        text: &str,
        place: &str,
    ) -> Result<(), Failure> {
        let secret = |name: &&String| {
            let value = self.env.iter().find(|(known, _)| known == *name).map(|(_, value)| value.trim());
            value.is_some_and(|value| value.len() >= VALUE_BYTES_MIN && text.contains(value))
        };
        match settings.secrets.iter().flatten().find(secret) {
            None => Ok(()),
            Some(name) => Err(Failure::input(format!(
                "the value of the secret {name} stands in {place}, and that is stored"
            ))
            .hint(format!("let the agent read it from ${name}"))),
        }
    }

    /// How to run an engine here, with no slots yet: what this command brings must be known before anything starts.
    pub(crate) fn options(
        &self,
        config: &Config,
        warm: u32,
        focus_on_nothing: bool,
    ) -> Result<Options, Failure> {
        let engine = config.engine();
        let program = std::env::current_exe()
            .map_err(|error| Failure::broken(format!("this program's own path cannot be read: {error}")))?;
        Ok(Options {
            home: self.home.clone(),
            limits: ropewalk_core::limits::Limits::default(),
            slots: 0,
            warm,
            focus_on_nothing,
            worker_program: vec![
                program.into_os_string(),
                "worker".into(),
                "--containment".into(),
                engine.containment.clone().into(),
            ],
            retention: engine.retention,
            floor: engine.floor,
            spare_bytes_max: engine.spare_bytes_max,
        })
    }
}

fn is_given(name: &str, flags: &[String]) -> bool {
    flags.iter().any(|flag| flag.split('=').next() == Some(name))
}
