//! Owns the components that tests run: small ones, written in the text format and made on the spot.
//!
//! A test gives the bodies of the functions that matter to it; everything else does nothing, well.

#[path = "test_guest/extras.rs"]
mod extras;
#[path = "test_guest/odd.rs"]
mod odd;
#[path = "test_guest/of_world.rs"]
pub(crate) mod of_world;

use std::fmt::Write as _;

use extras::Extras;
use odd::Odd;

/// Where texts of a guest begin in its memory.
const TEXTS_AT: usize = 1024;
/// A component in the making. Bodies are core WebAssembly text; `@"text"` in them stands for a text's place and length.
#[derive(Debug, Clone)]
pub(crate) struct TestGuest {
    init: Option<String>,
    handle: Option<String>,
    callback: Option<String>,
    takes_answers: bool,
    shutdown: String,
    functions: String,
    start: Option<String>,
    imports: String,
    core_extra: String,
    exports: String,
    wasi: bool,
    storage: bool,
    multicodec: bool,
    extras: Extras,
    topics: bool,
    odd: Odd,
}

impl TestGuest {
    /// Exports everything; each function says ok.
    pub(crate) fn new() -> Self {
        Self {
            init: Some("(call $init_ok)".to_owned()),
            handle: Some("(call $ok_none)".to_owned()),
            callback: None,
            takes_answers: true,
            shutdown: String::new(),
            functions: String::new(),
            start: None,
            imports: String::new(),
            core_extra: String::new(),
            exports: String::new(),
            wasi: false,
            storage: false,
            multicodec: false,
            extras: Extras::default(),
            topics: false,
            odd: Odd::default(),
        }
    }

    /// Imports parts of WASI; the core functions are in [`WASI_CORE`].
    pub(crate) fn wasi(mut self) -> Self {
        self.wasi = true;
        self
    }

    /// Imports the storage; the core functions are in [`STORAGE_CORE`].
    pub(crate) fn storage(mut self) -> Self {
        self.storage = true;
        self
    }

    /// Imports the multicodec utilities; the core functions are in [`MULTICODEC_CORE`].
    pub(crate) fn multicodec(mut self) -> Self {
        self.multicodec = true;
        self
    }

    /// Imports the topics; the core functions are in [`TOPICS_FUNCTIONS`].
    pub(crate) fn topics(mut self) -> Self {
        self.topics = true;
        self
    }

    /// `init(config_ptr, config_len) -> i32`.
    pub(crate) fn init(mut self, body: &str) -> Self {
        self.init = Some(body.to_owned());
        self
    }

    pub(crate) fn without_lifecycle(mut self) -> Self {
        self.init = None;
        self
    }

    /// `handle(id: i64, kind, a, b, wants_reply, topic, topic_ptr, topic_len, codec, ptr, len) -> i32`, the first three
    /// after the id being the sender, and `topic` 1 when there is one; locals `$i` and `$j` are free.
    pub(crate) fn handle(mut self, body: &str) -> Self {
        self.handle = Some(body.to_owned());
        self
    }

    pub(crate) fn without_handler(mut self) -> Self {
        self.handle = None;
        self
    }

    /// `handle-callback(id: i64, failed, kind, ptr: i64, len) -> i32`; locals `$i` and `$j` are free. For an answer, `$kind`
    /// is 1 when there is a reply in `$codec`, at `$ptr`; for an error it is the place of its case. Lets the guest ask, too:
    /// `$request(link, payload, timeout) -> i64` gives the number, or less than 0.
    pub(crate) fn callback(mut self, body: &str) -> Self {
        self.callback = Some(body.to_owned());
        self
    }

    pub(crate) fn without_callback_handler(mut self) -> Self {
        self.takes_answers = false;
        self
    }

    pub(crate) fn shutdown(mut self, body: &str) -> Self {
        self.shutdown = body.to_owned();
        self
    }

    /// More functions of the core module.
    pub(crate) fn functions(mut self, text: &str) -> Self {
        self.functions = text.to_owned();
        self
    }

    /// Runs when the core module is instantiated.
    pub(crate) fn start(mut self, body: &str) -> Self {
        self.start = Some(body.to_owned());
        self
    }

