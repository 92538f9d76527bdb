//! What a host writes for itself and reads back: generations and the audit log; and the prefixes of codecs.
//!
//! Both files carry checksums: most inputs get fitting ones, so that what is behind them is reached.

use airssys_wasm::audit::chain::{End, MAX_BREAKS, Walk, Walked};
use airssys_wasm::audit::query::{Newest, Query};
use airssys_wasm::audit::{Entry, Kind, Record, text};
use airssys_wasm::codec::{Codec, MAX_PREFIX_BYTES, Payload, decode, encode};
use airssys_wasm::digest::Digest;
use airssys_wasm::generation::{Decoded, GenerationFile, decode_chain};

use super::super::seen::{Seen, shown};
use super::{Target, filled};

/// Longest input of generations and logs. The formats take more, and what more takes grows with it.
const MOST: usize = 512 << 10;

pub const GENERATION: Target = Target {
    name: "generation",
    most: MOST,
    words: include_str!("../words/generation"),
    run: generation,
    mend: Some(mend_generations),
    largest: largest_generations,
};

const FIRST_LINE: &[u8] = b"airssys-generation 1\n";

/// The input as files one behind the other; each begins with the first line.
fn files(input: &[u8]) -> Vec<&[u8]> {
    let is_start = |at: &usize| input[*at..].starts_with(FIRST_LINE) && (*at == 0 || input[at - 1] == b'\n');
    let mut starts: Vec<usize> = (0..input.len()).filter(is_start).collect();
    if starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let ends = starts[1..].iter().copied().chain([input.len()]);
    starts.iter().zip(ends).map(|(start, end)| &input[*start..end]).collect()
}

fn generation(input: &[u8], seen: &mut Seen) {
    let mut chain = Vec::new();
    for bytes in files(input) {
        match GenerationFile::decode(bytes) {
            Err(error) => return seen.refused(&error.to_string()),
            Ok(file) => chain.push((bytes, file)),
        }
    }
    let whole = decode_chain(chain.iter().map(|(_, file)| file.clone()));
    let mut parent: Option<Decoded> = None;
    for (bytes, file) in chain {
        match applied(bytes, file, parent.as_ref()) {
            Ok(decoded) => {
                let Decoded { generation, deltas, .. } = &decoded;
                let counts = [generation.entries.len(), generation.holds.len(), generation.notes.len()];
                seen.taken(&format!("generation {deltas} {counts:?}"));
                parent = Some(decoded);
            }
            Err(error) => {
                seen.refused(&error);
                assert_eq!(whole.map_err(|error| error.to_string()), Err(error));
                return;
            }
        }
    }
    assert_eq!(whole.ok(), parent);
}

/// What a file makes of its parent. Written again, it is the same bytes, or a base in place of a delta or the other way.
fn applied(bytes: &[u8], file: GenerationFile, parent: Option<&Decoded>) -> Result<Decoded, String> {
    let is_base = file.is_base();
    let decoded = file.apply(parent.cloned()).map_err(|error| error.to_string())?;
    let (sealed, again) = decoded.generation.clone().encode(if is_base { None } else { parent });
    let reread = GenerationFile::decode(sealed.text.as_bytes()).expect("its own text");
    if reread.is_base() == is_base {
        assert_eq!(sealed.text.as_bytes(), bytes, "there is one spelling");
        assert_eq!(again.digest, decoded.digest);
    }
    assert_eq!(reread.apply(parent.cloned()).as_ref(), Ok(&again));
    assert_eq!(again.generation, decoded.generation);
    if let Some(parent) = parent
        && let Err(error) = decoded.generation.check_follows(parent, parent.generation.number)
    {
        shown(&error.to_string());
    }
    Ok(decoded)
}

/// Gives every file its checksum, and every parent that of the file before.
fn mend_generations(input: &[u8]) -> Vec<u8> {
    let (mut mended, mut before) = (Vec::new(), None::<Digest>);
    for file in files(input) {
        let mut body = Vec::new();
        for line in without_end(file).split_inclusive(|byte| *byte == b'\n') {
            let parent = line.strip_prefix(b"parent ").filter(|rest| rest.first().is_some_and(u8::is_ascii_digit));
            match (parent, before) {
                (Some(rest), Some(before)) => {
                    let number = rest.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
                    body.extend([b"parent ", number, format!(" {before}\n").as_bytes()].concat());
                }
                _ => body.extend(line),
            }
        }
        before = Some(seal(&mut mended, &body));
    }
    mended
}

