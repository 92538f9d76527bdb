//! Owns the saved plan: which plan somebody looked at, and everything that it was made from.
//!
//! It holds no action. Whoever carries it out makes the plan again, and refuses when an input has moved or another
//! plan comes of them: what a file says is never done because the file says it.

mod inputs;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::plan::Plan;
use crate::resolution::Refusal;
use crate::sealed::json::{self, JsonFile, JsonFileError};

pub use inputs::{ArtifactInput, DesiredInput, GenerationInput, Inputs, Made, RecentInput, settings_digest};

/// `$type` of a saved plan.
pub const SAVED_TYPE: &str = "airssys-wasm/saved-plan/v1";
/// Largest saved plan, in bytes: room for some ten thousand installations.
pub const MAX_SAVED_BYTES: usize = 16 << 20;
/// Most moved inputs that one message names.
const MAX_NAMED_INPUTS: usize = 6;

/// A plan by its digest, and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    /// The plan's digest, as `plan` prints it.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    pub plan_digest: Digest,
    /// Everything that it was made from.
    pub inputs: Inputs,
}

/// A saved plan as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "runtime", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SavedPlanFile {
    /// `airssys-wasm/saved-plan/v1`.
    #[serde(rename = "$type")]
    document: String,
    /// The plan's digest, as `plan` prints it.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    plan_digest: Digest,
    /// Everything that it was made from.
    inputs: Inputs,
    /// Checksum of all bytes before this field.
    #[cfg_attr(feature = "runtime", schemars(with = "String"))]
    digest: Digest,
}

impl JsonFile for SavedPlanFile {
    const TYPE: &'static str = SAVED_TYPE;
    const WHAT: &'static str = "a saved plan";
    const MAX_BYTES: usize = MAX_SAVED_BYTES;
}

impl SavedPlan {
    /// The plan of these inputs. Its digest must be the one without any approval.
    pub fn new(plan: &Plan, inputs: Inputs) -> Self {
        Self { plan_digest: plan.digest(), inputs }
    }

    /// The file. `None` when it would be larger than [`MAX_SAVED_BYTES`].
    pub fn write(&self) -> Option<String> {
        json::write(&SavedPlanFile {
            document: SAVED_TYPE.to_owned(),
            plan_digest: self.plan_digest,
            inputs: self.inputs.clone(),
            digest: Digest::from_bytes([0; 32]),
        })
    }

    /// Reads a file; whatever it says is still to be checked against what there is.
    pub fn read(bytes: &[u8]) -> Result<Self, JsonFileError> {
        let SavedPlanFile { document: _, plan_digest, inputs, digest: _ } = json::read(bytes)?;
        Ok(Self { plan_digest, inputs })
    }

    /// Whether `plan`, made from `now`, is the plan that was saved.
    ///
    /// # Errors
    ///
    /// `input-moved` names every input that is another one by now. `plan-moved`: none of them is, and yet another plan
    /// comes of them.
    pub fn check(&self, plan: &Plan, now: &Inputs) -> Result<(), Refusal> {
        let again = "nothing was done; make it again with `airssys-wasm plan --out FILE`, look at it, and apply that";
        let moved = self.inputs.moved_to(now);
        let fetch = match self.inputs.desired.is_of_another_commit(&now.desired) {
            true => "\na host looks at its repository now and then; `airssys-wasm sync` makes it look now",
            false => "",
        };
        if let Some((first, rest)) = moved.split_first() {
            let message = format!("{first} since the plan was made");
            let mut hint = String::new();
            if !rest.is_empty() {
                let named: Vec<&str> = rest.iter().take(MAX_NAMED_INPUTS).map(String::as_str).collect();
                let more = rest.len() - named.len();
                let more = if more > 0 { format!("; and {more} more") } else { String::new() };
                hint = format!("and more moved: {}{more}\n", named.join("; "));
            }
            return Err(Refusal::new("input-moved", message).hint(hint + again + fetch));
        }
        let digest = plan.digest();
        if digest == self.plan_digest {
            return Ok(());
        }
        let message = format!(
            "the same inputs lead to another plan by now: {}, and not {}",
            digest.short(),
            self.plan_digest.short()
        );
        Err(Refusal::new("plan-moved", message).hint(again))
    }
}
