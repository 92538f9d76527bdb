//! Topics: who may, who takes what, what becomes of it when a mailbox is full, and when a subscription ends.

use super::durable::Lasting;
use super::*;
use crate::actor::topics::{MAX_RUN_TIME_SUBSCRIPTIONS, MAX_SUBSCRIBERS};
use crate::desired::spec::Delivery;
use crate::limits::DEFAULT_MESSAGE_BYTES;

/// Answers of [`publisher`] for what was not published.
const NOT_PERMITTED: u8 = 100;
const INVALID: u8 = 101;
const TOO_LARGE: u8 = 102;
const TOO_MUCH: u8 = 103;
const TOO_MANY_SENDS: u8 = 105;
const TOO_MANY_HOPS: u8 = 106;

/// Publishes what it gets, in the codec in which it comes, and answers how many took it; publishes twice at `2`, fails
/// afterwards at `f`, traps at `t`.
fn publisher(topic: &str) -> TestGuest {
    let publish = format!(r#"(call $publish (local.get $codec) @"{topic}" (local.get $ptr) (local.get $len))"#);
    TestGuest::new().topics().handle(&format!(
        r#"(local.set $j (i32.load8_u (local.get $ptr)))
           (local.set $i {publish})
           (if (i32.eq (local.get $j) (i32.const 50)) (then (local.set $i {publish})))
           (if (i32.eq (local.get $j) (i32.const 102)) (then (return (call $error @"no"))))
           (if (i32.eq (local.get $j) (i32.const 116)) (then unreachable))
           (call $byte (local.get $i))"#
    ))
}

/// Logs topic and content of what was published. Of what was sent, `s` and `u` begin and end a subscription to the rest and
/// answer 0, or what speaks against it; `f` and `t` behind them fail and trap afterwards. Everything else comes back.
fn listener() -> TestGuest {
    TestGuest::new().topics().handle(
        r#"(if (local.get $topic) (then
             (call $log (local.get $topic_ptr) (local.get $topic_len))
             (call $log (local.get $ptr) (local.get $len))
             (return (call $ok_none))))
           (if (i32.eqz (local.get $len)) (then (return (call $ok_none))))
           (local.set $i (i32.load8_u (local.get $ptr)))
           (local.set $ptr (i32.add (local.get $ptr) (i32.const 1)))
           (local.set $len (i32.sub (local.get $len) (i32.const 1)))
           (if (i32.eq (local.get $i) (i32.const 115))
             (then (return (call $byte (call $subscribe (local.get $ptr) (local.get $len))))))
           (if (i32.eq (local.get $i) (i32.const 117))
             (then (return (call $byte (call $unsubscribe (local.get $ptr) (local.get $len))))))
           (if (i32.eq (local.get $i) (i32.const 102)) (then
             (drop (call $subscribe (local.get $ptr) (local.get $len))) (return (call $error @"no"))))
           (call $ok_some (local.get $ptr) (local.get $len))"#,
    )
}

fn publishing(own: &'static str, topics: &[&'static str]) -> Actor {
    Actor { publish: topics.to_vec(), ..Actor::new(own) }
}

/// May subscribe to `patterns`, does so by its file, and receives nothing that is sent to it.
fn subscribing(own: &'static str, patterns: &[&'static str]) -> Actor {
    let patterns = patterns.to_vec();
    Actor { subscribe: patterns.clone(), subscriptions: patterns, receive: Vec::new(), ..Actor::new(own) }
}

fn may_subscribe(own: &'static str, patterns: &[&'static str]) -> Actor {
    Actor { subscribe: patterns.to_vec(), ..Actor::new(own) }
}

fn said(host: &Host, actor: &str) -> Vec<String> {
    let own = |line: &LogLine| line.source == crate::logs::Source::Guest;
    host.log(actor).iter().filter(|line| own(line)).map(|line| line.message.clone()).collect()
}

#[track_caller]
fn says(host: &Host, actor: &str, expected: &[&str]) {
    host.until("it was told", || said(host, actor).len() >= expected.len());
    assert_eq!(said(host, actor), expected);
}

