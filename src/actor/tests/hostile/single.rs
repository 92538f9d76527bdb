//! One test each, where an end has more to it than a state.

use super::*;

/// Does what the first byte of a message says.
fn obedient() -> TestGuest {
    TestGuest::new()
        .functions("(func $recurse (param i32) (result i32) (call $recurse (i32.add (local.get 0) (i32.const 1))))")
        .handle(
            r#"(local.set $i (i32.load8_u (local.get $ptr)))
               (if (i32.eq (local.get $i) (i32.const 116)) (then unreachable)) ;; t
               (if (i32.eq (local.get $i) (i32.const 108)) (then (loop $for_ever (br $for_ever)))) ;; l
               (if (i32.eq (local.get $i) (i32.const 114)) (then (drop (call $recurse (i32.const 0))))) ;; r
               (if (i32.eq (local.get $i) (i32.const 102)) (then (return (call $error @"no \1b[31mwords")))) ;; f
               (if (i32.eq (local.get $i) (i32.const 109)) ;; m
                 (then (loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16))))) unreachable))
               (if (i32.eq (local.get $i) (i32.const 112)) ;; p
                 (then (drop (call $send @"panic-in-the-host" (local.get $ptr) (local.get $len)))))
               (call $ok_some (local.get $ptr) (local.get $len))"#,
        )
}

fn crash_text(reply: Reply) -> String {
    match reply {
        Err(CallError::Crashed(text)) => text,
        other => panic!("a crash was expected: {other:?}"),
    }
}

#[track_caller]
fn crashes_with(order: &[u8], expected: &str) {
    let host = with_bystander();
    host.run(&quick("guest"), &obedient());
    let text = crash_text(host.ask("guest", order));
    assert!(text.contains(expected), "{text}");
    let crashed = host.events.wait(|event| matches!(event.what, ActorChange::Crashed(_)));
    assert_eq!(crashed, ActorEvent { name: name("guest"), what: ActorChange::Crashed(text.clone()) });
    host.events.wait(|event| event.what == ActorChange::Recovered);
    assert_eq!(host.ask("guest", b"again"), Ok(Some(b"again".to_vec())));
    let status = host.status("guest");
    assert_eq!((status.phase, status.crashes, status.restarts), (ActorPhase::Running, 1, 1));
    assert_eq!((status.counts.accepted, status.counts.handled, status.counts.failed), (2, 1, 1));
    assert_eq!(status.last_error.as_deref(), Some(&*text));
    assert!(host.log_text("guest").contains(expected), "{}", host.log_text("guest"));
    bystander_is_fine(&host);
}

#[test]
fn a_trap_takes_the_instance_and_the_message_and_the_actor_starts_again() {
    crashes_with(b"t", "trap: wasm `unreachable` instruction executed, in ");
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    crashes_with(b"l", "it took longer than the 50ms it may");
}

#[test]
fn infinite_recursion_ends_at_the_end_of_the_guests_stack() {
    crashes_with(b"r", "it used up its stack of 512 KiB, in recurse, called by recurse");
}

#[test]
fn memory_growth_ends_at_the_limit_and_the_crash_says_so() {
    crashes_with(b"m", "before that it was refused memory: it asked for");
}

#[test]
fn a_panic_of_the_host_in_a_call_faults_one_actor_only() {
    crashes_with(b"p", "the host failed in a call: meant for a test");
}

#[test]
fn an_error_keeps_the_instance_and_its_words_are_escaped() {
    let host = with_bystander();
    host.run(&quick("guest"), &obedient());
    assert_eq!(host.ask("guest", b"f"), Err(CallError::Failed("no \\u{1b}[31mwords".to_owned())));
    assert_eq!(host.ask("guest", b"e"), Ok(Some(b"e".to_vec())));
    let status = host.status("guest");
    assert_eq!((status.crashes, status.counts.handled, status.counts.failed), (0, 1, 1));
}

#[track_caller]
fn does_not_start(guest: &TestGuest, expected: &str) {
    let host = with_bystander();
    let refused = host.prepare(&quick("guest"), guest).unwrap_err().to_string();
    assert!(refused.contains(expected), "{refused}");
    assert!(host.system.status(&name("guest")).is_none());
    let after = host.engine.memory_budget().used_bytes();
    host.stop("bystander");
    let without = host.engine.memory_budget().used_bytes();
    assert_eq!(without, 0, "of {after} bytes something was not given back");
}

