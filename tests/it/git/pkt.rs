//! The lines of git's protocol, and the answers of a server that speaks it.

use std::collections::BTreeSet;

use git2::{Buf, ObjectType, Oid, Repository, Sort};

/// One line of the protocol.
pub fn line(bytes: &[u8]) -> Vec<u8> {
    [format!("{:04x}", bytes.len() + 4).as_bytes(), bytes].concat()
}

/// The lines of a request up to its end; `None` stands for a flush.
pub fn lines(mut bytes: &[u8]) -> Vec<Option<String>> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..4]).expect("hex"), 16).expect("hex");
        if length == 0 {
            found.push(None);
            bytes = &bytes[4..];
        } else {
            found.push(Some(String::from_utf8_lossy(&bytes[4..length]).trim_end().to_owned()));
            bytes = &bytes[length..];
        }
    }
    found
}

/// The list of references, as the answer to the first request over HTTP.
pub fn advertisement(repository: &Repository, capabilities: &str) -> Vec<u8> {
    let mut answer = line(b"# service=git-upload-pack\n");
    answer.extend_from_slice(b"0000");
    let mut names: Vec<(String, Oid)> = Vec::new();
    for reference in repository.references().expect("listed") {
        let reference = reference.expect("a reference");
        let name = reference.name().expect("UTF-8").to_owned();
        let id = reference.target().expect("direct");
        names.push((name.clone(), id));
        if let Ok(peeled) = reference.peel(ObjectType::Commit)
            && peeled.id() != id
        {
            names.push((format!("{name}^{{}}"), peeled.id()));
        }
    }
    names.sort();
    for (n, (name, id)) in names.iter().enumerate() {
        let tail = if n == 0 { format!("\0{capabilities}") } else { String::new() };
        answer.extend(line(format!("{id} {name}{tail}\n").as_bytes()));
    }
    if names.is_empty() {
        answer.extend(line(format!("{} capabilities^{{}}\0{capabilities}\n", "0".repeat(40)).as_bytes()));
    }
    answer.extend_from_slice(b"0000");
    answer
}

/// What a client asks for.
#[derive(Debug, Default, Clone)]
pub struct Asked {
    pub wants: Vec<Oid>,
    pub depth: Option<u32>,
    pub is_done: bool,
}

impl Asked {
    pub fn read(request: &[u8]) -> Self {
        let mut asked = Self::default();
        for line in lines(request).into_iter().flatten() {
            match line.split_once(' ') {
                Some(("want", rest)) => asked.wants.push(Oid::from_str(&rest[..40]).expect("an id")),
                Some(("deepen", depth)) => asked.depth = depth.parse().ok(),
                _ if line == "done" => asked.is_done = true,
                _ => {}
            }
        }
        asked
    }
}

/// The answer to a request for a pack. What the client has already is sent again: that is allowed.
pub fn answer(repository: &Repository, asked: &Asked, any_id: bool) -> Vec<u8> {
    let shown: BTreeSet<Oid> =
        repository.references().expect("listed").filter_map(|r| r.expect("a reference").target()).collect();
    if let Some(hidden) = asked.wants.iter().find(|id| !any_id && !shown.contains(id)) {
        return line(format!("ERR upload-pack: not our ref {hidden}").as_bytes());
    }
    let mut answer = Vec::new();
    if asked.depth.is_some() {
        for want in &asked.wants {
            if let Some(commit) = peeled(repository, *want).filter(|commit| commit.parent_count() > 0) {
                answer.extend(line(format!("shallow {}", commit.id()).as_bytes()));
            }
        }
        answer.extend_from_slice(b"0000");
    }
    if !asked.is_done {
        if asked.depth.is_none() {
            answer.extend(line(b"NAK\n"));
        }
        return answer;
    }
    answer.extend(line(b"NAK\n"));
    answer.extend(banded(&pack(repository, asked)));
    answer
}

/// A pack on the first side band, with its end.
pub fn banded(pack: &[u8]) -> Vec<u8> {
    let mut lines: Vec<u8> = pack.chunks(60_000).flat_map(|part| line(&[&[1], part].concat())).collect();
    lines.extend_from_slice(b"0000");
    lines
}

fn peeled(repository: &Repository, id: Oid) -> Option<git2::Commit<'_>> {
    repository.find_object(id, None).ok()?.peel_to_commit().ok()
}

fn pack(repository: &Repository, asked: &Asked) -> Vec<u8> {
    let mut builder = repository.packbuilder().expect("a builder");
    for want in &asked.wants {
        let mut id = *want;
        while let Ok(tag) = repository.find_tag(id) {
            builder.insert_object(id, None).expect("there");
            id = tag.target_id();
        }
        if asked.depth.is_some() {
            builder.insert_commit(id).expect("there");
        } else {
            let mut walk = repository.revwalk().expect("a walk");
            walk.set_sorting(Sort::TOPOLOGICAL).expect("sorted");
            walk.push(id).expect("there");
            builder.insert_walk(&mut walk).expect("there");
        }
    }
    let mut pack = Buf::new();
    builder.write_buf(&mut pack).expect("written");
    pack.to_vec()
}

/// Makes a pack by hand: kind, declared size, and the deflated bytes of each object.
pub fn raw_pack(declared_objects: u32, objects: &[(u8, u64, Vec<u8>)]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&declared_objects.to_be_bytes());
    for (kind, size, deflated) in objects {
        let mut first = (kind << 4) | u8::try_from(size & 15).expect("four bits");
        let mut rest = size >> 4;
        while rest > 0 {
            pack.push(first | 0x80);
            first = u8::try_from(rest & 0x7f).expect("seven bits");
            rest >>= 7;
        }
        pack.push(first);
        pack.extend_from_slice(deflated);
    }
    let trailer = openssl::sha::sha1(&pack);
    pack.extend_from_slice(&trailer);
    pack
}
