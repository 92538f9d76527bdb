//! Components that cost a compiler far more than their size, made on the spot.

/// A number in the wasm format's variable length.
fn leb(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [leb(bytes.len() as u64), bytes.to_vec()].concat()
}

fn section(id: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![id], sized(bytes)].concat()
}

/// A component around one core module: `count` functions from and to an `i32`, each with these locals and this body.
fn component(count: u64, locals: &[(u64, u8)], body: &[u8]) -> Vec<u8> {
    let mut code = leb(locals.len() as u64);
    for (how_many, what) in locals {
        code.extend(leb(*how_many));
        code.push(*what);
    }
    code.extend_from_slice(body);
    code.push(0x0b);
    let code = sized(&code);
    let types = [1, 0x60, 1, I32, 1, I32];
    let functions = [leb(count), vec![0; count as usize]].concat();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend(section(1, &types));
    module.extend(section(3, &functions));
    module.extend(section(4, &[1, 0x70, 0, 16]));
    module.extend(section(5, &[1, 0, 1]));
    module.extend(section(10, &[leb(count), code.repeat(count as usize)].concat()));
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module)].concat()
}

const I32: u8 = 0x7f;
const V128: u8 = 0x7b;
const GET: [u8; 2] = [0x20, 0];
const SET: [u8; 2] = [0x21, 0];

fn repeated(start: &[u8], part: &[u8], times: usize, end: &[u8]) -> Vec<u8> {
    [start, &part.repeat(times), end].concat()
}

/// One function of `times` additions; a million make a body close to the largest that is valid.
pub fn long_function(times: usize) -> Vec<u8> {
    component(1, &[], &repeated(&GET, &[GET[0], GET[1], 0x6a], times, &[]))
}

/// Five thousand functions of two thousand instructions: work for every core, and for long.
pub fn many_functions() -> Vec<u8> {
    component(5_000, &[], &repeated(&GET, &[GET[0], GET[1], 0x6c], 1_000, &[]))
}

/// Twenty-four bombs, by what they overdo.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let branches = |targets: u64| {
        [
            vec![0x02, 0x40],
            GET.to_vec(),
            vec![0x0e],
            leb(targets),
            vec![0; targets as usize + 1],
            vec![0x0b],
            GET.to_vec(),
        ]
        .concat()
    };
    let diamond = [&GET[..], &[0x04, I32], &GET, &[0x05, 0x41, 1, 0x0b], &SET].concat();
    let looped = [&[0x03, 0x40][..], &GET, &[0x0d, 0, 0x0b]].concat();
    let load = [&GET[..], &[0x28, 2, 0], &SET].concat();
    let store = [&GET[..], &GET, &[0x36, 2, 0]].concat();
    let indirect = [&[0x41, 0][..], &[0x11, 0, 0]].concat();
    let nest = |opener: &[u8], times: usize| repeated(&opener.repeat(times), &[0x0b], times, &GET);
    let locals = |n: u64, body: &[u8]| component(1, &[(n, I32)], body);
    let shuffle: Vec<u8> =
        (1..40_000u64).flat_map(|i| [vec![0x20], leb(i), vec![0x21], leb(40_000 - i)].concat()).collect();
    vec![
        ("a function of two million instructions", long_function(1_000_000)),
        ("divisions without end", component(1, &[], &repeated(&GET, &[GET[0], GET[1], 0x6d], 300_000, &[]))),
        ("150,000 functions", component(150_000, &[], &GET)),
        ("200,001 functions", component(200_001, &[], &GET)),
        ("50,000 locals", locals(49_000, &[&shuffle[..], &GET].concat())),
        ("too many locals", locals(60_000, &GET)),
        ("50,000 locals in 2,000 functions", component(2_000, &[(49_000, I32)], &GET)),
        ("50,000 vectors in 1,000 functions", component(1_000, &[(49_000, V128)], &GET)),
        ("a branch table of 65,000", component(1, &[], &branches(65_000))),
        ("a branch table that is too large", component(1, &[], &branches(200_000))),
        ("60 branch tables of 65,000", component(60, &[], &branches(65_000))),
        ("100,000 nested blocks", component(1, &[], &nest(&[0x02, 0x40], 100_000))),
        ("100,000 nested loops", component(1, &[], &nest(&[0x03, 0x40], 100_000))),
        ("50,000 nested conditions", component(1, &[], &nest(&[GET[0], GET[1], 0x04, 0x40], 50_000))),
        ("200,000 diamonds", component(1, &[], &repeated(&[], &diamond, 200_000, &GET))),
        ("50,000 diamonds over 1,000 locals", locals(1_000, &repeated(&[], &diamond, 50_000, &GET))),
        ("200,000 loops", component(1, &[], &repeated(&[], &looped, 200_000, &GET))),
        ("200,000 loads", component(1, &[], &repeated(&[], &load, 200_000, &GET))),
        ("200,000 stores", component(1, &[], &repeated(&[], &store, 200_000, &GET))),
        ("200,000 calls", component(1, &[], &repeated(&GET, &[0x10, 0], 200_000, &[]))),
        ("100,000 calls through a table", component(1, &[], &repeated(&GET, &indirect, 100_000, &[]))),
        ("a stack of 100,000 values", component(1, &[], &[GET.repeat(100_000), vec![0x6a; 99_999]].concat())),
        (
            "500,000 selections",
            component(1, &[], &repeated(&GET, &[GET[0], GET[1], GET[0], GET[1], 0x1b], 500_000, &[])),
        ),
        ("5,000 functions of 2,000 instructions", many_functions()),
    ]
}