/// A file without its last line, where that is a checksum.
fn without_end(file: &[u8]) -> &[u8] {
    let whole = file.strip_suffix(b"\n").unwrap_or(file);
    let last = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole[last..].starts_with(b"end ") { &file[..last] } else { file }
}

fn seal(into: &mut Vec<u8>, body: &[u8]) -> Digest {
    let digest = Digest::of(body);
    into.extend_from_slice(body);
    into.extend_from_slice(format!("end {digest}\n").as_bytes());
    digest
}

fn largest_generations() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"");
    let start = |kind: &str| {
        let numbers = "written 1\nfloors DIGEST\nnext-storage-id 9999\nentries 0";
        format!("airssys-generation 1\nnumber 1\nparent none\n{numbers}\n{kind}\n")
            .replace("DIGEST", &digest.to_string())
    };
    let fill =
        |kind: &str, piece: &dyn Fn(usize) -> String| mend_generations(&filled(MOST - 100, &start(kind), piece, ""));
    vec![
        fill("base", &|n| format!("set a{n:08} {digest} {n}\n")),
        fill("base", &|n| format!("hold a{n:08} {digest} \"\\u202e\"\n")),
        fill("base", &|_| "note a \"\"\n".to_owned()),
        fill("delta", &|n| format!("unset a{n:08}\n")),
        fill("base", &|_| format!("note a \"{}\"\n", "\\u0000".repeat(4_000))),
    ]
}

pub const AUDIT: Target = Target {
    name: "audit",
    most: MOST,
    words: include_str!("../words/audit"),
    run: audit,
    mend: Some(mend_audit),
    largest: largest_audits,
};

/// The head, where the input begins with one, and the lines of the log.
fn head_and_lines(input: &[u8]) -> (Option<&[u8]>, Vec<&[u8]>) {
    let end_of_line =
        |from: usize| input[from..].iter().position(|byte| *byte == b'\n').map_or(input.len(), |at| from + at + 1);
    let (head, log) = match input.starts_with(b"airssys-audit-head ") {
        true => input.split_at(end_of_line(end_of_line(end_of_line(0).min(input.len())))),
        false => input.split_at(0),
    };
    let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    ((!head.is_empty()).then_some(head), lines)
}

fn audit(input: &[u8], seen: &mut Seen) {
    let (head, lines) = head_and_lines(input);
    let head = match head.map(End::decode) {
        None => None,
        Some(Err(error)) => {
            seen.refused(&error.to_string());
            None
        }
        Some(Ok(end)) => {
            seen.taken("head");
            assert_eq!(Some(end.encode().as_bytes()), head_and_lines(input).0, "there is one spelling");
            Some(end)
        }
    };
    let walked = walk(head, &lines, Some(seen));
    assert!(walked.breaks.len() <= MAX_BREAKS && walked.breaks.len() as u64 <= walked.broken);
    if walked.broken > 0 {
        return;
    }
    seen.taken("log");
    goes_on(walked.end, &lines);
    if let Some(last) = head.and_then(|head| lines.iter().position(|line| Digest::of(line) == head.digest)) {
        every_change_shows(head, &lines, &lines[..=last], input);
    }
}

fn walk(head: Option<End>, lines: &[&[u8]], mut seen: Option<&mut Seen>) -> Walked {
    let query = Query { most: 3, since: Some(1), ..Query::default() };
    let (mut walk, mut newest) = (Walk::new(head), Newest::new(&query));
    for (at, line) in lines.iter().enumerate() {
        let Some(record) = walk.line(|| format!("line {}", at + 1), line) else { continue };
        let json = serde_json::to_string(&record).expect("JSON");
        assert_eq!(serde_json::from_str::<Record>(&json).expect("its own JSON"), record);
        newest.see(record);
    }
    let walked = walk.end();
    if let Some(seen) = &mut seen {
        let found = newest.found(walked.clone());
        shown(&text::audit(&found));
        let chain = text::chain(&found.chain);
        if walked.broken > 0 { seen.refused(&chain) } else { shown(&chain) }
    }
    walked
}

