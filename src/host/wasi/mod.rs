//! Owns the part of WASI 0.2 that a guest without any grant gets: clocks, random numbers, a log for its
//! standard streams, an empty file system, the environment variables that it was granted and no arguments.
//!
//! Nothing here waits and nothing needs a runtime. Sockets and HTTP are not offered at all.

mod clock;
mod io;
mod stdio;

pub(crate) use io::WouldWait;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io::error;

use super::{Guest, MAX_RANDOM_BYTES, MAX_RESOURCES};
use crate::logs::{ComponentLog, Level};

/// What WASI keeps for one instance.
pub(super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    fn new(log: &ComponentLog, environment: &[(String, String)]) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let ctx = WasiCtx::builder()
            .envs(environment)
            .stdout(stdio::LogStream::new(log.clone(), Level::Info))
            .stderr(stdio::LogStream::new(log.clone(), Level::Warn))
            .max_random_size(MAX_RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self { ctx, table }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { ctx, table } =
            &mut **self.wasi.get_or_insert_with(|| Box::new(Wasi::new(&self.log, &self.environment)));
        WasiCtxView { ctx, table }
    }
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

pub(super) fn add_to_linker(l: &mut Linker<Guest>) -> wasmtime::Result<()> {
    cli::environment::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::exit::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::stdin::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::stdout::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::stderr::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_input::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_output::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdin::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stdout::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    cli::terminal_stderr::add_to_linker::<Guest, WasiCli>(l, Guest::cli)?;
    clocks::wall_clock::add_to_linker::<Guest, WasiClocks>(l, Guest::clocks)?;
    clocks::monotonic_clock::add_to_linker::<Guest, clock::Quiet>(l, clock::view)?;
    filesystem::preopens::add_to_linker::<Guest, WasiFilesystem>(l, Guest::filesystem)?;
    sync::filesystem::types::add_to_linker::<Guest, WasiFilesystem>(l, Guest::filesystem)?;
    random::random::add_to_linker::<Guest, WasiRandom>(l, Guest::random)?;
    random::insecure::add_to_linker::<Guest, WasiRandom>(l, Guest::random)?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(l, Guest::random)?;
    error::add_to_linker::<Guest, Table>(l, |guest| guest.ctx().table)?;
    sync::io::poll::add_to_linker::<Guest, io::Quiet>(l, io::view)?;
    sync::io::streams::add_to_linker::<Guest, io::Quiet>(l, io::view)
}
