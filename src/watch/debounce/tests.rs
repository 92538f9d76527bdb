use super::*;

/// When looks happen for a loop that always has time. `c` completes something, `b` begins
/// something, `x` loses events; the number is the time in milliseconds.
fn looks(events: &str) -> String {
    let mut pending: Vec<(u64, char)> =
        events.split_whitespace().map(|event| (event[1..].parse().unwrap(), event.chars().next().unwrap())).collect();
    pending.reverse();
    let mut debounce = Debounce::default();
    let mut looks = Vec::new();
    let last = pending.first().map_or(0, |(at, _)| *at);
    for now_ms in 0..=last + 5_000 {
        let now = Duration::from_millis(now_ms);
        while let Some((_, kind)) = pending.pop_if(|(at, _)| *at == now_ms) {
            match kind {
                'c' => debounce.event(now, Urgency::Complete),
                'b' => debounce.event(now, Urgency::Begun),
                'x' => debounce.relist(now),
                other => panic!("{other}"),
            }
        }
        match debounce.take(now) {
            Some(Due::Events) => looks.push(now_ms.to_string()),
            Some(Due::Relist) => looks.push(format!("{now_ms}!")),
            None => {}
        }
    }
    assert_eq!(debounce.due_at(), None, "{events}: something waits for ever");
    looks.join(" ")
}

#[test]
fn looks_come_at_once_for_a_first_event_and_rarely_in_a_burst() {
    let stream = |kind: char, from: u64, step: u64, to: u64| -> String {
        (0..=(to - from) / step).map(|n| format!("{kind}{} ", from + n * step)).collect()
    };
    let cases: &[(&str, &str, &str)] = &[
        ("nothing happens", "", ""),
        ("one file is renamed into place", "c5", "5"),
        ("two files at the same moment", "c5 c5", "5"),
        ("a second file shortly after the first", "c5 c10", "5 260"),
        ("a second file just before the end of the burst", "c0 c249", "0 499"),
        ("a second file after the burst", "c0 c250", "0 250"),
        ("an event in a burst is at the end of its own quiet time", "c0 c100 c200", "0 450"),
        ("created, written, closed", "b0 b1 b2 c3", "3"),
        ("created and never closed: a link", "b0", "100"),
        ("written slowly, then closed", "b0 b50 b90 b140 c150", "150"),
        ("taken away", "b7", "107"),
        ("taken away and put back at once: an editor", "b0 b1 b2 c3 b4", "3 254"),
        ("a look that is due already is not moved", "c0 b0", "0"),
        ("events are lost", "x3", "3!"),
        ("events are lost again and again", "x0 x1 x2 x500 x999 x1000 x1500", "0! 1000! 2000!"),
        ("events are lost in a burst: one look answers both", "c0 c10 x20", "0 20!"),
        ("events are lost, a file completes before the next list may be made", "x0 x10 c20", "0! 20 1000!"),
    ];
    for (name, events, expected) in cases {
        assert_eq!(looks(events), *expected, "{name}: {events}");
    }
    // A stream without a gap: at most LONGEST_DELAY between looks, and never more often than that.
    assert_eq!(looks(&stream('c', 0, 100, 6_000)), "0 2100 4200 6250");
    assert_eq!(looks(&stream('b', 0, 90, 4_500)), "2000 4070 4750");
}

#[test]
fn a_loop_that_is_busy_finds_one_look_for_everything_that_came_meanwhile() {
    let ms = Duration::from_millis;
    let mut debounce = Debounce::default();
    for at in [0, 100, 3_000] {
        debounce.event(ms(at), Urgency::Complete);
    }
    debounce.relist(ms(3_100));
    assert_eq!(debounce.take(ms(9_000)), Some(Due::Relist));
    assert_eq!(debounce.take(ms(9_000)), None);
    assert_eq!(debounce.due_at(), None);
}

#[test]
fn a_look_for_another_reason_answers_what_waits() {
    let ms = Duration::from_millis;
    let mut debounce = Debounce::default();
    debounce.event(ms(0), Urgency::Complete);
    assert_eq!(debounce.take(ms(0)), Some(Due::Events));
    debounce.event(ms(10), Urgency::Complete);
    debounce.looked(ms(20));
    assert_eq!(debounce.due_at(), None);
}
