//! Repositories for tests, written object by object, so that hostile ones can be written as well.

use std::path::{Path, PathBuf};

use airssys_wasm::desired::spec::GitReference;
use airssys_wasm::source::remote::{Access, GitJob, TreeJob};
use git2::{ObjectType, Oid, Repository, RepositoryInitOptions, Signature, Time};
use tempfile::TempDir;

/// The artifact's files in every good commit.
pub const WASM: &[u8] = b"\0asm of a test, which nobody runs";

/// One entry of a tree: mode, name, object.
pub type Entry<'a> = (&'a str, &'a [u8], Oid);

/// A bare repository in a directory of its own, and a place for mirrors.
pub struct Origin {
    dir: TempDir,
    pub repository: Repository,
}

impl Origin {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).initial_head("main");
        let repository = Repository::init_opts(dir.path().join("origin.git"), &options).expect("made");
        Self { dir, repository }
    }

    /// One with an artifact in `app` on branch `main`, and its commit.
    pub fn with_artifact() -> (Self, Oid) {
        let origin = Self::new();
        let commit = origin.release("main", "manifest 1");
        (origin, commit)
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("origin.git")
    }

    /// The directory that holds the repository: what a server serves.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    pub fn mirror(&self) -> PathBuf {
        self.dir.path().join("mirror")
    }

    /// Writes any object, well-formed or not.
    pub fn object(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        self.repository.odb().expect("objects").write(kind, bytes).expect("written")
    }

    pub fn blob(&self, bytes: &[u8]) -> Oid {
        self.object(ObjectType::Blob, bytes)
    }

    /// Writes a tree as it is given: nothing is sorted or checked.
    pub fn tree(&self, entries: &[Entry<'_>]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(id.as_bytes());
        }
        self.object(ObjectType::Tree, &bytes)
    }

    /// A commit that no reference shows.
    pub fn commit(&self, tree: Oid, parents: &[Oid], message: &str) -> Oid {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text += &format!("parent {parent}\n");
        }
        text += &format!(
            "author A <a@example.com> 1700000000 +0000\ncommitter A <a@example.com> 1700000000 +0000\n\n{message}\n"
        );
        self.object(ObjectType::Commit, text.as_bytes())
    }

    pub fn point(&self, reference: &str, id: Oid) {
        self.repository.reference(reference, id, true, "test").expect("written");
    }

    pub fn head(&self, branch: &str) -> Option<Oid> {
        self.repository.refname_to_id(&format!("refs/heads/{branch}")).ok()
    }

    /// The tree of an artifact in the directory `app`.
    pub fn artifact(&self, manifest: &str) -> Oid {
        let app = self.tree(&[
            ("100644", b"Component.toml", self.blob(manifest.as_bytes())),
            ("100644", b"Component.toml.sig", self.blob(format!("signature of {manifest}").as_bytes())),
            ("100755", b"component.wasm", self.blob(WASM)),
        ]);
        self.tree(&[("40000", b"app", app)])
    }

    /// A commit on a branch with an artifact in `app`.
    pub fn release(&self, branch: &str, manifest: &str) -> Oid {
        self.commit_on(branch, self.artifact(manifest), manifest)
    }

    /// A commit on a branch.
    pub fn commit_on(&self, branch: &str, tree: Oid, message: &str) -> Oid {
        let parents: Vec<Oid> = self.head(branch).into_iter().collect();
        let commit = self.commit(tree, &parents, message);
        self.point(&format!("refs/heads/{branch}"), commit);
        commit
    }

    /// An annotated tag.
    pub fn annotate(&self, name: &str, of: Oid) -> Oid {
        let object = self.repository.find_object(of, None).expect("there");
        let tagger = Signature::new("A", "a@example.com", &Time::new(1_700_000_000, 0)).expect("valid");
        self.repository.tag(name, &object, &tagger, "a release", true).expect("tagged")
    }

    /// The job that fetches the artifact in `app` over the file transport.
    pub fn job(&self, at: GitReference) -> GitJob {
        GitJob {
            url: self.url().parse().expect("a URL"),
            at,
            path: "app".to_owned(),
            mirror: self.mirror(),
            offline: false,
            access: Access::default(),
        }
    }

    /// The job that fetches the desired files at the top of a branch.
    pub fn tree_job(&self, branch: &str, since: Option<Oid>) -> TreeJob {
        TreeJob {
            url: self.url().parse().expect("a URL"),
            at: GitReference::Branch(branch.to_owned()),
            path: ".".to_owned(),
            mirror: self.mirror(),
            offline: false,
            since: since.map(|id| id.to_string()),
            access: Access::default(),
        }
    }
}

pub fn branch(name: &str) -> GitReference {
    GitReference::Branch(name.to_owned())
}

pub fn tag(name: &str) -> GitReference {
    GitReference::Tag(name.to_owned())
}

pub fn commit(id: Oid) -> GitReference {
    GitReference::Commit(id.to_string())
}
