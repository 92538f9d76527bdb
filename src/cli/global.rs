//! What every command needs first: the home, the desired directory, the trust policy's place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::Global;
use super::exit::{Exit, Failure};
use crate::config::{Config, MAX_CONFIG_BYTES};
use crate::desired::source::git::{parse_reference, parse_tree_path};
use crate::diagnostic::Diagnostic;
use crate::home::Home;
use crate::name::InstallationName;
use crate::reconcile::repository::FromGit;
use crate::runtime::HostConfig;
use crate::saved::{DesiredInput, SavedPlan};
use crate::snapshot::{Repository, Rules};
use crate::source::trust_file::{self, TrustLocation};
use crate::status::HostStatus;
use crate::trust::TrustPolicy;
use crate::worker::Workers;

/// A name from the command line.
pub(crate) fn installation(text: &str) -> Result<InstallationName, Failure> {
    let wrong = |error| format!("{} is no installation's name: {error}", crate::escape::Escaped(text));
    text.parse().map_err(|error: crate::name::ParseNameError| Failure::message(Exit::CommandLine, wrong(error)))
}

/// Desired files in a repository.
#[derive(Args)]
pub(crate) struct FromGitArgs {
    /// Read the desired files from a commit of this repository (https, ssh, file)
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    from_git: Option<String>,
    /// Which commit: a branch's name, or branch:NAME, tag:NAME, commit:ID
    #[arg(long = "ref", value_name = "REF", requires = "from_git", default_value = "main")]
    reference: String,
    /// The directory of the desired files inside the repository
    #[arg(long, value_name = "DIR", requires = "from_git", default_value = ".")]
    path: String,
    /// Take a commit that does not descend from the one applied last
    #[arg(long)]
    allow_non_fast_forward: bool,
}

impl FromGitArgs {
    /// The options as they were given, for a command to copy.
    pub(crate) fn words(&self) -> String {
        self.from_git.iter().fold(String::new(), |text, url| {
            let (at, path) = (shell_word(&self.reference), shell_word(&self.path));
            text + &format!(" --from-git {} --ref {at} --path {path}", shell_word(url))
        })
    }

    /// The repository, with the rules of the settings; none when the files are in a directory.
    pub(crate) fn source(&self, config: &Config) -> Result<Option<FromGit>, Failure> {
        let Some(url) = &self.from_git else {
            if self.allow_non_fast_forward {
                let message = "--allow-non-fast-forward is for desired files of a repository";
                return Err(Failure::message(Exit::CommandLine, message).hint("it goes with --from-git"));
            }
            return Ok(None);
        };
        let wrong = |option: &str, error: String| Failure::message(Exit::CommandLine, format!("{option}: {error}"));
        let url = url.parse().map_err(|error: crate::remote_url::UrlError| wrong("--from-git", error.to_string()))?;
        let at = parse_reference(&self.reference).map_err(|error| wrong("--ref", error))?;
        let path = parse_tree_path(&self.path).map_err(|error| wrong("--path", error))?;
        let repository = Repository { url, at, path };
        if !config.sources.allow(&repository.url) {
            let message = format!("the host of {} is not among `allow` in [sources] of config.toml", repository.url);
            return Err(Failure::message(Exit::Configuration, message));
        }
        let settings = &config.from_git;
        let rules = Rules {
            signers: settings.signers.clone(),
            allow_non_fast_forward: settings.allow_non_fast_forward || self.allow_non_fast_forward,
        };
        Ok(Some(FromGit { repository, rules, interval: settings.interval }))
    }
}

/// Where a host finds what it works with: options of `run` and `apply`.
#[derive(Args)]
pub(crate) struct HostArgs {
    /// The desired directory; default is the setting `desired`, else `desired` in the home
    dir: Option<PathBuf>,
    #[command(flatten)]
    from_git: FromGitArgs,
    /// The trust policy; default is `trust.toml` in the home
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Make a lost file of accepted sequences anew; older releases may then be accepted again
    #[arg(long)]
    rebuild_floors: bool,
    /// Fetch nothing from other machines: what was fetched before must do
    #[arg(long)]
    offline: bool,
}

