//! Decides whether a function that is imported can be the one that is there, as far as the texts of both tell.
//!
//! The names of parameters are no part of a function's type, and a signature that was cut hides its end: only what is
//! certain speaks against a component. The rest is for the linker to find.

/// What stands at the end of a signature that was cut, before its digest.
const CUT: char = '…';

/// Whether the two may be of one type.
pub(super) fn may_be_same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let is_cut = one.contains(CUT) || other.contains(CUT);
    match (parameters(one), parameters(other)) {
        // What was cut hides its end in a digest that covers the names, too: equal names leave only the types. What stands
        // before the end is certain.
        (Some(one), Some(other)) if is_cut => one.parameters() == other.parameters() && one.names != other.names,
        (Some(one), Some(other)) => one.types == other.types,
        // A resource is none of the functions, and no text of another form is known.
        (None, None) => true,
        _ => is_cut,
    }
}

/// A signature taken apart.
struct Parameters<'s> {
    names: Vec<&'s str>,
    /// All of the text but the names.
    types: Vec<&'s str>,
}

impl<'s> Parameters<'s> {
    /// The word before them and their types.
    fn parameters(&self) -> &[&'s str] {
        &self.types[..=self.names.len()]
    }
}

/// None of what is no function, and where the parameters are cut.
fn parameters(signature: &str) -> Option<Parameters<'_>> {
    let (head, mut rest) = signature.split_once('(').filter(|(head, _)| head.ends_with("func"))?;
    let mut parts = Parameters { names: Vec::new(), types: vec![head] };
    while !rest.starts_with(')') {
        let (name, after) = rest.split_once(": ")?;
        let end = end_of_type(after)?;
        parts.names.push(name);
        parts.types.push(&after[..end]);
        rest = after[end..].strip_prefix(", ").unwrap_or(&after[end..]);
    }
    parts.types.push(rest);
    Some(parts)
}

/// Where a type ends: at a comma or a bracket that is none of its own.
fn end_of_type(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '<' | '{' => depth += 1,
            ')' | ',' if depth == 0 => return Some(at),
            ')' | '>' | '}' => depth = depth.saturating_sub(1),
            CUT => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parameters_are_no_part_of_a_type() {
        let func = "func(a: record { x: u32, y: tuple<u8, u8> }, b: list<u8>) -> result<_, string>";
        assert!(may_be_same(func, &func.replace("a: record", "other: record")));
        assert!(!may_be_same(func, &func.replace("x: u32", "z: u32")), "names of fields are");
        assert!(!may_be_same(func, &func.replace("b: list<u8>", "b: string")));
        assert!(!may_be_same(func, &func.replace("_, string", "u8, string")));
        assert!(!may_be_same("func()", "func() -> u8"));
        assert!(!may_be_same("func()", "async func()"));
        assert!(!may_be_same("func(a: u8)", "func(a: u8, b: u8)"));
        assert!(!may_be_same("resource", "func()"));
        assert!(may_be_same("resource", "resource"));
    }

    #[test]
    fn what_was_cut_speaks_against_nobody_unless_it_is_certain() {
        let cut = |start: &str, digest: &str| format!("{start}… sha256:{digest}");
        let one = cut("func(a: u32) -> variant { one, tw", "01");
        assert!(may_be_same(&one, &one));
        assert!(!may_be_same(&one, &cut("func(a: u32) -> variant { one, tw", "02")), "the names are the same");
        assert!(may_be_same(&one, &cut("func(b: u32) -> variant { one, tw", "02")), "the names make a difference");
        assert!(!may_be_same(&one, "func(a: u32, b: u32)"), "one more parameter is certain");
        assert!(!may_be_same(&one, &cut("func(b: u64) -> variant { one, tw", "02")), "so is another type of one");
        let within = cut("func(a: variant { one, tw", "01");
        assert!(may_be_same(&within, &cut("func(a: variant { one, tw", "02")), "more names may follow");
        assert!(may_be_same(&within, "func(a: u32)"));
    }

    #[test]
    fn no_text_makes_it_fail() {
        for text in
            ["", "func", "func(", "func(a", "func(a: ", "func(a: u8", "func)", "func(: )", "func(a: >, <b: }", "…("]
        {
            may_be_same(text, "func(a: u8)");
            may_be_same("func(a: u8)… sha256:0", text);
        }
    }
}
