//! Codecs: carried beside a content from end to end, held against what the receiver declares, counted.

use super::*;
use crate::codec::NotTaken;
use crate::host::contract::GuestCodec;
use crate::host::{CodecRefusal, SendError};

fn taking(own: &'static str, codecs: &[Codec]) -> Actor {
    Actor { codecs: codecs.to_vec(), ..Actor::new(own) }
}

/// Answers in the codec in which it was asked.
fn same() -> TestGuest {
    TestGuest::new().handle("(call $ok_some_in (local.get $codec) (local.get $ptr) (local.get $len))")
}

/// Sends what it gets to `b` in the codec whose place is its first byte, and answers with what became of that: 0, or one
/// more than the place of the error; behind an error about a codec, its number, its name and what the target takes.
fn sender() -> TestGuest {
    TestGuest::new().handle(
        r#"(local.set $i (call $send_in (i32.load8_u (local.get $ptr)) @"b" (local.get $ptr) (local.get $len)))
           (if (i32.ne (local.get $i) (i32.const 8)) (then (return (call $byte (local.get $i)))))
           (i32.store8 (i32.const 128) (local.get $i))
           (i32.store (i32.const 129) (i32.load (i32.const 80)))
           (memory.copy (i32.const 133) (i32.load (i32.const 92)) (i32.load (i32.const 96)))
           (local.set $j (i32.add (i32.const 133) (i32.load (i32.const 96))))
           (memory.copy (local.get $j) (i32.load (i32.const 84)) (i32.load (i32.const 88)))
           (call $ok_some (i32.const 128) (i32.sub (i32.add (local.get $j) (i32.load (i32.const 88))) (i32.const 128)))"#,
    )
}

fn call(host: &Host, actor: &str, codec: Codec, bytes: &[u8]) -> crate::actor::Reply {
    host.system.request_from_host(&name(actor), Payload::new(codec, bytes.to_vec()), PATIENCE)
}

#[test]
fn the_codec_of_a_message_reaches_the_handler_and_that_of_the_answer_the_asker() {
    let host = Host::new();
    host.run(&Actor::new("b"), &same());
    for codec in Codec::ALL {
        let payload = Payload::new(codec, b"x".to_vec());
        assert_eq!(call(&host, "b", codec, b"x"), Ok(Some(payload)));
    }
    assert_eq!(host.status("b").codecs, CodecCounts { received: [1; Codec::COUNT], refused: [0; Codec::COUNT] });
}

#[test]
fn a_component_that_declares_codecs_is_sent_nothing_else_by_anybody() {
    let host = Host::new();
    host.run(&taking("b", &[Codec::Msgpack, Codec::Json]), &same());
    host.run(&Actor::new("a"), &sender());
    // From outside.
    assert_eq!(call(&host, "b", Codec::Json, b"{}").unwrap().unwrap().codec, Codec::Json);
    let taken = host.status("b").record.artifact.codecs.set();
    let not_taken = NotTaken { codec: Codec::Borsh, taken };
    assert_eq!(call(&host, "b", Codec::Borsh, b"{}"), Err(CallError::CodecNotTaken(not_taken)));
    assert_eq!(not_taken.to_string(), "it does not take borsh (0x701); it takes json, msgpack");
    assert_eq!(host.ask("b", b"x"), Err(CallError::CodecNotTaken(NotTaken { codec: Codec::Raw, taken })));
    // From another component.
    assert_eq!(host.ask("a", &[Codec::Msgpack as u8]), Ok(Some(vec![0])));
    let answer = host.ask("a", &[Codec::Borsh as u8]).unwrap().unwrap();
    assert_eq!(answer, [&[8, 0x01, 0x07, 0, 0][..], &[Codec::Json as u8, Codec::Msgpack as u8], b"borsh"].concat());
    host.until("what was sent is handled", || host.status("b").counts.handled == 2);
    let status = host.status("b");
    let at = |counts: [u64; Codec::COUNT], codec: Codec| counts[codec as usize];
    let CodecCounts { received, refused } = status.codecs;
    assert_eq!([Codec::Json, Codec::Msgpack].map(|codec| at(received, codec)), [1, 1]);
    assert_eq!([Codec::Borsh, Codec::Raw].map(|codec| at(refused, codec)), [2, 1]);
    assert_eq!((received.iter().sum::<u64>(), refused.iter().sum::<u64>()), (2, 3));
    assert_eq!((status.counts.accepted, status.counts.rejected), (2, 3));
}