#[test]
fn an_error_of_init_is_told_and_nothing_is_left() {
    does_not_start(&TestGuest::new().init(r#"(call $init_error @"no database")"#), "no database");
}

#[test]
fn a_trap_in_init_is_told() {
    does_not_start(&TestGuest::new().init("unreachable"), "it did not start: trap: wasm `unreachable`");
}

#[test]
fn an_endless_init_ends_at_the_deadline() {
    does_not_start(&TestGuest::new().init("(loop $l (br $l)) unreachable"), "it took longer than the 50ms it may");
}

#[test]
fn an_endless_start_function_ends_at_the_deadline() {
    does_not_start(&TestGuest::new().start("(loop $l (br $l))"), "it took longer than the 50ms it may");
}

#[test]
fn an_init_that_takes_all_memory_is_refused_it() {
    let greedy = "(loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16))))) unreachable";
    does_not_start(&TestGuest::new().init(greedy), "its limit is 64MiB");
}

#[test]
fn memories_that_are_each_within_the_limit_are_refused_when_their_sum_is_not() {
    let memories: String =
        (0..10).map(|i| format!("(core module $m{i} (memory 160)) (core instance (instantiate $m{i}))\n")).collect();
    does_not_start(&TestGuest::new().core_extra(&memories), "its limit is 64MiB");
}

#[test]
fn more_memories_than_allowed_are_refused_however_small() {
    let memories: String =
        (0..20).map(|i| format!("(core module $m{i} (memory 0)) (core instance (instantiate $m{i}))\n")).collect();
    does_not_start(&TestGuest::new().core_extra(&memories), "memor");
}

#[test]
fn one_module_instantiated_again_and_again_is_refused() {
    let instances = "(core instance (instantiate $empty))\n".repeat(100);
    let text = format!("(core module $empty)\n{instances}");
    does_not_start(&TestGuest::new().core_extra(&text), "instance");
}

#[test]
fn a_table_of_ten_million_elements_is_refused() {
    let table = "(core module $t (table 10000000 funcref)) (core instance (instantiate $t))\n";
    does_not_start(&TestGuest::new().core_extra(table), "a table may have 100000");
}

#[test]
fn a_message_sent_from_init_is_refused() {
    // 6 is too-many-sends, and one more than the number of the case.
    let guest = TestGuest::new().init(
        r#"(if (i32.ne (i32.const 6) (call $send @"bystander" (local.get $ptr) (local.get $len))) (then unreachable))
           (call $init_ok)"#,
    );
    let host = with_bystander();
    host.run(&quick("guest"), &guest);
    assert_eq!(host.status("bystander").counts.accepted, 0);
}

#[test]
fn a_shutdown_that_never_returns_is_cut_off_and_told() {
    let host = with_bystander();
    host.run(&quick("guest"), &TestGuest::new().shutdown("(loop $l (br $l))"));
    assert_eq!(host.stop("guest"), Switched::Done);
    assert!(host.log_text("guest").contains("stopped; shutdown: it took longer"), "{}", host.log_text("guest"));
    bystander_is_fine(&host);
}

#[test]
fn an_actor_that_always_crashes_fails_and_is_left_alone() {
    let host = with_bystander();
    let mut actor = quick("guest");
    actor.supervision = Supervision { max_restarts: 2, backoff: Millis(1), ..Supervision::default() };
    host.run(&actor, &obedient());
    for _ in 0..3 {
        crash_text(host.ask("guest", b"t"));
    }
    host.events.wait(|event| matches!(event.what, ActorChange::Failed(_)));
    let status = host.status("guest");
    assert_eq!((status.phase, status.crashes, status.restarts), (ActorPhase::Failed, 3, 2));
    let slow = status.next_start.unwrap() - status.since;
    assert!((SLOW_RETRY * 4 / 5..=SLOW_RETRY * 6 / 5).contains(&slow), "{slow:?}");
    // What comes now waits for the slow retry.
    host.system.send_from_host(&name("guest"), b"e".to_vec()).unwrap();
    assert_eq!(host.status("guest").mailbox_messages, 1);
    bystander_is_fine(&host);
}

#[test]
fn an_actor_that_is_never_restarted_takes_no_more_messages() {
    let host = with_bystander();
    let mut actor = quick("guest");
    actor.supervision.restart = crate::desired::spec::RestartPolicy::Never;
    host.run(&actor, &obedient());
    let waiting = host.system.begin_request(&name("guest"), b"l".to_vec(), PATIENCE).unwrap();
    let behind = host.system.begin_request(&name("guest"), b"e".to_vec(), PATIENCE).unwrap();
    crash_text(bytes(waiting.wait()));
    assert_eq!(behind.wait(), Err(CallError::Stopped));
    assert_eq!(host.ask("guest", b"e"), Err(CallError::NoSuchTarget));
    let status = host.status("guest");
    assert_eq!((status.phase, status.next_start), (ActorPhase::Failed, None));
    assert_eq!((status.counts.accepted, status.counts.failed, status.counts.stopped), (2, 1, 1));
    bystander_is_fine(&host);
}

#[test]
fn more_spinners_than_threads_do_not_keep_others_from_answering() {
    let host = Host::with(|config| config.workers = std::num::NonZeroUsize::new(2));
    host.run(&Actor::new("bystander"), &echo());
    let names = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
    let spinner = host.compile(&obedient());
    for own in names {
        let actor = Actor::new(own).limits(|limits| limits.call = Millis(2_000));
        host.activate(host.prepare_compiled(&actor, &spinner).unwrap());
    }
    let spins: Vec<PendingReply> =
        names.iter().map(|own| host.system.begin_request(&name(own), b"l".to_vec(), PATIENCE).unwrap()).collect();
    // Asked of the workers: without replacements nothing would be answered before a deadline ends a spinner.
    for _ in 0..20 {
        let reply = host.system.begin_request(&name("bystander"), b"?".to_vec(), PATIENCE).unwrap().wait();
        assert_eq!(bytes(reply), Ok(Some(b"?".to_vec())));
    }
    assert!(host.system.stuck_threads().1 >= 1);
    for spin in spins {
        assert!(crash_text(bytes(spin.wait())).contains("it took longer than the 2s it may"));
    }
    host.until("stuck threads end", || host.system.stuck_threads().0 == 0);
    bystander_is_fine(&host);
}

#[test]
fn a_flood_of_log_lines_is_bounded_and_counted() {
    let host = with_bystander();
    let flood = TestGuest::new().handle(
        r#"(loop $more
             (call $log (i32.const 4096) (i32.const 60000))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (br_if $more (i32.lt_u (local.get $i) (i32.const 3000))))
           (call $ok_none)"#,
    );
    host.run(&Actor::new("guest").limits(|limits| limits.call = Millis(30_000)), &flood);
    host.ask("guest", b"go").unwrap();
    let lines = host.log("guest");
    let lost = host.status("guest").log_lines_lost;
    let kept = lines.iter().filter(|line| line.source == crate::logs::Source::Guest).count() as u64;
    assert_eq!(kept + lost, 3_000);
    assert!(lost > 0);
    assert!(lines.iter().any(|line| line.message.contains("lines were dropped: more came than a log takes")));
    assert!(lines.iter().all(|line| line.message.len() <= crate::logs::MAX_LINE_BYTES));
    let bytes: u64 =
        std::fs::read_dir(host.logs.directory()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= 40 << 20, "{bytes}");
    bystander_is_fine(&host);
}

#[test]
fn a_component_with_imports_that_nobody_offers_is_refused_with_all_of_them() {
    let guest = TestGuest::new().imports(
        r#"(import "wasi:http/outgoing-handler@0.2.3" (instance (export "f" (func))))
           (import "acme:db/query@1.0.0" (instance (export "q" (func))))"#,
    );
    let host = with_bystander();
    let compiled = host.compile(&guest);
    assert_eq!(host.system.missing_imports(&compiled), ["acme:db/query@1.0.0", "wasi:http/outgoing-handler@0.2.3"]);
    let refused = host.prepare_compiled(&quick("guest"), &compiled).unwrap_err().to_string();
    assert!(refused.contains("does not offer: `acme:db/query@1.0.0`, `wasi:http/outgoing-handler@0.2.3`"), "{refused}");
    assert!(refused.contains("offered are: `airssys:component/config@0.1.0`"), "{refused}");
}

#[test]
fn a_component_with_nothing_to_call_is_refused_with_what_it_exports() {
    let guest = TestGuest::new()
        .without_lifecycle()
        .without_handler()
        .exports(r#"(instance $e) (export "acme:job/run@1.0.0" (instance $e))"#);
    does_not_start(&guest, "it exports: `acme:job/run@1.0.0`; this host calls: `airssys:component/lifecycle@0.1.0`");
}