#[track_caller]
fn publishes(host: &Host, actor: &str, payload: &[u8], answer: u8) {
    assert_eq!(host.ask(actor, payload), Ok(Some(vec![answer])));
}

/// Lets an actor work off what came to it before.
fn passes(host: &Host, actor: &str) {
    host.until("all is worked off", || {
        let ActorStatus { counts, mailbox_messages, .. } = host.status(actor);
        mailbox_messages == 0 && counts.accepted == counts.handled + counts.dead()
    });
}

#[test]
fn what_is_published_comes_to_everybody_who_subscribes_with_its_topic_and_its_publisher() {
    let host = Host::new();
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    publishes(&host, "p", b"nobody", 0);
    host.run(&subscribing("exact", &["orders.created"]), &listener());
    host.run(&subscribing("wide", &["orders.*"]), &listener());
    host.run(&subscribing("twice", &["orders.*", "orders.created"]), &listener());
    host.run(&subscribing("other", &["orders.deleted", "*", "users.*"]), &listener());
    publishes(&host, "p", b"hello", 3);
    for own in ["exact", "wide", "twice"] {
        says(&host, own, &["orders.created", "hello"]);
    }
    assert_eq!(host.status("other").counts.accepted, 0);
    // Who it is from is known; nobody waits for a reply.
    let guest = TestGuest::new().topics().handle(
        r#"(call $log (local.get $a) (local.get $b))
           (if (local.get $wants_reply) (then unreachable))
           (call $ok_none)"#,
    );
    host.run(&subscribing("exact", &["orders.created"]), &guest);
    publishes(&host, "p", b"x", 3);
    says(&host, "exact", &["orders.created", "hello", "p"]);
}

#[test]
fn nobody_publishes_to_what_was_not_granted() {
    let host = Host::new();
    host.run(&subscribing("s", &["orders.*"]), &listener());
    host.run(&publishing("p", &["users.*", "orders.deleted"]), &publisher("orders.created"));
    publishes(&host, "p", b"x", NOT_PERMITTED);
    for no_topic in ["orders.*", "*", "", "Orders", "a..b", &"a.".repeat(9)] {
        host.run(&publishing("p", &["*", "orders.*"]), &publisher(no_topic));
        publishes(&host, "p", b"x", INVALID);
    }
    assert_eq!(host.status("s").counts.accepted, 0);
}

#[test]
fn nobody_subscribes_at_run_time_to_more_than_was_granted() {
    let host = Host::new();
    host.run(&may_subscribe("s", &["orders.*"]), &listener());
    for (order, answer) in [(&b"sorders.created"[..], 0), (b"sorders.*", 0), (b"susers.created", 1), (b"s*", 1)] {
        assert_eq!(host.ask("s", order), Ok(Some(vec![answer])), "{order:?}");
    }
    assert_eq!(host.ask("s", b"sorders.**"), Ok(Some(vec![2])), "no pattern");
    let shown = |patterns: &[&str]| patterns.iter().map(|pattern| pattern.parse().unwrap()).collect::<BTreeSet<_>>();
    assert_eq!(host.status("s").subscribed, shown(&["orders.*", "orders.created"]));
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    publishes(&host, "p", b"hello", 1);
    says(&host, "s", &["orders.created", "hello"]);
    assert_eq!(host.ask("s", b"uorders.*"), Ok(Some(vec![1])));
    assert_eq!(host.ask("s", b"uorders.*"), Ok(Some(vec![0])));
    publishes(&host, "p", b"again", 1);
    assert_eq!(host.ask("s", b"uorders.created"), Ok(Some(vec![1])));
    publishes(&host, "p", b"never", 0);
}

#[test]
fn a_subscription_of_a_call_that_fails_is_none() {
    let host = Host::new();
    host.run(&may_subscribe("s", &["orders.*"]), &listener());
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    assert!(matches!(host.ask("s", b"forders.*"), Err(CallError::Failed(_))));
    publishes(&host, "p", b"x", 0);
    assert!(host.status("s").subscribed.is_empty());
}

