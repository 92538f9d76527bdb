//! The `airssys-wasm` program: maps the command line's result to an exit code.

fn main() -> std::process::ExitCode {
    airssys_wasm::cli::main()
}