impl HostArgs {
    /// What stands in the place of the desired directory.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Takes the desired files from where a saved plan took them, under the rules that hold for every other place.
    pub(crate) fn take_from(&mut self, desired: &DesiredInput) {
        match desired {
            DesiredInput::Directory { path, .. } => self.dir = Some(PathBuf::from(path)),
            DesiredInput::Repository { url, at, path, .. } => {
                self.dir = None;
                self.from_git.from_git = Some(url.clone());
                self.from_git.reference.clone_from(at);
                self.from_git.path.clone_from(path);
            }
        }
    }

    /// Of a command whose arguments are something else.
    pub(crate) fn of(dir: Option<PathBuf>, trust: Option<PathBuf>) -> Self {
        let from_git = FromGitArgs {
            from_git: None,
            reference: "main".to_owned(),
            path: ".".to_owned(),
            allow_non_fast_forward: false,
        };
        Self { dir, from_git, trust, rebuild_floors: false, offline: false }
    }

    /// The command that does what these options say, for a person to copy.
    pub(crate) fn apply_command(&self, global: &Global) -> String {
        apply_command(global, self.dir.as_deref(), self.trust.as_deref()) + &self.from_git.words()
    }
}

impl HostArgs {
    /// Refuses options that name another directory or policy than a running host has: it would not look there. So it
    /// does with the place of a saved plan, which stands where a directory may.
    pub(crate) fn check_same(
        &self,
        global: &Global,
        host: &HostStatus,
        saved: Option<&SavedPlan>,
    ) -> Result<(), Failure> {
        let shown = |path: &Path| crate::escape::escape(&path.to_string_lossy());
        let mut differs = None;
        if let Some(saved) = saved {
            let wanted = saved.inputs.desired.place();
            differs = host.desired.as_ref().filter(|has| **has != wanted).map(|has| (wanted, has));
        } else if let Some(dir) = &self.dir {
            let wanted = shown(&global.desired_directory(Some(dir.clone()))?);
            differs = host.desired.as_ref().filter(|has| **has != wanted).map(|has| (wanted, has));
        }
        if let (None, Some(trust)) = (&differs, &self.trust) {
            let wanted = shown(global.trust_location(Some(trust.clone()))?.path());
            differs = host.trust.as_ref().filter(|has| **has != wanted).map(|has| (wanted, has));
        }
        let of_start = [("--rebuild-floors", self.rebuild_floors), ("--offline", self.offline)];
        if let Some((option, _)) = of_start.into_iter().find(|(_, given)| *given) {
            let message = format!("{option} is for a host that starts, and one is running");
            return Err(Failure::message(Exit::Configuration, message).hint("leave it out, or stop the host first"));
        }
        let Some((wanted, has)) = differs else { return Ok(()) };
        let message = format!("the running host works with {has}, and {wanted} was named");
        Err(Failure::message(Exit::Configuration, message).hint("leave the name out, or stop the host first"))
    }
}

/// `apply` with the options that were given, quoted for a shell.
pub(crate) fn apply_command(global: &Global, dir: Option<&Path>, trust: Option<&Path>) -> String {
    let mut command = crate::plan::text::APPLY.to_owned();
    let options = [("", dir), ("--trust ", trust), ("--home ", global.home.as_deref())];
    for (option, path) in options {
        let path = path.map(|path| shell_word(&path.to_string_lossy()));
        path.into_iter().for_each(|path| command.push_str(&format!(" {option}{path}")));
    }
    command
}