/// What is written behind a whole log is a whole log, unless its numbers are at their end.
fn goes_on(end: End, lines: &[&[u8]]) {
    if end.n > u64::MAX - 2 {
        return;
    }
    let entries = [Entry::new(u64::MAX, Kind::Begin, "a"), Entry::new(0, Kind::Stop, "\u{202e}").about("b").by("c")];
    let (more, last) = end.extend(7, &entries);
    let more: Vec<&[u8]> = more.iter().map(|line| line.trim_end_matches('\n').as_bytes()).collect();
    let broken = walk(Some(last), &[lines, &more].concat(), None).broken;
    assert!(broken == 0, "what was added to a whole log broke it");
}

/// A bit of any line up to the one that the head names.
fn every_change_shows(head: Option<End>, lines: &[&[u8]], covered: &[&[u8]], input: &[u8]) {
    let choice = *Digest::of(input).as_bytes();
    let at = usize::from(choice[0]) % covered.len();
    let mut changed = covered[at].to_vec();
    let byte = usize::from(u16::from_le_bytes([choice[1], choice[2]])) % changed.len();
    changed[byte] ^= 1 << (choice[3] % 8);
    let mut lines = lines.to_vec();
    lines[at] = &changed;
    assert!(walk(head, &lines, None).broken > 0, "bit {} of byte {byte} of line {at} is not covered", choice[3] % 8);
}

/// Every line names the one before it, and the head the last one.
fn mend_audit(input: &[u8]) -> Vec<u8> {
    const PREVIOUS: &[u8] = b"\"previous\":\"";
    let (head, lines) = head_and_lines(input);
    let (mut log, mut before) = (Vec::new(), End::EMPTY.digest);
    for line in lines {
        let at = line.windows(PREVIOUS.len()).position(|part| part == PREVIOUS).map(|at| at + PREVIOUS.len());
        let line = match at.and_then(|at| Some((at, at + line[at..].iter().position(|byte| *byte == b'"')?))) {
            Some((start, end)) => [&line[..start], before.to_string().as_bytes(), &line[end..]].concat(),
            None => line.to_vec(),
        };
        before = Digest::of(&line);
        log.extend([&line[..], b"\n"].concat());
    }
    let Some(head) = head else { return log };
    let mut body = Vec::new();
    for line in without_end(head).split_inclusive(|byte| *byte == b'\n') {
        let number = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        match number.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'+') {
            true => body.extend([number, format!(" {before}\n").as_bytes()].concat()),
            false => body.extend(line),
        }
    }
    let mut mended = Vec::new();
    seal(&mut mended, &body);
    mended.extend(log);
    mended
}

fn largest_audits() -> Vec<Vec<u8>> {
    let entries: Vec<Entry> =
        (0..1_500).map(|n| Entry::new(n, Kind::Denied, "a \u{202e} mark").about("a").by("b")).collect();
    let (lines, end) = End::EMPTY.extend(3, &entries);
    vec![
        [end.encode(), lines.concat()].concat().into_bytes(),
        filled(MOST, "", |_| "x\n".to_owned(), ""),
        filled(MOST, &lines[0], |_| "[".to_owned(), "\n"),
        filled(MOST, "{\"what\":\"", |_| "\\u001b".to_owned(), "\"}\n"),
    ]
}

pub const CODEC: Target = Target {
    name: "codec",
    most: 4 << 10,
    words: include_str!("../words/codec"),
    run: codec,
    mend: None,
    largest: || vec![vec![0x80; 4 << 10], vec![0xff; 4 << 10], encode(Codec::Json, &[b'['; 4 << 10])],
};

fn codec(input: &[u8], seen: &mut Seen) {
    match decode(input) {
        Err(error) => seen.refused(&error.to_string()),
        Ok((codec, content)) => {
            seen.taken(codec.name());
            assert_eq!(encode(codec, content), input, "there is one prefix");
            assert_eq!(Payload::decode(input).map(|payload| payload.encode()), Ok(input.to_vec()));
            let prefix = input.len() - content.len();
            assert!((1..=MAX_PREFIX_BYTES).contains(&prefix));
            // The same number in more bytes.
            let mut longer = input[..prefix].to_vec();
            longer[prefix - 1] |= 0x80;
            longer.push(0);
            assert!(decode(&[&longer, content].concat()).is_err(), "a number has two spellings");
        }
    }
    let Ok(word) = std::str::from_utf8(input) else { return };
    match word.parse::<Codec>() {
        Err(error) => shown(&error.to_string()),
        Ok(codec) => assert!(codec.name() == word || word == "messagepack", "{word}"),
    }
}
