//! What every command needs first: the home, the desired directory, the trust policy's place.

use std::path::{Path, PathBuf};

use super::Global;
use super::exit::{Exit, Failure};
use crate::config::Config;
use crate::home::Home;
use crate::source::trust_file::TrustLocation;

impl Global {
    /// The home's directory: `--home`, `$AIRSSYS_HOME`, or `~/.airssys`.
    pub(crate) fn home_path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.home {
            return std::path::absolute(path).map_err(Failure::from);
        }
        let user = std::env::var_os("HOME").filter(|home| !home.is_empty());
        user.map(|home| Path::new(&home).join(".airssys")).ok_or_else(|| {
            Failure::message(Exit::Configuration, "neither AIRSSYS_HOME nor HOME is set")
                .hint("say where the per-user files live: --home DIR")
        })
    }

    /// The home, created where it is missing.
    pub(crate) fn open_home(&self) -> Result<Home, Failure> {
        Home::create(&self.home_path()?).map_err(|error| Failure::new(Exit::Configuration, error))
    }

    /// The settings of the home; defaults where there is no file.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let path = self.home_path()?.join("config.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
            Err(error) => {
                let message = format!("{} can't be read", path.display());
                return Err(Failure::new(Exit::Configuration, anyhow::Error::new(error).context(message)));
            }
        };
        Config::parse("config.toml", &text).map_err(|problems| {
            let text: String = problems.iter().map(|problem| format!("\n{problem}")).collect();
            Failure::message(Exit::Configuration, format!("{} is not valid{text}", path.display()))
        })
    }

    /// The desired directory: the argument, else the setting `desired`, else `desired/` in the home.
    pub(crate) fn desired_directory(&self, argument: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let home = self.home_path()?;
        let path = match (argument, self.config()?.desired) {
            (Some(argument), _) => argument,
            (None, Some(setting)) => home.join(setting),
            (None, None) => home.join("desired"),
        };
        std::path::absolute(path).map_err(Failure::from)
    }

    /// The signing key's file: the argument, else the setting `keypair`, else `keypair.json` in the home.
    pub(crate) fn keypair(&self, argument: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let home = self.home_path()?;
        Ok(match (argument, self.config()?.keypair) {
            (Some(argument), _) => argument,
            (None, Some(setting)) => home.join(setting),
            (None, None) => home.join("keypair.json"),
        })
    }
}

impl Global {
    /// Where the trust policy is: the argument, else `trust.toml` in the home.
    pub(crate) fn trust_location(&self, argument: Option<PathBuf>) -> Result<TrustLocation, Failure> {
        Ok(match argument {
            Some(path) => TrustLocation::Named(std::path::absolute(path)?),
            None => TrustLocation::Default(self.home_path()?.join("trust.toml")),
        })
    }
}