    /// More imports of the component.
    pub(crate) fn imports(mut self, text: &str) -> Self {
        self.imports = text.to_owned();
        self
    }

    /// More core modules and instances.
    pub(crate) fn core_extra(mut self, text: &str) -> Self {
        self.core_extra = text.to_owned();
        self
    }

    /// More exports of the component.
    pub(crate) fn exports(mut self, text: &str) -> Self {
        self.exports = text.to_owned();
        self
    }

    /// The component's bytes.
    pub(crate) fn wasm(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn text(&self) -> String {
        let mut texts = Texts::default();
        let init = texts.place(self.init.as_deref().unwrap_or("(call $init_ok)"));
        let handle = texts.place(self.handle.as_deref().unwrap_or("(call $ok_none)"));
        let callback = self.callback.as_deref().map(|body| texts.place(body));
        let shutdown = texts.place(&self.shutdown);
        let functions = texts.place(&self.functions);
        let extras = self.extras.core(&mut texts);
        let start = self
            .start
            .as_deref()
            .map_or(String::new(), |body| format!("(func $start {})\n(start $start)", texts.place(body)));
        let mut out = String::from("(component\n");
        out.push_str(IMPORTS);
        out.push_str(&self.imports);
        let [wasi_imports, wasi_lowered, wasi_core, wasi_exports] =
            if self.wasi { [WASI_IMPORTS, WASI_LOWERED, WASI_CORE, WASI_EXPORTS] } else { [""; 4] };
        let [storage_imports, storage_lowered, storage_core, storage_exports] =
            if self.storage { [STORAGE_IMPORTS, STORAGE_LOWERED, STORAGE_CORE, STORAGE_EXPORTS] } else { [""; 4] };
        let [multicodec_imports, multicodec_lowered, multicodec_core, multicodec_exports] = if self.multicodec {
            [MULTICODEC_IMPORTS, MULTICODEC_LOWERED, MULTICODEC_CORE, MULTICODEC_EXPORTS]
        } else {
            [""; 4]
        };
        let [topics_imports, topics_lowered, topics_core, topics_exports] =
            if self.topics { [TOPICS_IMPORTS, TOPICS_LOWERED, TOPICS_CORE, TOPICS_EXPORTS] } else { [""; 4] };
        let asks = callback.is_some();
        let [asking_imports, asking_lowered, asking_core, asking_exports] =
            if asks { [ASKING_IMPORTS, ASKING_LOWERED, ASKING_CORE, ASKING_EXPORTS] } else { [""; 4] };
        out.push_str(asking_imports);
        out.push_str(wasi_imports);
        out.push_str(storage_imports);
        out.push_str(multicodec_imports);
        out.push_str(topics_imports);
        out.push_str(self.odd.before_libc());
        out.push_str(&self.odd.libc(LIBC));
        out.push_str(asking_lowered);
        out.push_str(wasi_lowered);
        out.push_str(storage_lowered);
        out.push_str(multicodec_lowered);
        out.push_str(topics_lowered);
        out.push_str(&self.odd.lowered());
        out.push_str(&self.core_extra);
        let _ = write!(
            out,
            r#"
(core module $main_code
  {asking_core}
  {wasi_core}
  {storage_core}
  {multicodec_core}
  {topics_core}
  {odd_core}
  {MAIN_START}
  {asking_functions}
  {topics_functions}
  (data (i32.const {TEXTS_AT}) "{texts}")
  {functions}
  (func (export "init") (param $ptr i32) (param $len i32) (result i32) {init})
  (func (export "shutdown") {shutdown})
  (func (export "handle")
    (param $id i64) (param $kind i32) (param $a i32) (param $b i32) (param $wants_reply i32)
    (param $topic i32) (param $topic_ptr i32) (param $topic_len i32) (param $codec i32) (param $ptr i32) (param $len i32)
    (result i32) (local $i i32) (local $j i32)
    {handle})
  (func (export "handle-callback")
    (param $id i64) (param $failed i32) (param $kind i32) (param $first i64) (param $second i32) (param $third i32)
    (result i32) (local $i i32) (local $j i32) (local $codec i32) (local $ptr i64) (local $len i32)
    (if (local.get $failed)
      (then (local.set $ptr (local.get $first)) (local.set $len (local.get $second)))
      (else
        (local.set $codec (i32.wrap_i64 (local.get $first)))
        (local.set $ptr (i64.extend_i32_u (local.get $second))) (local.set $len (local.get $third))))
    {callback})
  {extras}
  {start})
"#,
            odd_core = self.odd.core(),
            asking_functions = if asks { ASKING_FUNCTIONS } else { "" },
            topics_functions = if self.topics { TOPICS_FUNCTIONS } else { "" },
            callback = callback.as_deref().unwrap_or("unreachable"),
            texts = texts.data
        );
        let odd_exports = self.odd.exports();
        out.push_str(&MAIN.replace(
            "WASI",
            &format!(
                "{asking_exports} {wasi_exports}{storage_exports}{multicodec_exports}{topics_exports}{odd_exports}"
            ),
        ));
        if self.init.is_some() {
            out.push_str(LIFECYCLE);
        }
        if self.handle.is_some() {
            out.push_str(HANDLER);
        }
        if asks && self.takes_answers {
            out.push_str(CALLBACK_HANDLER);
        }
        out.push_str(&self.extras.component());
        out.push_str(&self.exports);
        out.push(')');
        out
    }
}

#[derive(Default)]
struct Texts {
    data: String,
    bytes: usize,
}

impl Texts {
    fn place(&mut self, body: &str) -> String {
        let mut out = String::new();
        let mut rest = body;
        while let Some((before, after)) = rest.split_once("@\"") {
            let (text, after) = after.split_once('"').expect("a text ends");
            // A backslash and two digits are one byte.
            let bytes = text.len() - 2 * text.matches('\\').count();
            let _ = write!(out, "{before}(i32.const {}) (i32.const {bytes})", TEXTS_AT + self.bytes);
            self.data.push_str(text);
            self.bytes += bytes;
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

const IMPORTS: &str = r#"
(import "airssys:component/types@0.1.0" (instance $types
  (type $s (variant (case "installation" string) (case "trigger" u32) (case "host")))
  (export "sender" (type $sender (eq $s)))
  (type $c (enum "raw" "json" "msgpack" "borsh" "cbor" "protobuf" "bincode" "yaml"))
  (export "codec" (type $codec (eq $c)))
  (type $b (record (field "codec" $codec) (field "data" (list u8))))
  (export "body" (type $body (eq $b)))
  (type $m (record (field "id" u64) (field "sender" $sender) (field "wants-reply" bool) (field "topic" (option string))
    (field "body" $body)))
  (export "message" (type (eq $m)))))
(alias export $types "codec" (type $codec))
(alias export $types "body" (type $body))
(alias export $types "message" (type $message))
(import "airssys:component/messaging@0.1.0" (instance $messaging
  (alias outer 1 $codec (type $codec0))
  (export "codec" (type $codec (eq $codec0)))
  (alias outer 1 $body (type $body0))
  (export "body" (type $body (eq $body0)))
  (type $r (record (field "code" u32) (field "name" string) (field "taken" (list $codec))))
  (export "codec-refusal" (type $refusal (eq $r)))
  (type $e (variant (case "not-permitted") (case "no-such-target") (case "refused-by-target")
    (case "mailbox-full") (case "too-large" u64) (case "too-many-sends" u64) (case "too-many-hops" u32)
    (case "codec-not-taken" $refusal)
    (case "rate-exceeded" u64) (case "target-unavailable" u64)))
  (export "send-error" (type $send_error (eq $e)))
  (export "send" (func (param "link" string) (param "body" $body) (result (result (error $send_error)))))))
(import "airssys:component/log@0.1.0" (instance $log
  (type $l (enum "trace" "debug" "info" "warn" "error"))
  (export "level" (type $level (eq $l)))
  (export "log" (func (param "level" $level) (param "message" string)))))
(import "airssys:component/config@0.1.0" (instance $config
  (export "get" (func (param "key" string) (result (option string))))))
"#;

/// A memory, and an allocator that forgets everything after each call.
const LIBC: &str = r#"
(core module $libc_code
  (memory (export "memory") 2)
  (global $at (mut i32) (i32.const 65536))
  (func (export "realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32) (local $it i32)
    (local.set $it (i32.and (i32.add (global.get $at) (i32.const 15)) (i32.const -16)))
    (global.set $at (i32.add (local.get $it) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $at) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1)
        (i32.shr_u (i32.sub (global.get $at) (i32.mul (memory.size) (i32.const 65536))) (i32.const 16))))))
      unreachable)
    (local.get $it))
  (func (export "forget") (param i32) (global.set $at (i32.const 65536))))
