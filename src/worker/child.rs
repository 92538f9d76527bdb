//! Owns a worker's life: confine, do the job, end.
//!
//! Everything before the job is in the host's words; everything after it is hostile.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use super::frame::{self, FrameError, Kind};
use super::in_process::run;
use super::wire::{CodeHead, Failure, MAX_CODE_BYTES, Progress, Ready, Setup, Task, take_apart};
use crate::engine::{CompileError, Compiler};
use crate::manifest::MAX_WASM_BYTES;
use crate::source::remote::{FetchFailure, FetchJob, Found, Port, WasmWanted};

/// Longest text of the compiler that is handed on, in characters.
const MAX_COMPILER_TEXT_CHARS: usize = 8_000;

pub(super) fn serve() -> ExitCode {
    // The locks are held for the whole life: nothing else in a worker reads or prints.
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    match life(&mut input, &mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn life(input: &mut dyn Read, output: &mut dyn Write) -> Result<(), FrameError> {
    give_up_rights().map_err(io::Error::other)?;
    let setup: Setup = expect(input, Kind::Setup)?;
    let ready = confine(&setup);
    let (ready, compiler) = match ready.and_then(|landlock| ready_to(setup.task, landlock)) {
        Ok(ready) => ready,
        Err(why) => return Ok(frame::write_json(output, Kind::Failed, &Failure::Start(why))?),
    };
    frame::write_json(output, Kind::Ready, &ready)?;
    match compiler {
        Some(compiler) => compile(&compiler, input, output),
        None => fetch(input, output),
    }
}

fn ready_to(task: Task, landlock: String) -> Result<(Ready, Option<Compiler>), String> {
    let compiler = match task {
        Task::Fetch => None,
        Task::Compile => Some(Compiler::new().map_err(|error| error.to_string())?),
    };
    Ok((Ready { landlock, code_hash: compiler.as_ref().map(Compiler::code_hash) }, compiler))
}

#[cfg(target_os = "linux")]
fn give_up_rights() -> Result<(), String> {
    super::confine::give_up_rights()
}

#[cfg(target_os = "linux")]
fn confine(setup: &Setup) -> Result<String, String> {
    super::confine::confine(setup)
}

/// Elsewhere only the deadline at the host holds, and what the limits below can.
#[cfg(not(target_os = "linux"))]
fn give_up_rights() -> Result<(), String> {
    rustix::process::nice(10).map(drop).map_err(|errno| errno.to_string())
}

#[cfg(not(target_os = "linux"))]
fn confine(setup: &Setup) -> Result<String, String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limits = [(Resource::Cpu, setup.cpu_s), (Resource::Fsize, setup.file_bytes), (Resource::Core, 0)];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).map_err(|errno| errno.to_string())?;
    }
    Ok("none".to_owned())
}

fn expect<T: serde::de::DeserializeOwned>(input: &mut dyn Read, kind: Kind) -> Result<T, FrameError> {
    let frame = frame::read(input)?;
    if frame.kind == kind { frame.json() } else { Err(frame.unexpected()) }
}

fn compile(compiler: &Compiler, input: &mut dyn Read, output: &mut dyn Write) -> Result<(), FrameError> {
    let mut wasm = Vec::new();
    loop {
        let frame = frame::read(input)?;
        match frame.kind {
            Kind::Piece if (wasm.len() + frame.bytes.len()) as u64 <= MAX_WASM_BYTES => wasm.extend(frame.bytes),
            Kind::Done => break,
            _ => return Err(frame.unexpected()),
        }
    }
    let code = compiler.precompile(&wasm).and_then(|code| {
        let fits = code.len() as u64 <= MAX_CODE_BYTES;
        let too_large = || CompileError::Invalid(format!("its code has more than {MAX_CODE_BYTES} bytes"));
        fits.then_some(code).ok_or_else(too_large)
    });
    match code {
        Ok(code) => {
            frame::write_json(output, Kind::Code, &CodeHead { bytes: code.len() as u64 })?;
            frame::write_pieces(output, &code)?;
            frame::write(output, Kind::Done, b"")?;
        }
        Err(error) => frame::write_json(output, Kind::Failed, &Failure::Compile(cut(error)))?,
    }
    Ok(())
}

fn cut(error: CompileError) -> CompileError {
    match error {
        CompileError::Invalid(text) => CompileError::Invalid(text.chars().take(MAX_COMPILER_TEXT_CHARS).collect()),
        other => other,
    }
}

fn fetch(input: &mut dyn Read, output: &mut dyn Write) -> Result<(), FrameError> {
    let job: FetchJob = expect(input, Kind::Job)?;
    let ended = run(&job, &mut PipePort { input, output });
    match ended {
        Ok(()) => frame::write(output, Kind::Done, b"")?,
        Err(failure) => frame::write_json(output, Kind::Failed, &Failure::Fetch(failure))?,
    }
    Ok(())
}

/// The host, from within a worker.
struct PipePort<'a> {
    input: &'a mut dyn Read,
    output: &'a mut dyn Write,
}

impl Port for PipePort<'_> {
    fn progress(&mut self, step: &str, bytes: u64) -> Result<(), FetchFailure> {
        frame::write_json(self.output, Kind::Progress, &Progress { step: step.to_owned(), bytes }).map_err(gone)
    }

    fn found(&mut self, found: Found) -> Result<Option<WasmWanted>, FetchFailure> {
        let (head, body) = take_apart(found);
        head.body_bytes().map_err(|error| FetchFailure::new("too-large", error.to_string()))?;
        frame::write_json(self.output, Kind::Found, &head).map_err(gone)?;
        frame::write_pieces(self.output, &body).map_err(gone)?;
        match frame::read(self.input) {
            Ok(frame) if frame.kind == Kind::Wanted => frame.json().map(Some).map_err(gone),
            Ok(frame) => Err(gone(frame.unexpected())),
            // Whoever asked and wants no wasm closes the pipe, or just ends this process.
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(gone(error)),
        }
    }

    fn wasm(&mut self, piece: &[u8]) -> Result<(), FetchFailure> {
        frame::write_pieces(self.output, piece).map_err(gone)
    }
}

fn gone(error: impl std::fmt::Display) -> FetchFailure {
    FetchFailure::new("worker-protocol", format!("the host can't be spoken to: {error}"))
}