#[test]
fn what_a_guest_hears_of_a_refusal_names_the_codec_and_what_is_taken() {
    let taken = vec![Codec::Json, Codec::Cbor];
    let taken = crate::codec::Codecs::try_from(taken).unwrap().set();
    let refusal = CodecRefusal::from(NotTaken { codec: Codec::Yaml, taken });
    let expected = CodecRefusal { code: 0x114, name: "yaml", taken: vec![GuestCodec::Json, GuestCodec::Cbor] };
    assert_eq!(refusal, expected);
    assert_eq!(SendError::CodecNotTaken(refusal).to_string(), "the target does not take the codec yaml");
}

#[test]
fn a_request_is_held_against_the_codecs_and_its_answer_says_its_own() {
    let host = Host::new();
    host.run(&taking("b", &[Codec::Json]), &same());
    // Asks `b` in the codec whose place is its first byte, and logs the codec of the answer.
    let asker = TestGuest::new()
        .handle(
            r#"(local.set $i (i32.wrap_i64 (call $request_in (i32.load8_u (local.get $ptr)) @"b"
                 (local.get $ptr) (local.get $len) (i64.const 0))))
               (if (i32.lt_s (local.get $i) (i32.const 0))
                 (then (return (call $byte (i32.sub (i32.const 0) (local.get $i))))))
               (call $byte (i32.const 0))"#,
        )
        .callback(
            r#"(i32.store8 (i32.const 300) (i32.add (i32.const 48) (local.get $codec)))
               (call $log (i32.const 300) (i32.const 1)) (call $ok_unit)"#,
        );
    host.run(&Actor::new("a"), &asker);
    assert_eq!(host.ask("a", &[Codec::Raw as u8]), Ok(Some(vec![8])));
    assert_eq!(host.status("a").requests.opened, 0);
    assert_eq!(host.ask("a", &[Codec::Json as u8]), Ok(Some(vec![0])));
    host.until("the answer comes", || host.log_text("a").contains("Guest 1\n"));
}

#[test]
fn a_trigger_reaches_a_component_whatever_it_declares_and_is_counted_with_no_codec() {
    let host = Host::new();
    host.run(&taking("ticker", &[Codec::Json]).every(5), &same());
    host.until("a tick is handled", || host.status("ticker").counts.handled >= 1);
    assert_eq!(host.status("ticker").codecs, CodecCounts::default());
}

#[test]
fn an_update_declares_anew_and_what_waits_stays_as_it_is() {
    let host = Host::new();
    let b = taking("b", &[Codec::Json]);
    let slow = TestGuest::new().handle("(loop $l (br $l)) unreachable");
    host.run(&b.clone().limits(|limits| limits.call = Millis(300)), &slow);
    let begin = |codec| host.system.begin_request(&name("b"), Payload::new(codec, b"x".to_vec()), PATIENCE);
    let in_hand = begin(Codec::Json).unwrap();
    host.until("b has its hands full", || host.status("b").mailbox_messages == 0);
    let waiting = begin(Codec::Json).unwrap();
    let standby = host.prepare(&taking("b", &[Codec::Borsh]), &same()).unwrap();
    assert_eq!(host.activate(standby), Switched::Done);
    assert!(matches!(in_hand.wait(), Err(CallError::Crashed(_))));
    assert_eq!(waiting.wait(), Ok(Some(Payload::new(Codec::Json, b"x".to_vec()))));
    assert!(matches!(begin(Codec::Json), Err(CallError::CodecNotTaken(_))));
    assert_eq!(begin(Codec::Borsh).unwrap().wait().unwrap().unwrap().codec, Codec::Borsh);
}