#[test]
fn an_instance_makes_so_many_subscriptions_and_no_more() {
    let host = Host::new();
    host.run(&may_subscribe("s", &["orders.*"]), &listener());
    for n in 0..MAX_RUN_TIME_SUBSCRIPTIONS {
        assert_eq!(host.ask("s", format!("sorders.n{n}").as_bytes()), Ok(Some(vec![0])));
    }
    assert_eq!(host.ask("s", b"sorders.more"), Ok(Some(vec![3])));
    assert_eq!(host.ask("s", b"sorders.n0"), Ok(Some(vec![0])), "it has that one");
}

#[test]
fn what_is_published_leaves_only_when_its_call_ends_well() {
    let host = Host::new();
    host.run(&subscribing("s", &["orders.*"]), &listener());
    let mut picky = subscribing("picky", &["orders.*"]);
    picky.codecs = vec![Codec::Json];
    host.run(&picky, &listener());
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    assert!(matches!(host.ask("p", b"f"), Err(CallError::Failed(_))));
    assert!(matches!(host.ask("p", b"t"), Err(CallError::Crashed(_))));
    host.until("p is back", || host.status("p").phase == ActorPhase::Running);
    let letters = host.system.dead_letters(10).0;
    assert!(letters.iter().all(|letter| letter.target == name("p")), "{letters:?}");
    assert_eq!(host.status("s").mailbox_messages, 0, "what was promised is given back");
    publishes(&host, "p", b"2x", 1);
    says(&host, "s", &["orders.created", "2x", "orders.created", "2x"]);
}

#[test]
fn who_can_not_take_it_keeps_nobody_else_from_it_and_finds_a_dead_letter() {
    let host = Host::new();
    host.run(&subscribing("s", &["orders.*"]), &listener());
    let stuck = TestGuest::new().topics().handle("(loop $l (br $l)) unreachable");
    let one = |limits: &mut Limits| (limits.mailbox, limits.call) = (1, Millis(2_000));
    host.run(&subscribing("full", &["orders.*"]).limits(one), &stuck);
    let mut picky = subscribing("picky", &["orders.*"]);
    picky.codecs = vec![Codec::Json];
    host.run(&picky, &listener());
    host.run(&subscribing("small", &["orders.*"]).limits(|limits| limits.message = ByteSize(2)), &listener());
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    host.system.send_from_host(&name("full"), b"in hand".to_vec()).unwrap();
    host.until("full has its hands full", || host.status("full").mailbox_messages == 0);
    publishes(&host, "p", b"one", 2);
    publishes(&host, "p", b"more", 1);
    says(&host, "s", &["orders.created", "one", "orders.created", "more"]);
    host.until("the letters are written", || host.system.dead_letters(10).0.len() >= 5);
    let letters = host.system.dead_letters(10).0;
    let of = |target: &str, payload: &[u8]| {
        let letter = letters.iter().find(|letter| letter.target == name(target) && letter.payload.bytes == payload);
        let letter = letter.unwrap_or_else(|| panic!("{target}: {letters:?}"));
        assert_eq!((letter.reason, letter.topic.as_ref().unwrap().as_str()), (DeadReason::Dropped, "orders.created"));
        assert_eq!(letter.sender, Sender::Installation("p".into()));
        letter.why.clone().unwrap()
    };
    assert_eq!(of("full", b"more"), "its mailbox, or the sender's share of it, was full");
    assert_eq!(of("small", b"one"), "it is larger than the 2 bytes that it takes");
    assert_eq!(of("picky", b"one"), "it does not take raw (0x55); it takes json");
    assert_eq!(host.status("picky").counts.dropped, 2);
    assert_eq!(host.status("picky").codecs.refused[Codec::Raw as usize], 2);
    for own in ["picky", "small"] {
        let ActorStatus { counts, .. } = host.status(own);
        assert_eq!((counts.accepted, counts.dropped, counts.rejected), (2, 2, 0), "{own}");
    }
    // A letter is sent again with its topic, and only to who may still take it.
    let letter = letters.iter().find(|letter| letter.target == name("picky")).unwrap();
    host.run(&subscribing("picky", &["users.*"]), &listener());
    assert!(matches!(host.system.replay(letter.id), Err(ReplayError::NotReceived(_))));
    host.run(&subscribing("picky", &["orders.*"]), &listener());
    host.system.replay(letter.id).unwrap();
    says(&host, "picky", &["orders.created", "one"]);
}