(core instance $libc (instantiate $libc_code))
(core func $send (canon lower (func $messaging "send")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $log (canon lower (func $log "log") (memory (core memory $libc "memory"))))
(core func $get (canon lower (func $config "get") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
"#;

/// Results are written at 16, what the host answers at 64. Contents are raw, except for those of `$ok_some_in` and
/// `$send_in`, whose first argument is a codec's place.
const MAIN_START: &str = r#"
  (import "libc" "memory" (memory 1))
  (import "host" "send" (func $host_send (param i32 i32 i32 i32 i32 i32)))
  (import "host" "log" (func $host_log (param i32 i32 i32)))
  (import "host" "get" (func $host_get (param i32 i32 i32)))
  (func $init_ok (result i32) (i32.store8 (i32.const 16) (i32.const 0)) (i32.const 16))
  (func $init_error (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (local.get $ptr)) (i32.store (i32.const 24) (local.get $len)) (i32.const 16))
  (func $ok_none (result i32)
    (i32.store8 (i32.const 16) (i32.const 0)) (i32.store8 (i32.const 20) (i32.const 0)) (i32.const 16))
  (func $ok_some (param $ptr i32) (param $len i32) (result i32)
    (call $ok_some_in (i32.const 0) (local.get $ptr) (local.get $len)))
  (func $ok_some_in (param $codec i32) (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0)) (i32.store8 (i32.const 20) (i32.const 1))
    (i32.store8 (i32.const 24) (local.get $codec))
    (i32.store (i32.const 28) (local.get $ptr)) (i32.store (i32.const 32) (local.get $len)) (i32.const 16))
  (func $error (param $ptr i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (local.get $ptr)) (i32.store (i32.const 24) (local.get $len)) (i32.const 16))
  (func $log (param $ptr i32) (param $len i32) (call $host_log (i32.const 2) (local.get $ptr) (local.get $len)))
  (func $send (param $link i32) (param $link_len i32) (param $ptr i32) (param $len i32) (result i32)
    (call $send_in (i32.const 0) (local.get $link) (local.get $link_len) (local.get $ptr) (local.get $len)))
  (func $send_in (param $codec i32) (param $link i32) (param $link_len i32) (param $ptr i32) (param $len i32) (result i32)
    (call $host_send (local.get $link) (local.get $link_len) (local.get $codec) (local.get $ptr) (local.get $len)
      (i32.const 64))
    (if (result i32) (i32.load8_u (i32.const 64))
      (then (i32.add (i32.const 1) (i32.load8_u (i32.const 72)))) (else (i32.const 0))))
  (func $byte (param $value i32) (result i32)
    (i32.store8 (i32.const 128) (local.get $value)) (call $ok_some (i32.const 128) (i32.const 1)))
"#;

const MAIN: &str = r#"
(core instance $main (instantiate $main_code
  (with "libc" (instance $libc))
  (with "host" (instance
    (export "send" (func $send)) (export "log" (func $log)) (export "get" (func $get)) WASI))))
"#;

const LIFECYCLE: &str = r#"
(func $init (param "config" string) (result (result (error string)))
  (canon lift (core func $main "init") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
    (post-return (core func $libc "forget"))))
(func $shutdown (canon lift (core func $main "shutdown")))
(instance $lifecycle (export "init" (func $init)) (export "shutdown" (func $shutdown)))
(export "airssys:component/lifecycle@0.1.0" (instance $lifecycle))
"#;

const HANDLER: &str = r#"
(func $handle (param "message" $message) (result (result (option $body) (error string)))
  (canon lift (core func $main "handle") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))
    (post-return (core func $libc "forget"))))
