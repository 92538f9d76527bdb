//! What came of one input: what every answer must be like, and whether an answer is one that was not seen before.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use airssys_wasm::diagnostic::Diagnostic;
use airssys_wasm::escape::escape;

/// Problems of one file that count for the shape of the answer.
const MOST_PROBLEMS: usize = 3;

/// What came of one input.
#[derive(Default)]
pub struct Seen {
    shape: DefaultHasher,
    /// Whether something was read from it.
    pub taken: bool,
    /// Whether something was refused.
    pub refused: bool,
}

impl Seen {
    /// It was read as what it is for.
    pub fn taken(&mut self, what: &str) {
        self.taken = true;
        what.hash(&mut self.shape);
    }

    /// It was refused with this text, which people see.
    #[track_caller]
    pub fn refused(&mut self, text: &str) {
        self.refused = true;
        shown(text);
        words(text).hash(&mut self.shape);
    }

    /// It was refused with these problems.
    #[track_caller]
    pub fn problems(&mut self, problems: &[Diagnostic]) {
        assert!(!problems.is_empty(), "refused without a word");
        for problem in problems {
            shown(&problem.to_string());
            shown(&problem.one_line());
        }
        for problem in &problems[..problems.len().min(MOST_PROBLEMS)] {
            self.refused(&problem.one_line());
        }
    }

    /// A number that tells kinds of answers from one another.
    pub fn shape(&self) -> u64 {
        self.shape.finish()
    }
}

/// Nothing in a text that people see moves a cursor, hides something or turns a line around.
#[track_caller]
pub fn shown(text: &str) {
    for line in text.split('\n') {
        assert_eq!(line, escape(line), "a text is not escaped");
    }
}

/// The words of a text without what it quotes: equal for equal kinds of errors.
fn words(text: &str) -> String {
    let unquoted = text.split(['`', '"']).step_by(2);
    unquoted.flat_map(str::chars).filter(|c| c.is_ascii_alphabetic() || *c == ' ').take(80).collect()
}