#[test]
fn what_is_published_is_bounded_in_size_in_number_and_in_the_length_of_its_chain() {
    let host = Host::new();
    host.run(&publishing("p", &["orders.*"]).limits(|limits| limits.sends = 1), &publisher("orders.created"));
    publishes(&host, "p", b"1", 0);
    publishes(&host, "p", b"2", TOO_MANY_SENDS);
    let large = TestGuest::new().topics().handle(&format!(
        r#"(drop (memory.grow (i32.const 20)))
           (call $byte (call $publish (i32.const 0) @"orders.created" (i32.const 0) (i32.const {})))"#,
        DEFAULT_MESSAGE_BYTES + 1
    ));
    host.run(&publishing("p", &["orders.*"]), &large);
    publishes(&host, "p", b"x", TOO_LARGE);
    // Subscribes to what it publishes: each message makes the next, until the chain is long enough.
    let mut both = subscribing("echo", &["orders.*"]);
    both.publish = vec!["orders.*"];
    let guest = TestGuest::new().topics().handle(&format!(
        r#"(local.set $i (call $publish (i32.const 0) @"orders.created" (local.get $ptr) (local.get $len)))
           (if (i32.eq (local.get $i) (i32.const {TOO_MANY_HOPS})) (then (call $log @"over")))
           (call $byte (local.get $i))"#
    ));
    host.run(&both, &guest);
    publishes(&host, "echo", b"x", 1);
    says(&host, "echo", &["over"]);
    passes(&host, "echo");
    assert_eq!(host.status("echo").counts.handled, u64::from(DEFAULT_MAX_HOPS) + 1);
}

#[test]
fn the_copies_of_all_subscribers_count_together() {
    let host = Host::new();
    let subscribers: Vec<String> = (0..65).map(|number| format!("s{number}")).collect();
    for own in &subscribers {
        host.run(&subscribing(own.clone().leak(), &["orders.*"]), &listener());
    }
    let large = TestGuest::new().topics().handle(&format!(
        r#"(drop (memory.grow (i32.const 20)))
           (call $byte (call $publish (i32.const 0) @"orders.created" (i32.const 0) (i32.const {DEFAULT_MESSAGE_BYTES})))"#
    ));
    host.run(&publishing("p", &["orders.*"]), &large);
    publishes(&host, "p", b"x", TOO_MUCH);
    host.stop("s0");
    publishes(&host, "p", b"x", 64);
    assert!(host.system.dead_letters(10).0.is_empty());
}

#[test]
fn a_declared_subscription_moves_with_the_version_and_ends_with_the_actor() {
    let host = Host::new();
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    host.run(&subscribing("s", &["orders.*"]), &listener());
    publishes(&host, "p", b"1", 1);
    host.run(&subscribing("s", &["users.*"]), &listener());
    publishes(&host, "p", b"2", 0);
    host.run(&subscribing("s", &["orders.created"]), &listener());
    publishes(&host, "p", b"3", 1);
    passes(&host, "s");
    assert_eq!(host.stop("s"), Switched::Done);
    publishes(&host, "p", b"4", 0);
    says(&host, "s", &["orders.created", "1", "orders.created", "3"]);
}