#[test]
fn a_dead_letter_keeps_its_codec_and_is_sent_again_only_where_that_is_taken() {
    let host = Host::new();
    host.run(&Actor::new("b"), &TestGuest::new().handle(r#"(call $error @"no")"#));
    assert!(matches!(call(&host, "b", Codec::Cbor, b"\xa0"), Err(CallError::Failed(_))));
    let (letters, ..) = host.system.dead_letters(1);
    assert_eq!(letters[0].payload, Payload::new(Codec::Cbor, b"\xa0".to_vec()));
    host.run(&taking("b", &[Codec::Json]), &same());
    let refused = host.system.replay(letters[0].id).unwrap_err();
    assert!(matches!(refused, ReplayError::NotTaken(CallError::CodecNotTaken(_))), "{refused:?}");
    host.run(&taking("b", &[Codec::Cbor]), &same());
    host.system.replay(letters[0].id).unwrap();
    host.until("it is handled", || host.status("b").counts.handled == 1);
    assert_eq!(host.status("b").codecs.received[Codec::Cbor as usize], 2);
}

/// Decodes what it gets, when that is raw, and encodes everything else. For a fault it answers with its place.
fn translator() -> TestGuest {
    TestGuest::new().multicodec().handle(
        r#"(if (local.get $codec) (then
             (call $encode (local.get $codec) (local.get $ptr) (local.get $len) (i32.const 256))
             (return (call $ok_some (i32.load (i32.const 256)) (i32.load (i32.const 260))))))
           (call $decode (local.get $ptr) (local.get $len) (i32.const 256))
           (if (i32.load8_u (i32.const 256)) (then (return (call $byte (i32.load8_u (i32.const 264))))))
           (call $ok_some_in (i32.load8_u (i32.const 264)) (i32.load (i32.const 268)) (i32.load (i32.const 272)))"#,
    )
}

#[test]
fn a_guest_adds_and_strips_prefixes() {
    let host = Host::new();
    host.run(&Actor::new("t"), &translator());
    let json = Payload::new(Codec::Json, b"{}".to_vec());
    assert_eq!(call(&host, "t", Codec::Json, b"{}"), Ok(Some(b"\x80\x04{}".to_vec().into())));
    assert_eq!(call(&host, "t", Codec::Raw, b"\x80\x04{}"), Ok(Some(json)));
    let faults: [&[u8]; 5] = [b"", b"\x80", &[0x80; 9], b"\xd5\x00", b"\x71"];
    for (place, fault) in faults.into_iter().enumerate() {
        let answer = host.ask("t", fault);
        assert_eq!(answer, Ok(Some(vec![u8::try_from(place).unwrap()])), "{fault:?}");
    }
}

#[test]
fn a_guest_asks_which_codecs_there_are() {
    let host = Host::new();
    // Looks its message up as a name, and answers with the number, kind and status of that codec.
    let guest = TestGuest::new().multicodec().handle(
        r#"(if (i32.eqz (call $is_supported (i32.const 1) (i64.extend_i32_u (local.get $ptr)) (local.get $len)))
             (then (return (call $ok_none))))
           (if (i32.eqz (call $is_supported (i32.const 0) (i64.const 0x200) (i32.const 0))) (then unreachable))
           (if (call $is_supported (i32.const 0) (i64.const 0x71) (i32.const 0)) (then unreachable))
           (call $codec_info (i32.const 1) (i64.extend_i32_u (local.get $ptr)) (local.get $len) (i32.const 256))
           (i32.store (i32.const 512) (i32.load (i32.const 264)))
           (memory.copy (i32.const 516) (i32.load (i32.const 276)) (i32.load (i32.const 280)))
           (local.set $i (i32.add (i32.const 516) (i32.load (i32.const 280))))
           (memory.copy (local.get $i) (i32.load (i32.const 284)) (i32.load (i32.const 288)))
           (call $ok_some (i32.const 512)
             (i32.sub (i32.add (local.get $i) (i32.load (i32.const 288))) (i32.const 512)))"#,
    );
    host.run(&Actor::new("t"), &guest);
    let known = |code: u32, rest: &str| Ok(Some([&code.to_le_bytes()[..], rest.as_bytes()].concat()));
    assert_eq!(host.ask("t", b"json"), known(0x200, "ipldpermanent"));
    assert_eq!(host.ask("t", b"messagepack"), known(0x201, "serializationpermanent"));
    assert_eq!(host.ask("t", b"bincode"), known(0x702, "serializationdraft"));
    assert_eq!(host.ask("t", b"dag-cbor"), Ok(None));
}
