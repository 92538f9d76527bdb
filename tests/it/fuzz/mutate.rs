//! Makes new inputs out of old ones, the same ones for the same seed.

use super::targets::Target;
use crate::scale::Random;

/// Most changes of one input.
const MOST_CHANGES: u64 = 5;
/// Deepest nesting that is written.
const MOST_NESTING: u64 = 3_000;
/// Every format has a bound near one of them.
const HUGE: &str = "0 -1 +5 007 255 65536 4294967296 9223372036854775807 9223372036854775808 \
    18446744073709551615 18446744073709551616 1e999 \
    0x7fffffffffffffff 99999999999999999999999999999999 nan -inf 1_000";
/// Pairs that nest.
const NESTING: &[(&str, &str)] =
    &[("[", "]"), ("{", "}"), ("{a=", "}"), ("[[", "]]"), ("{\"a\":", "}"), ("a.", ""), ("(", ")")];
/// What hides, moves or ends something.
const HOSTILE: &[&[u8]] = &[
    b"\0",
    b"\x1b[2J",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xc2\x9b",
    b"\xe2\x80\xae",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"\xe2\x80\x8b",
    b"\x7f",
    b"\r",
    b"\t",
    b"\"",
    b"'",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\"\"\"",
    b"#",
    b"../",
    b"%00",
    b"%1b",
];

/// Changes inputs of one target.
pub struct Mutator {
    random: Random,
    target: &'static Target,
    words: Vec<&'static str>,
}

impl Mutator {
    pub fn new(seed: u64, target: &'static Target) -> Self {
        Self { random: Random::new(seed), target, words: target.words.lines().collect() }
    }

    /// One of `pool`, changed; at most one byte longer than the format takes.
    pub fn make(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.one_of(pool).clone();
        for _ in 0..=self.random.below(MOST_CHANGES) {
            self.change(&mut bytes, pool);
            bytes.truncate(self.target.most + 1);
        }
        match self.target.mend {
            // Otherwise nearly everything would end at a checksum.
            Some(mend) if self.random.below(4) > 0 => mend(&bytes),
            _ => bytes,
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
        match self.random.below(16) {
            0 => self.flip(bytes),
            1 => self.overwrite(bytes),
            2 => self.insert_any(bytes),
            3 => drop(bytes.drain(self.part(bytes))),
            4 | 5 => self.splice(bytes, pool),
            6 => self.repeat(bytes),
            7 | 8 => self.insert_word(bytes),
            9 => self.replace_token(bytes),
            10 => self.nest(bytes),
            11 => self.enlarge_number(bytes),
            12 => self.change_line_ends(bytes),
            13 => self.shuffle_lines(bytes),
            14 => self.insert_hostile(bytes),
            _ => self.lengthen(bytes),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound.max(1) as u64)).expect("below a usize")
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A place between two bytes.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.below(bytes.len() + 1)
    }

    /// Some bytes in a row, mostly few of them.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(bytes);
        let most = 1 << self.below(12);
        start..(start + self.below(most) + 1).min(bytes.len())
    }

    fn insert(&mut self, bytes: &mut Vec<u8>, piece: &[u8]) {
        let at = self.place(bytes);
        bytes.splice(at..at, piece.iter().copied());
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        let (at, bit) = (self.below(bytes.len()), self.below(8));
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    fn overwrite(&mut self, bytes: &mut [u8]) {
        let (at, any) = (self.below(bytes.len()), self.random.next().to_le_bytes()[0]);
        let value = *self.one_of(&[0, 0x7f, 0x80, 0xff, b'\n', b' ', b'.', b'*', any, any]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
    }

    fn insert_any(&mut self, bytes: &mut Vec<u8>) {
        let any = self.random.next().to_le_bytes();
        let length = 1 + self.below(any.len());
        self.insert(bytes, &any[..length]);
    }

    /// The start of one and the end of another, cut anywhere or between lines.
    fn splice(&mut self, bytes: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let other = self.one_of(pool);
        let (mut end, mut start) = (self.place(bytes), self.place(other));
        if self.random.below(2) == 0 {
            end = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            start = other[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        }
        bytes.truncate(end);
        bytes.extend_from_slice(&other[start..]);
    }

    fn repeat(&mut self, bytes: &mut Vec<u8>) {
        let part = self.part(bytes);
        let times = 1 << self.below(12);
        let room = self.target.most.saturating_sub(bytes.len()) + 1;
        let piece = bytes[part.clone()].repeat(times.min(room / part.len().max(1)));
        bytes.splice(part.end..part.end, piece);
    }

    fn word(&mut self) -> &'static [u8] {
        let at = self.below(self.words.len());
        self.words[at].as_bytes()
    }

    fn insert_word(&mut self, bytes: &mut Vec<u8>) {
        let word = self.word();
        match self.random.below(3) {
            0 => self.insert(bytes, &[word, b"\n"].concat()),
            _ => self.insert(bytes, word),
        }
    }

    /// A word of the text gives way to a word of the format.
    fn replace_token(&mut self, bytes: &mut Vec<u8>) {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let at = self.place(bytes);
        let start = bytes[..at].iter().rposition(|byte| !is_part(byte)).map_or(0, |at| at + 1);
        let end = bytes[at..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |length| at + length);
        bytes.splice(start..end, self.word().iter().copied());
    }

    fn nest(&mut self, bytes: &mut Vec<u8>) {
        let (open, close) = *self.one_of(NESTING);
        let bound = *self.one_of(&[80, MOST_NESTING]);
        let depth = self.below(usize::try_from(bound).expect("small"));
        let end = if self.random.below(2) == 0 { close.repeat(depth) } else { String::new() };
        self.insert(bytes, format!("{}{end}", open.repeat(depth)).as_bytes());
    }

    fn enlarge_number(&mut self, bytes: &mut Vec<u8>) {
        let huge: Vec<&str> = HUGE.split(' ').collect();
        let huge = self.one_of(&huge).as_bytes();
        let from = self.place(bytes);
        let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else {
            return self.insert(bytes, huge);
        };
        let end = bytes[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |at| start + at);
        bytes.splice(start..end, huge.iter().copied());
    }

    fn change_line_ends(&mut self, bytes: &mut Vec<u8>) {
        let other = *self.one_of(&["\r\n", "\r", "", "\n\n", "\u{2028}", " \n"]);
        let only = (self.random.below(2) == 0).then(|| self.place(bytes));
        let mut changed = Vec::with_capacity(bytes.len());
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'\n' if only.is_none_or(|only| at >= only) => changed.extend_from_slice(other.as_bytes()),
                _ => changed.push(*byte),
            }
        }
        *bytes = changed;
    }

    /// A line is written twice, left out, or changes places with another.
    fn shuffle_lines(&mut self, bytes: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return;
        }
        let (one, other) = (self.below(lines.len()), self.below(lines.len()));
        match self.random.below(3) {
            0 => lines.insert(other, lines[one].clone()),
            1 => drop(lines.remove(one)),
            _ => lines.swap(one, other),
        }
        *bytes = lines.concat();
    }

    fn insert_hostile(&mut self, bytes: &mut Vec<u8>) {
        let piece = *self.one_of(HOSTILE);
        self.insert(bytes, piece);
    }

    /// A run of one byte, from a few to as many as the format takes.
    fn lengthen(&mut self, bytes: &mut Vec<u8>) {
        let byte = *self.one_of(b"aA0.*-/[{\" \n\xff");
        let most = self.target.most.ilog2() as usize + 1;
        // Long ones are rare: they are slow.
        let length = 1 << self.below(most).min(self.below(most));
        self.insert(bytes, &vec![byte; length]);
    }
}