#[test]
fn a_subscription_of_an_instance_begins_with_it_and_ends_with_it() {
    let host = Host::new();
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    let actor = may_subscribe("s", &["orders.*"]);
    let from_init = listener().init(r#"(if (call $subscribe @"orders.*") (then unreachable)) (call $init_ok)"#);
    let standby = host.prepare(&actor, &from_init).unwrap();
    publishes(&host, "p", b"early", 0);
    host.activate(standby);
    publishes(&host, "p", b"1", 1);
    // An update without it.
    host.run(&actor, &listener());
    publishes(&host, "p", b"2", 0);
    assert_eq!(host.ask("s", b"sorders.created"), Ok(Some(vec![0])));
    publishes(&host, "p", b"3", 1);
    passes(&host, "s");
    says(&host, "s", &["orders.created", "1", "orders.created", "3"]);
}

#[test]
fn a_crash_ends_what_the_instance_subscribed_to_and_not_what_its_file_declares() {
    let host = Host::new();
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    let mut actor = subscribing("s", &["orders.created"]);
    actor.subscribe.push("users.*");
    let guest = listener();
    host.run(&actor, &guest);
    host.run(&publishing("q", &["users.*"]), &publisher("users.created"));
    assert_eq!(host.ask("s", b"susers.*"), Ok(Some(vec![0])));
    publishes(&host, "q", b"1", 1);
    let crashing = TestGuest::new().topics().handle("unreachable");
    host.run(&actor, &crashing);
    assert!(matches!(host.ask("s", b"x"), Err(CallError::Crashed(_))));
    publishes(&host, "q", b"2", 0);
    publishes(&host, "p", b"3", 1);
}

#[test]
fn a_component_that_takes_no_messages_can_not_subscribe() {
    let host = Host::new();
    let none = TestGuest::new().topics().without_handler();
    let refused = host.prepare(&subscribing("s", &["orders.*"]), &none).unwrap_err();
    assert_eq!(refused, PrepareError::NobodyToSubscribe);
    // 4: one more than the place of `no-handler`.
    let asks =
        none.init(r#"(if (i32.ne (call $subscribe @"orders.*") (i32.const 4)) (then unreachable)) (call $init_ok)"#);
    host.run(&may_subscribe("s", &["orders.*"]), &asks);
}

#[test]
fn a_stateless_component_that_subscribed_by_itself_stays_awake() {
    let host = Host::with(|config| config.sleep_after = Duration::from_millis(1));
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    let sleepy = |own, patterns: &[&'static str]| Actor { stateless: true, ..may_subscribe(own, patterns) };
    host.run(&sleepy("s", &["orders.*"]), &listener());
    assert_eq!(host.ask("s", b"sorders.*"), Ok(Some(vec![0])));
    host.run(&sleepy("t", &["orders.*"]), &listener());
    host.until("another one sleeps", || host.status("t").asleep);
    assert!(!host.status("s").asleep);
    publishes(&host, "p", b"1", 1);
    says(&host, "s", &["orders.created", "1"]);
}

#[test]
fn a_durable_subscriber_has_what_was_published_with_its_topic_after_a_kill() {
    let backend = Arc::new(Lasting::default());
    let (host, store) = backend.host();
    let mut durable = subscribing("s", &["orders.*"]);
    (durable.delivery, durable.limits.call) = (Delivery::Durable, Millis(2_000));
    let stuck = TestGuest::new().topics().handle("(loop $l (br $l)) unreachable");
    host.activate(host.prepare_with_storage(&durable, &stuck, Some(7)).unwrap());
    host.run(&publishing("p", &["orders.*"]), &publisher("orders.created"));
    publishes(&host, "p", b"kept", 1);
    host.until("it is in the store", || store.contents(7).len() == 1);
    let (again, _) = backend.killed().host();
    again.activate(again.prepare_with_storage(&durable, &listener(), Some(7)).unwrap());
    says(&again, "s", &["orders.created", "kept"]);
}

#[test]
fn so_many_may_subscribe_to_one_topic_and_no_more() {
    let topics = Arc::new(crate::actor::topics::Topics::default());
    let topic: crate::permission::Topic = "orders.created".parse().unwrap();
    let limits = Limits::resolve(&LimitOverrides::default(), &LimitOverrides::default());
    let cells: Vec<_> =
        (0..=MAX_SUBSCRIBERS).map(|_| crate::actor::cell::ActorCell::new(&limits, Arc::default())).collect();
    let patterns = BTreeSet::from([topic.clone(), topic.with_any_last_word()]);
    let mut subscriptions: Vec<_> = cells.iter().map(|cell| topics.subscribe(cell, patterns.clone())).collect();
    assert_eq!(topics.subscribers(&topic).len(), MAX_SUBSCRIBERS + 1, "each once");
    subscriptions.truncate(3);
    assert_eq!(topics.subscribers(&topic).len(), 3);
    drop(cells);
    assert_eq!(topics.subscribers(&topic).len(), 0, "nobody is kept alive by a subscription");
}
