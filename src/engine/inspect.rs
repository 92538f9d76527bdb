//! Decides from its bytes alone whether a file is a component of a size that may be compiled.
//!
//! Does not validate the code; the compiler does. Compiling costs time and memory in proportion to
//! what is counted here, so it is counted first, in one pass that allocates nothing.

use wasmparser::{Encoding, Parser, Payload};

use super::CompileError;
use super::compile::Part;

/// Functions in all modules of a component together.
pub const MAX_FUNCTIONS: u64 = 200_000;
/// Imports of one component or module.
pub const MAX_IMPORTS: u64 = 1_000;
/// Exports of one component or module.
pub const MAX_EXPORTS: u64 = 1_000;
/// Core modules within a component.
pub const MAX_MODULES: u64 = 64;
/// Components within a component.
pub const MAX_COMPONENTS: u64 = 16;

/// Refuses everything but a component within the caps.
pub fn check(bytes: &[u8]) -> Result<(), CompileError> {
    check_kind(bytes)?;
    let mut seen = Counts::default();
    for payload in Parser::new(0).parse_all(bytes) {
        seen.count(&payload.map_err(|e| CompileError::Invalid(e.to_string()))?)?;
    }
    Ok(())
}

fn check_kind(bytes: &[u8]) -> Result<(), CompileError> {
    if bytes.is_empty() {
        return Err(CompileError::Empty);
    }
    if bytes.starts_with(b"\x7fELF") {
        // Precompiled code is an ELF file too. It would run as it is, with the host's own rights.
        return Err(match wasmtime::Engine::detect_precompiled(bytes) {
            Some(_) => CompileError::Precompiled,
            None => CompileError::Elf,
        });
    }
    if !bytes.starts_with(b"\0asm") {
        let text = bytes.iter().take(64).all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e));
        return Err(if text { CompileError::Text } else { CompileError::NotWasm });
    }
    match bytes.get(4..8) {
        Some([1, 0, 0, 0]) => Err(CompileError::CoreModule),
        Some([_, _, 1, 0]) => Ok(()),
        _ => Err(CompileError::Invalid("the header is of no known version".to_owned())),
    }
}

#[derive(Default)]
struct Counts {
    functions: u64,
    modules: u64,
    components: u64,
    /// Imports and exports of what the parser is in, innermost last.
    open: Vec<(u64, u64)>,
}

impl Counts {
    fn count(&mut self, payload: &Payload<'_>) -> Result<(), CompileError> {
        match payload {
            Payload::Version { encoding, .. } => self.enter(*encoding),
            Payload::End(_) => {
                self.open.pop();
                Ok(())
            }
            Payload::FunctionSection(section) => {
                self.functions += u64::from(section.count());
                within(Part::Functions, self.functions, MAX_FUNCTIONS)
            }
            Payload::ImportSection(section) => self.import(section.count()),
            Payload::ComponentImportSection(section) => self.import(section.count()),
            Payload::ExportSection(section) => self.export(section.count()),
            Payload::ComponentExportSection(section) => self.export(section.count()),
            _ => Ok(()),
        }
    }

    fn enter(&mut self, encoding: Encoding) -> Result<(), CompileError> {
        self.open.push((0, 0));
        match encoding {
            Encoding::Module => {
                self.modules += 1;
                within(Part::CoreModules, self.modules, MAX_MODULES)
            }
            Encoding::Component => {
                self.components += 1;
                // The outermost one is counted too.
                within(Part::NestedComponents, self.components - 1, MAX_COMPONENTS)
            }
        }
    }

    fn import(&mut self, more: u32) -> Result<(), CompileError> {
        let Some((imports, _)) = self.open.last_mut() else { return Ok(()) };
        *imports += u64::from(more);
        within(Part::Imports, *imports, MAX_IMPORTS)
    }

    fn export(&mut self, more: u32) -> Result<(), CompileError> {
        let Some((_, exports)) = self.open.last_mut() else { return Ok(()) };
        *exports += u64::from(more);
        within(Part::Exports, *exports, MAX_EXPORTS)
    }
}

fn within(what: Part, count: u64, limit: u64) -> Result<(), CompileError> {
    if count <= limit {
        return Ok(());
    }
    Err(CompileError::TooMany { what, count, limit })
}