(instance $handler (export "body" (type $body)) (export "message" (type $message)) (export "handle" (func $handle)))
(export "airssys:component/message-handler@0.1.0" (instance $handler))
"#;

const ASKING_IMPORTS: &str = r#"
(alias export $messaging "send-error" (type $send_error))
(import "airssys:component/requests@0.1.0" (instance $requests
  (alias outer 1 $send_error (type $se0))
  (export "send-error" (type $se (eq $se0)))
  (alias outer 1 $body (type $body0))
  (export "body" (type $body (eq $body0)))
  (type $id0 u64)
  (export "request-id" (type $id (eq $id0)))
  (type $re (variant (case "not-sent" $se) (case "too-many-requests" u64)))
  (export "request-error" (type $request_error (eq $re)))
  (export "request" (func (param "link" string) (param "body" $body) (param "timeout-ms" u64)
    (result (result $id (error $request_error)))))
  (export "cancel" (func (param "id" $id) (result bool)))))
"#;

const ASKING_LOWERED: &str = r#"
(core func $request (canon lower (func $requests "request")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $cancel (canon lower (func $requests "cancel")))
"#;

const ASKING_CORE: &str = r#"
(import "host" "request" (func $host_request (param i32 i32 i32 i32 i32 i64 i32)))
(import "host" "cancel" (func $cancel (param i64) (result i32)))
"#;

/// The host's answer is written at 192. What was not sent is -1 less the case of the error; too many requests, -100.
const ASKING_FUNCTIONS: &str = r#"
(func $request (param $link i32) (param $link_len i32) (param $ptr i32) (param $len i32) (param $ms i64) (result i64)
  (call $request_in (i32.const 0) (local.get $link) (local.get $link_len) (local.get $ptr) (local.get $len)
    (local.get $ms)))
(func $request_in (param $codec i32) (param $link i32) (param $link_len i32) (param $ptr i32) (param $len i32)
  (param $ms i64) (result i64)
  (call $host_request (local.get $link) (local.get $link_len) (local.get $codec) (local.get $ptr) (local.get $len)
    (local.get $ms) (i32.const 192))
  (if (i32.eqz (i32.load8_u (i32.const 192))) (then (return (i64.load (i32.const 200)))))
  (if (i32.load8_u (i32.const 200)) (then (return (i64.const -100))))
  (i64.sub (i64.const -1) (i64.extend_i32_u (i32.load8_u (i32.const 208)))))
(func $ok_unit (result i32) (i32.store8 (i32.const 16) (i32.const 0)) (i32.const 16))
"#;

const ASKING_EXPORTS: &str = r#"(export "request" (func $request)) (export "cancel" (func $cancel))"#;

const CALLBACK_HANDLER: &str = r#"
(type $callback_error0 (variant (case "failed" string) (case "crashed") (case "stopped") (case "timed-out")
  (case "too-large" u64)))
(func $handle_callback (param "id" u64) (param "answer" (result (option $body) (error $callback_error0)))
  (result (result (error string)))
  (canon lift (core func $main "handle-callback") (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc")) (post-return (core func $libc "forget"))))
(component $callback_names
  (type $e0 (variant (case "failed" string) (case "crashed") (case "stopped") (case "timed-out") (case "too-large" u64)))
  (import "error" (type $e (eq $e0)))
  (type $codec0 (enum "raw" "json" "msgpack" "borsh" "cbor" "protobuf" "bincode" "yaml"))
  (import "codec" (type $codec (eq $codec0)))
  (type $body0 (record (field "codec" $codec) (field "data" (list u8))))
  (import "body" (type $body (eq $body0)))
  (import "handle" (func $f (param "id" u64) (param "answer" (result (option $body) (error $e)))
    (result (result (error string)))))
  (export $callback_error "callback-error" (type $e))
  (export "handle-callback" (func $f)
    (func (param "id" u64) (param "answer" (result (option $body) (error $callback_error)))
      (result (result (error string))))))
(instance $callback_handler (instantiate $callback_names
  (with "error" (type $callback_error0)) (with "codec" (type $codec)) (with "body" (type $body))
  (with "handle" (func $handle_callback))))
(export "airssys:component/callback-handler@0.1.0" (instance $callback_handler))
"#;

const WASI_IMPORTS: &str = r#"
(import "wasi:io/error@0.2.0" (instance $io_error (export "error" (type (sub resource)))))
(alias export $io_error "error" (type $error))
(import "wasi:io/poll@0.2.0" (instance $io_poll
  (export "pollable" (type $p (sub resource)))
  (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))
  (export "[method]pollable.block" (func (param "self" (borrow $p))))))
(alias export $io_poll "pollable" (type $pollable))
(import "wasi:io/streams@0.2.0" (instance $io_streams
  (alias outer 1 $error (type $e0))
  (export "error" (type $e (eq $e0)))
  (alias outer 1 $pollable (type $p0))
  (export "pollable" (type $p (eq $p0)))
  (type $se0 (variant (case "last-operation-failed" (own $e)) (case "closed")))
  (export "stream-error" (type $se (eq $se0)))
  (export "output-stream" (type $os (sub resource)))
  (export "[method]output-stream.blocking-write-and-flush"
    (func (param "self" (borrow $os)) (param "contents" (list u8)) (result (result (error $se)))))
  (export "[method]output-stream.write-zeroes"
    (func (param "self" (borrow $os)) (param "len" u64) (result (result (error $se)))))
  (export "[method]output-stream.subscribe" (func (param "self" (borrow $os)) (result (own $p))))))
(alias export $io_streams "output-stream" (type $output_stream))
(import "wasi:cli/stdout@0.2.0" (instance $stdout
  (alias outer 1 $output_stream (type $os0))
  (export "output-stream" (type $os (eq $os0)))
  (export "get-stdout" (func (result (own $os))))))
(import "wasi:cli/stderr@0.2.0" (instance $stderr
  (alias outer 1 $output_stream (type $os0))
  (export "output-stream" (type $os (eq $os0)))
  (export "get-stderr" (func (result (own $os))))))
(import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
(import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
  (alias outer 1 $pollable (type $p0))
  (export "pollable" (type $p (eq $p0)))
  (export "now" (func (result u64)))
  (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
(import "wasi:random/random@0.2.0" (instance $random
  (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
"#;

const WASI_LOWERED: &str = r#"
(core func $get_stdout (canon lower (func $stdout "get-stdout")))
(core func $get_stderr (canon lower (func $stderr "get-stderr")))
(core func $write (canon lower (func $io_streams "[method]output-stream.blocking-write-and-flush")
  (memory (core memory $libc "memory"))))
(core func $write_zeroes (canon lower (func $io_streams "[method]output-stream.write-zeroes")
  (memory (core memory $libc "memory"))))
(core func $stream_pollable (canon lower (func $io_streams "[method]output-stream.subscribe")))
(core func $exit (canon lower (func $exit "exit")))
(core func $now (canon lower (func $clock "now")))
(core func $sleep_pollable (canon lower (func $clock "subscribe-duration")))
(core func $ready (canon lower (func $io_poll "[method]pollable.ready")))
(core func $block (canon lower (func $io_poll "[method]pollable.block")))
(core func $random (canon lower (func $random "get-random-bytes")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
"#;

/// What a guest with WASI may call; results that are no number are written at 192.
const WASI_CORE: &str = r#"
(import "host" "get-stdout" (func $get_stdout (result i32)))
(import "host" "get-stderr" (func $get_stderr (result i32)))
(import "host" "write" (func $write (param i32 i32 i32 i32)))
(import "host" "write-zeroes" (func $write_zeroes (param i32 i64 i32)))
(import "host" "stream-pollable" (func $stream_pollable (param i32) (result i32)))
(import "host" "exit" (func $exit (param i32)))
(import "host" "now" (func $now (result i64)))
(import "host" "sleep-pollable" (func $sleep_pollable (param i64) (result i32)))
(import "host" "ready" (func $ready (param i32) (result i32)))
(import "host" "block" (func $block (param i32)))
(import "host" "random" (func $random (param i64 i32)))
"#;

const WASI_EXPORTS: &str = r#"
(export "get-stdout" (func $get_stdout)) (export "get-stderr" (func $get_stderr))
(export "write" (func $write)) (export "write-zeroes" (func $write_zeroes))
(export "stream-pollable" (func $stream_pollable)) (export "exit" (func $exit)) (export "now" (func $now))
(export "sleep-pollable" (func $sleep_pollable)) (export "ready" (func $ready)) (export "block" (func $block))
(export "random" (func $random))
"#;

const STORAGE_IMPORTS: &str = r#"
(import "airssys:component/storage@0.1.0" (instance $storage
  (type $e (variant (case "not-permitted") (case "read-only-now") (case "invalid-key" string)
    (case "value-too-large" u64) (case "quota-exceeded" u64) (case "too-many-keys" u64) (case "batch-too-large" u64)
    (case "too-many-operations" u64) (case "transaction-too-large" u64) (case "unavailable")))
  (export "storage-error" (type $error (eq $e)))
  (type $en (record (field "key" string) (field "value" (list u8))))
  (export "entry" (type $entry (eq $en)))
  (type $kp (record (field "keys" (list string)) (field "next" (option string))))
  (export "key-page" (type $key_page (eq $kp)))
  (type $ep (record (field "entries" (list $entry)) (field "next" (option string))))
  (export "entry-page" (type $entry_page (eq $ep)))
  (type $us (record (field "bytes" u64) (field "keys" u64)))
  (export "usage" (type $usage (eq $us)))
  (export "get" (func (param "key" string) (result (result (option (list u8)) (error $error)))))
  (export "has" (func (param "key" string) (result (result bool (error $error)))))
  (export "set" (func (param "key" string) (param "value" (list u8)) (result (result (error $error)))))
  (export "delete" (func (param "key" string) (result (result bool (error $error)))))
  (export "keys" (func (param "prefix" string) (param "after" (option string)) (param "limit" u32)
    (result (result $key_page (error $error)))))
  (export "scan" (func (param "prefix" string) (param "after" (option string)) (param "limit" u32)
    (result (result $entry_page (error $error)))))
  (export "size" (func (result (result $usage (error $error)))))
  (export "clear" (func (result (result (error $error)))))
  (export "get-many" (func (param "keys" (list string)) (result (result (list (option (list u8))) (error $error)))))
  (export "set-many" (func (param "entries" (list $entry)) (result (result (error $error)))))))
"#;

const STORAGE_LOWERED: &str = r#"
(core func $storage_get (canon lower (func $storage "get")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $storage_set (canon lower (func $storage "set")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $storage_delete (canon lower (func $storage "delete")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $storage_keys (canon lower (func $storage "keys")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $storage_size (canon lower (func $storage "size")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $storage_clear (canon lower (func $storage "clear")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
"#;

/// What a guest with storage may call; results are written at 256, and `$stored` makes 0 or 1 and the error out of one.
/// `$load` answers with the value of a key, or with nothing.
const STORAGE_CORE: &str = r#"
(import "host" "storage-get" (func $host_load (param i32 i32 i32)))
(import "host" "storage-set" (func $host_store (param i32 i32 i32 i32 i32)))
(import "host" "storage-delete" (func $host_delete (param i32 i32 i32)))
(import "host" "storage-keys" (func $host_keys (param i32 i32 i32 i32 i32 i32 i32)))
(import "host" "storage-size" (func $host_size (param i32)))
(import "host" "storage-clear" (func $host_clear (param i32)))
"#;

const STORAGE_EXPORTS: &str = r#"
(export "storage-get" (func $storage_get)) (export "storage-set" (func $storage_set))
(export "storage-delete" (func $storage_delete)) (export "storage-keys" (func $storage_keys))
(export "storage-size" (func $storage_size)) (export "storage-clear" (func $storage_clear))
"#;

const MULTICODEC_IMPORTS: &str = r#"
(import "airssys:component/multicodec@0.1.0" (instance $multicodec
  (alias outer 1 $codec (type $codec0))
  (export "codec" (type $codec (eq $codec0)))
  (alias outer 1 $body (type $body0))
  (export "body" (type $body (eq $body0)))
  (type $e (variant (case "empty") (case "truncated") (case "too-long") (case "not-minimal") (case "unknown-codec" u64)))
  (export "multicodec-error" (type $error (eq $e)))
  (type $k (variant (case "code" u64) (case "name" string)))
  (export "codec-key" (type $key (eq $k)))
  (type $i (record (field "codec" $codec) (field "code" u32) (field "name" string) (field "tag" string)
    (field "status" string)))
  (export "codec-info" (type $info (eq $i)))
  (export "encode" (func (param "body" $body) (result (list u8))))
  (export "decode" (func (param "encoded" (list u8)) (result (result $body (error $error)))))
  (export "is-supported" (func (param "codec" $key) (result bool)))
  (export "info" (func (param "codec" $key) (result (option $info))))))
"#;

const MULTICODEC_LOWERED: &str = r#"
(core func $encode (canon lower (func $multicodec "encode")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $decode (canon lower (func $multicodec "decode")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $is_supported (canon lower (func $multicodec "is-supported") (memory (core memory $libc "memory"))))
(core func $codec_info (canon lower (func $multicodec "info")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
"#;

/// What a guest with the multicodec utilities may call; what is larger than a number is written where the last argument
/// says.
const MULTICODEC_CORE: &str = r#"
(import "host" "encode" (func $encode (param i32 i32 i32 i32)))
(import "host" "decode" (func $decode (param i32 i32 i32)))
(import "host" "is-supported" (func $is_supported (param i32 i64 i32) (result i32)))
(import "host" "codec-info" (func $codec_info (param i32 i64 i32 i32)))
"#;

const MULTICODEC_EXPORTS: &str = r#"
(export "encode" (func $encode)) (export "decode" (func $decode)) (export "is-supported" (func $is_supported))
(export "codec-info" (func $codec_info))
"#;

const TOPICS_IMPORTS: &str = r#"
(import "airssys:component/topics@0.1.0" (instance $topics
  (alias outer 1 $body (type $body0))
  (export "body" (type $body (eq $body0)))
  (type $p (variant (case "not-permitted") (case "invalid-topic" string) (case "too-large" u64) (case "too-much" u64)
    (case "too-many-subscribers" u64) (case "too-many-sends" u64) (case "too-many-hops" u32) (case "rate-exceeded" u64)))
  (export "publish-error" (type $publish_error (eq $p)))
  (type $s (variant (case "not-permitted") (case "invalid-pattern" string) (case "too-many-subscriptions" u64)
    (case "no-handler")))
  (export "subscribe-error" (type $subscribe_error (eq $s)))
  (export "publish" (func (param "topic" string) (param "body" $body) (result (result u32 (error $publish_error)))))
  (export "subscribe" (func (param "pattern" string) (result (result (error $subscribe_error)))))
  (export "unsubscribe" (func (param "pattern" string) (result bool)))))
"#;

const TOPICS_LOWERED: &str = r#"
(core func $publish (canon lower (func $topics "publish")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $subscribe (canon lower (func $topics "subscribe")
  (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
(core func $unsubscribe (canon lower (func $topics "unsubscribe") (memory (core memory $libc "memory"))))
"#;

const TOPICS_CORE: &str = r#"
(import "host" "publish" (func $host_publish (param i32 i32 i32 i32 i32 i32)))
(import "host" "subscribe" (func $host_subscribe (param i32 i32 i32)))
(import "host" "unsubscribe" (func $unsubscribe (param i32 i32) (result i32)))
"#;

/// Results are written at 256. `$publish` gives the number of those that took it, or 100 and the place of the error;
/// `$subscribe` 0, or one more than the place of the error.
const TOPICS_FUNCTIONS: &str = r#"
(func $publish (param $codec i32) (param $topic i32) (param $topic_len i32) (param $ptr i32) (param $len i32) (result i32)
  (call $host_publish (local.get $topic) (local.get $topic_len) (local.get $codec) (local.get $ptr) (local.get $len)
    (i32.const 256))
  (if (result i32) (i32.load8_u (i32.const 256))
    (then (i32.add (i32.const 100) (i32.load8_u (i32.const 264)))) (else (i32.load (i32.const 264)))))
(func $subscribe (param $pattern i32) (param $pattern_len i32) (result i32)
  (call $host_subscribe (local.get $pattern) (local.get $pattern_len) (i32.const 256))
  (if (result i32) (i32.load8_u (i32.const 256))
    (then (i32.add (i32.const 1) (i32.load8_u (i32.const 264)))) (else (i32.const 0))))
"#;

const TOPICS_EXPORTS: &str = r#"
(export "publish" (func $publish)) (export "subscribe" (func $subscribe)) (export "unsubscribe" (func $unsubscribe))
"#;
