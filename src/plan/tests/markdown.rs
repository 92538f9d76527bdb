//! The plan as Markdown: as files that reviewers read, and against text that wants to be more than text.

use expect_test::expect_file;
use proptest::prelude::*;
use serde_json::json;

use super::fixture::{Scene, name, spec, with};
use super::golden::mixed;
use crate::plan::text::APPLY;
use crate::plan::text::markdown::MAX_MARKDOWN_BYTES;
use crate::resolution::{Refusal, Resolution};

fn check(scene: &Scene, file: expect_test::ExpectFile) {
    let text = scene.plan().markdown(APPLY);
    skeleton(&text);
    file.assert_eq(&text);
}

macro_rules! golden {
    ($name:literal) => {
        expect_file![concat!("../../../tests/golden/plan/", $name)]
    };
}

#[test]
fn what_a_reviewer_reads() {
    check(&mixed(), golden!("mixed.md"));
    check(&Scene::default().settled(&["a", "b"]), golden!("converged.md"));
    let scene =
        ["e", "f", "g", "h"].iter().fold(Scene::default().settled(&["a", "b"]), |s, n| s.have(spec(n), "1.0.0"));
    check(&scene, golden!("mass-delete.md"));
    let scene = Scene::default().settled(&["a"]).have(spec("b"), "1.0.0");
    check(&scene.unknown_file("new.toml", "expected a value after `=`"), golden!("unreadable-files.md"));
}

/// A plan in which `text` stands wherever somebody else can write something.
fn full_of(text: &str) -> (Scene, String) {
    let mut changed = spec("config");
    changed.config = json!({ "key": text, "list": [text, { "k": text }] }).as_object().cloned().expect("an object");
    changed.config.insert(text.to_owned(), json!(1));
    changed.source = crate::desired::spec::Source::File { path: format!("/{text}") };
    let refusal = Refusal::new(text, text).hint(format!("{text}\n{text}"));
    let mut scene = Scene::default()
        .have(spec("config"), "1.0.0")
        .want(changed, "1.0.0")
        .want_with(spec("foreign"), "1.0.0", |candidate| candidate.artifact.publisher = text.to_owned())
        .have(spec("hands"), "1.0.0")
        .want_with(spec("hands"), "1.1.0", |candidate| candidate.artifact.publisher = text.to_owned())
        .want(spec("refused"), "1.0.0")
        .unresolved("refused", Resolution::Refused, refusal)
        .have(spec("back"), "1.0.0")
        .want(with(spec("back"), |spec| spec.enabled = false), "1.1.0")
        .hold_wanted("back", text)
        .unknown_file(text, text);
    scene.desired.commit = Some(text.to_owned());
    (scene, format!("airssys-wasm apply {text}"))
}

/// What a Markdown reader would see as structure: lines with each `<code>` and the inside of each fence taken out.
/// Fails where a text could be anything but text.
#[track_caller]
fn skeleton(markdown: &str) -> Vec<String> {
    let mut lines = markdown.lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        if ticks >= 3 {
            let fence = &line[..ticks];
            let mut inside = lines.by_ref().take_while(|line| *line != fence);
            assert!(inside.all(|line| !line.contains(fence)), "a fence of {fence} holds one as long:\n{markdown}");
            seen.push(format!("fence {}", &line[ticks..]));
            continue;
        }
        seen.push(without_code(line));
    }
    seen
}

#[track_caller]
fn without_code(line: &str) -> String {
    let mut rest = line;
    let mut bare = String::new();
    while let Some((before, inside)) = rest.split_once("<code>") {
        let (inside, after) = inside.split_once("</code>").expect("each <code> ends in its line");
        let mut characters = inside.chars();
        while let Some(c) = characters.next() {
            let is_reference = c == '&' && {
                let digits: String = characters.by_ref().take_while(|c| *c != ';').collect();
                digits.starts_with('#') && digits[1..].bytes().all(|b| b.is_ascii_digit())
            };
            let is_plain = !c.is_ascii() || c.is_ascii_alphanumeric() || " -,;=+()".contains(c);
            assert!(is_reference || is_plain, "{c:?} in {line}");
        }
        bare += before;
        bare += "CODE";
        rest = after;
    }
    bare += rest;
    let tags = ["<details>", "</details>", "<summary>", "</summary>", "<!-- airssys-wasm plan -->"];
    let left = tags.iter().fold(bare.clone(), |text, tag| text.replace(tag, ""));
    assert!(!left.contains(['<', '>', '&', '[', ']', '@', '`', '\\', '_']), "{line}");
    bare
}

/// Pieces that mean something to Markdown, HTML, or the services that show both.
const PIECES: [&str; 34] = [
    "`",
    "``",
    "```",
    "````````",
    "~~~",
    "</code>",
    "</details>",
    "</summary>",
    "<script>alert(1)</script>",
    "<!--",
    "-->",
    "<img src=x onerror=y>",
    "|",
    "\n",
    "\r\n",
    "\n\n",
    "\u{2028}",
    "\n```\n",
    "\n| a | b |\n|---|---|\n",
    "@everyone",
    "#1",
    "GH-1",
    "org/repo#1",
    "https://evil.example/x",
    "www.evil.example",
    "a@b.example",
    "[x](https://evil.example)",
    "![x](https://evil.example/p.png)",
    "&lt;&#60;",
    "**bold**",
    "    ",
    "- [ ] task",
    "\u{202e}",
    "# title",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(100)))]

    #[test]
    fn no_text_of_theirs_is_more_than_text(
        pieces in prop::collection::vec(prop_oneof![
            3 => prop::sample::select(PIECES.to_vec()).prop_map(str::to_owned),
            1 => "\\PC{0,6}",
        ], 1..12),
    ) {
        let (scene, apply) = full_of(&pieces.concat());
        let (harmless, plain_apply) = full_of("harmless");
        prop_assert_eq!(
            skeleton(&scene.plan().markdown(&apply)),
            skeleton(&harmless.plan().markdown(&plain_apply))
        );
    }
}

#[test]
fn a_plan_of_any_size_fits_into_a_comment_and_says_what_is_left_out() {
    let long = "```|<@\n".repeat(2_000);
    for text in ["x", &long] {
        let (mut scene, apply) = full_of(text);
        for at in 0..2_000 {
            scene = scene.want(spec(&format!("n-{at}")), "1.0.0");
        }
        scene = (0..200).fold(scene, |scene, at| scene.unknown_file(&format!("{at}{text}"), text));
        let plan = scene.plan();
        let markdown = plan.markdown(&apply);
        assert!(markdown.len() <= MAX_MARKDOWN_BYTES, "{}", markdown.len());
        skeleton(&markdown);
        assert!(markdown.contains("more are not shown here.") && markdown.contains("too long for a comment."));
        let shown = plan.actions.iter().filter(|action| action.name == name("refused")).count();
        assert_eq!(shown, 1, "the scene is what it should be");
    }
}
