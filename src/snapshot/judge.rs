//! Decides whether a commit may take the place of the one that was applied last.
//!
//! Everything is bound to the id that is applied: each commit must hash to its id, the new one must lead to the old
//! one by parents, and under a rule of signers each commit of that range must be signed.

use std::collections::{BTreeMap, BTreeSet};

use super::{AppliedCommit, Commit, CommitId, Descent, DesiredCommit, Repository};
use crate::document::shown;
use crate::resolution::Refusal;
use crate::trust::sshsig::{SshKey, verify_commit};

/// What the host's own settings ask of commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Keys of which one must have signed each commit since the one applied last; empty: no signature is asked for.
    pub signers: Vec<SshKey>,
    /// Whether a commit is taken that doesn't descend from the one applied last.
    pub allow_non_fast_forward: bool,
}

/// A commit that could be applied, as it was found. Untrusted.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// Where it was looked for.
    pub repository: &'a Repository,
    /// Its id.
    pub commit: &'a str,
    /// What the fetch says about its descent. Counts only where the commits can't prove it and no signature is
    /// asked for.
    pub is_fast_forward: bool,
    /// Ids and bytes of the commits after the one applied last, up to and including this one.
    pub commits: Vec<(&'a str, &'a [u8])>,
    /// Whether there are more than were handed out.
    pub is_cut: bool,
}

/// Whether the offered commit may follow `applied`.
pub fn judge(offer: &Offer<'_>, applied: Option<&AppliedCommit>, rules: &Rules) -> Result<DesiredCommit, Refusal> {
    let commit: CommitId = offer.commit.parse().map_err(|error| {
        Refusal::new("wrong-commit", format!("\"{}\" is no commit that can be applied: {error}", shown(offer.commit)))
    })?;
    let accepted = |descent, signers| DesiredCommit {
        repository: offer.repository.clone(),
        commit,
        descent,
        from: applied.map(|applied| applied.commit).filter(|from| *from != commit),
        signers,
        moved: applied.map_or_else(Vec::new, |applied| offer.repository.differences(&applied.repository)),
    };
    if applied.is_some_and(|applied| applied.commit == commit) {
        return Ok(accepted(Descent::Applied, Vec::new()));
    }
    let commits = read(offer)?;
    let descent = match applied {
        None => Descent::First,
        Some(applied) if leads_to(commit, applied.commit, &commits) => Descent::FastForward,
        // Too long a range can't be followed by its commits; without signatures the fetch's word is what there is.
        Some(_) if offer.is_cut && offer.is_fast_forward && rules.signers.is_empty() => Descent::FastForward,
        Some(_) if offer.is_cut && offer.is_fast_forward => return Err(range_too_long(offer, commit)),
        Some(_) if rules.allow_non_fast_forward => Descent::NotFastForward,
        Some(applied) => return Err(not_fast_forward(offer, commit, applied)),
    };
    if rules.signers.is_empty() {
        return Ok(accepted(descent, Vec::new()));
    }
    if offer.is_cut && descent != Descent::First {
        return Err(range_too_long(offer, commit));
    }
    Ok(accepted(descent, signers(offer, commit, &commits, rules)?))
}

/// Every offered commit under its id, which its bytes must have.
fn read<'a>(offer: &Offer<'a>) -> Result<BTreeMap<CommitId, Commit<'a>>, Refusal> {
    let mut commits = BTreeMap::new();
    for (id, raw) in &offer.commits {
        let read = id.parse().and_then(|id| Ok((id, Commit::read(id, raw)?)));
        let (id, commit) = read.map_err(|error| {
            let message = format!("commit {} of {} can't be used: {error}", shown(id), offer.repository);
            Refusal::new("wrong-commit", message).hint("what runs goes on; look at the repository with `git fsck`")
        })?;
        commits.insert(id, commit);
    }
    Ok(commits)
}

/// Whether the parents of `from` and of theirs lead to `to`. Follows each commit once.
fn leads_to(from: CommitId, to: CommitId, commits: &BTreeMap<CommitId, Commit<'_>>) -> bool {
    let mut seen = BTreeSet::new();
    let mut left = vec![from];
    while let Some(id) = left.pop() {
        if id == to {
            return true;
        }
        if seen.insert(id) {
            left.extend(commits.get(&id).iter().flat_map(|commit| &commit.parents));
        }
    }
    false
}

/// Who signed the commits; an error names the first that doesn't count, and what to do.
fn signers(
    offer: &Offer<'_>,
    commit: CommitId,
    commits: &BTreeMap<CommitId, Commit<'_>>,
    rules: &Rules,
) -> Result<Vec<String>, Refusal> {
    if !commits.contains_key(&commit) {
        let message = format!("the bytes of commit {commit} of {} were not handed out", offer.repository);
        return Err(Refusal::new("wrong-commit", message));
    }
    let mut signers = BTreeSet::new();
    // The newest first, as a person reads a log.
    for (id, _) in &offer.commits {
        let found = id.parse::<CommitId>().ok().and_then(|id| Some((id, commits.get(&id)?)));
        let Some((id, found)) = found else { continue };
        match verify_commit(found.raw, &rules.signers) {
            Ok(signer) => drop(signers.insert(signer.shown())),
            Err(error) => {
                let message = format!("commit {id} of {} is not accepted: {error}", offer.repository);
                let hint = "what runs goes on; a commit in the range can't be signed afterwards: rewrite it with a \
                    signature (git rebase --exec 'git commit --amend --no-edit -S'), or allow its key in [from-git] \
                    signers of the host's config.toml";
                return Err(Refusal::new(error.code(), message).hint(hint));
            }
        }
    }
    Ok(signers.into_iter().collect())
}

fn not_fast_forward(offer: &Offer<'_>, commit: CommitId, applied: &AppliedCommit) -> Refusal {
    let moved = offer.repository.differences(&applied.repository);
    let where_from = if moved.is_empty() { String::new() } else { format!(" ({})", moved.join("; ")) };
    let message = format!(
        "{} is at {}, which doesn't descend from {}, the commit that was applied last{where_from}",
        offer.repository,
        commit.short(),
        applied.commit.short()
    );
    let hint = "what runs goes on; if that is meant, allow it for one start: --allow-non-fast-forward\n\
        otherwise somebody went back in the history or replaced it: find out who";
    Refusal::new("not-fast-forward", message).hint(hint)
}

fn range_too_long(offer: &Offer<'_>, commit: CommitId) -> Refusal {
    let message = format!(
        "{} is at {}, with more commits since the one applied last than signatures are checked for",
        offer.repository,
        commit.short()
    );
    let hint = "what runs goes on; apply a commit in between first: airssys-wasm apply --from-git … --ref commit:ID";
    Refusal::new("range-too-long", message).hint(hint)
}
