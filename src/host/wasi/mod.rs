//! Owns the part of WASI 0.2 that guests get: clocks, random numbers, a log for their standard streams, the environment
//! variables, directory trees and hosts that they were granted, and no arguments.
//!
//! A guest that was granted no tree and no host finds no directory and may open no socket; nothing of this waits then.
//! HTTP is not offered.

mod clock;
mod files;
mod io;
mod sockets;
mod stdio;
mod wait;

pub(crate) use wait::{WaitedTooLong, Waits, WouldWait};
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_io::bindings::wasi::io::error;

use super::outside::Outside;
use super::{Guest, MAX_RANDOM_BYTES, MAX_RESOURCES};
use crate::logs::{ComponentLog, Level};

/// What WASI keeps for one instance.
pub(super) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    pub(super) fn new(
        log: &ComponentLog,
        environment: &[(String, String)],
        outside: Option<&Outside>,
    ) -> wasmtime::Result<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let mut builder = WasiCtx::builder();
        builder
            .envs(environment)
            .stdout(stdio::LogStream::new(log.clone(), Level::Info))
            .stderr(stdio::LogStream::new(log.clone(), Level::Warn))
            .max_random_size(MAX_RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if let Some(outside) = outside {
            // Its thread is there for waiting; a pool in between would be one more thing to fill.
            builder.allow_blocking_current_thread(true);
            for tree in &outside.trees {
                let perms = if tree.writes { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
                builder.preopened_dir(tree.path(), &tree.place, perms)?;
            }
            if let Some(reach) = &outside.reach {
                sockets::allow(&mut builder, reach);
            }
        }
        Ok(Self { ctx: builder.build(), table })
    }
}

impl Guest {
    fn wasi_and_waits(&mut self) -> (WasiCtxView<'_>, Option<&Waits>) {
        let Self { wasi, outside, log, environment, .. } = self;
        let new = || Wasi::new(log, environment, None).expect("nothing is opened");
        let Wasi { ctx, table } = &mut **wasi.get_or_insert_with(|| Box::new(new()));
        (WasiCtxView { ctx, table }, outside.as_ref().map(|outside| &outside.waits))
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi_and_waits().0
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
    clocks::monotonic_clock::add_to_linker::<Guest, clock::Clocks>(l, clock::view)?;
    filesystem::preopens::add_to_linker::<Guest, WasiFilesystem>(l, Guest::filesystem)?;
    sync::filesystem::types::add_to_linker::<Guest, files::Files>(l, files::view)?;
    random::random::add_to_linker::<Guest, WasiRandom>(l, Guest::random)?;
    random::insecure::add_to_linker::<Guest, WasiRandom>(l, Guest::random)?;
    random::insecure_seed::add_to_linker::<Guest, WasiRandom>(l, Guest::random)?;
    error::add_to_linker::<Guest, Table>(l, |guest| guest.ctx().table)?;
    sync::io::poll::add_to_linker::<Guest, io::Streams>(l, io::view)?;
    sync::io::streams::add_to_linker::<Guest, io::Streams>(l, io::view)?;
    sockets::add_to_linker(l)
}
