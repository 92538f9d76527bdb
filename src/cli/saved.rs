//! Saved plans on the command line: `plan --out FILE`, `apply FILE`.

use std::path::Path;

use super::document_file::{self, OutFile};
use super::exit::{Exit, Failure};
use crate::escape::escape;
use crate::reconcile::offline::Made;
use crate::saved::{DesiredInput, MAX_SAVED_BYTES, SavedPlan, SavedPlanFile};

/// The saved plan at `path`. `None` when a directory is there, or nothing: then it means the desired directory.
pub(crate) fn at(path: &Path) -> Result<Option<SavedPlan>, Failure> {
    let is_file = std::fs::metadata(path).is_ok_and(|found| !found.is_dir());
    if !is_file {
        return Ok(None);
    }
    let bytes = document_file::read::<SavedPlanFile>(path)?;
    let saved = SavedPlan::read(&bytes).map_err(|error| {
        let failure = document_file::unusable(path, &error);
        failure.hint("`apply` takes a directory of desired files, or a plan that `plan --out FILE` saved")
    })?;
    Ok(Some(saved))
}

/// Writes a plan that was just made.
pub(crate) fn write(made: &Made, out: &OutFile) -> Result<(), Failure> {
    if let DesiredInput::Directory { path, .. } = &made.inputs.desired
        && path.contains('\u{fffd}')
    {
        let message = format!("the path {} is not UTF-8, and a saved plan can't name it", escape(path));
        return Err(Failure::message(Exit::Configuration, message));
    }
    if !made.inputs.secrets.is_empty() && !made.tells_secrets_apart {
        let message = "the plan can't be saved: this home has no key yet by which contents of secrets are told apart";
        let hint = "the first `run` or `apply` makes one; plans can be saved after that";
        return Err(Failure::message(Exit::Configuration, message).hint(hint));
    }
    let text = SavedPlan::new(&made.plan, made.inputs.clone()).write().ok_or_else(|| {
        Failure::message(Exit::General, format!("the saved plan would be larger than {MAX_SAVED_BYTES} bytes"))
    })?;
    out.write::<SavedPlanFile>(&text)
}