/// One word for a shell, whatever is in it.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    let text = crate::escape::escape(text);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl Global {
    /// What a host is started with.
    pub(crate) fn host_config(&self, args: HostArgs) -> Result<HostConfig, Failure> {
        Ok(HostConfig {
            home: self.home()?,
            from_git: args.from_git.source(&self.config()?)?,
            desired: self.desired_directory(args.dir)?,
            trust: self.trust_location(args.trust)?,
            rebuild_floors: args.rebuild_floors,
            workers: Workers::of_this_program()?,
            secrets: self.config()?.secrets,
            sources: self.config()?.sources,
            offline: args.offline,
            state: self.config()?.state,
            memory: self.config()?.memory,
        })
    }

    /// The home: `--home`, `$AIRSSYS_HOME`, or `~/.airssys`. Nothing is created here.
    pub(crate) fn home(&self) -> Result<Home, Failure> {
        let set = |name: &str| -> Option<OsString> { std::env::var_os(name).filter(|value| !value.is_empty()) };
        let (airssys_home, user_home) = (set("AIRSSYS_HOME"), set("HOME"));
        Home::find(self.home.as_deref(), airssys_home.as_deref().map(Path::new), user_home.as_deref().map(Path::new))
            .map_err(|error| Failure::new(Exit::Configuration, error))
    }

    /// The settings of the home; defaults where there is no file.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let path = self.home()?.config_file();
        let shown = crate::escape::escape(&path.to_string_lossy());
        let text = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("{shown} can't be read"));
                return Err(Failure::new(Exit::Configuration, error));
            }
        };
        check_only_ours(&path, &shown)?;
        let invalid = |problems: &[Diagnostic]| {
            let text: String = problems.iter().map(|problem| format!("\n{problem}")).collect();
            Failure::message(Exit::Configuration, format!("{shown} is not valid{}", text.trim_end()))
        };
        if text.len() as u64 > MAX_CONFIG_BYTES {
            return Err(invalid(&[Diagnostic::whole_file(
                &shown,
                format!("it is larger than {MAX_CONFIG_BYTES} bytes"),
            )]));
        }
        let text =
            String::from_utf8(text).map_err(|_| invalid(&[Diagnostic::whole_file(&shown, "it is not UTF-8")]))?;
        Config::parse("config.toml", &text).map_err(|problems| invalid(&problems))
    }

    /// The desired directory: the argument, else the setting `desired`, else `desired/` in the home.
    pub(crate) fn desired_directory(&self, argument: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let home = self.home()?;
        let path = match (argument, self.config()?.desired) {
            (Some(argument), _) => argument,
            (None, Some(setting)) => home.root().join(setting),
            (None, None) => home.desired_dir(),
        };
        std::path::absolute(path).map_err(Failure::from)
    }

    /// The signing key's file: the argument, else the setting `keypair`, else `keypair.json` in the home.
    pub(crate) fn keypair(&self, argument: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let home = self.home()?;
        Ok(match (argument, self.config()?.keypair) {
            (Some(argument), _) => argument,
            (None, Some(setting)) => home.root().join(setting),
            (None, None) => home.key_file(),
        })
    }

    /// The trust policy: of the argument, else of `trust.toml` in the home.
    pub(crate) fn trust_policy(&self, argument: Option<PathBuf>) -> Result<TrustPolicy, Failure> {
        let loaded = trust_file::load(&self.trust_location(argument)?)
            .map_err(|error| Failure::message(Exit::Configuration, error.to_string()).hint(error.hint()))?;
        Ok(loaded.policy)
    }

    /// Where the trust policy is: the argument, else `trust.toml` in the home.
    pub(crate) fn trust_location(&self, argument: Option<PathBuf>) -> Result<TrustLocation, Failure> {
        Ok(match argument {
            Some(path) => TrustLocation::Named(std::path::absolute(path)?),
            None => TrustLocation::Default(self.home()?.trust_file()),
        })
    }
}

/// The settings say which programs are run and what is read of the environment: nobody else may write them.
fn check_only_ours(path: &Path, shown: &str) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path)?;
    let own = crate::safe_open::own_uid();
    let (why, fix) = match (metadata.uid() == own || metadata.uid() == 0, metadata.mode() & 0o022) {
        (false, _) => (format!("it belongs to user {}", metadata.uid()), format!("chown {own} {shown}")),
        (true, 0) => return Ok(()),
        (true, _) => ("others can change it".to_owned(), format!("chmod go-w {shown}")),
    };
    Err(Failure::message(Exit::Configuration, format!("{shown} is refused: {why}")).hint(fix))
}
