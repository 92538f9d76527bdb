//! Decides from its bytes alone whether a file is a component of a size that may be compiled.
//!
//! Does not validate the code; the compiler does. Compiling costs time and memory in proportion to
//! what is counted here, so it is counted first, in one pass that keeps nothing.

use wasmparser::{
    ComponentType, ComponentTypeDeclaration, ComponentTypeSectionReader, Encoding, InstanceTypeDeclaration, Parser,
    Payload,
};

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
/// Instances of components and interfaces in a component, those within it included. Each may cost a walk through all
/// types that there are.
pub const MAX_COMPONENT_INSTANCES: u64 = 256;
/// Types of components, as opposed to components. Each may cost the same.
pub const MAX_COMPONENT_TYPES: u64 = 64;

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
    component_instances: u64,
    component_types: u64,
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
            Payload::ComponentInstanceSection(section) => {
                self.component_instances += u64::from(section.count());
                within(Part::ComponentInstances, self.component_instances, MAX_COMPONENT_INSTANCES)
            }
            Payload::ComponentTypeSection(section) => self.types(section.clone()),
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

    fn types(&mut self, section: ComponentTypeSectionReader<'_>) -> Result<(), CompileError> {
        for ty in section {
            self.component_types += component_types(&ty.map_err(|e| CompileError::Invalid(e.to_string()))?);
            within(Part::ComponentTypes, self.component_types, MAX_COMPONENT_TYPES)?;
        }
        Ok(())
    }
}

/// Types of components in a type, itself included. The parser bounds how deep they are nested.
fn component_types(ty: &ComponentType<'_>) -> u64 {
    match ty {
        ComponentType::Component(declarations) => {
            let within = declarations.iter().map(|declaration| match declaration {
                ComponentTypeDeclaration::Type(ty) => component_types(ty),
                _ => 0,
            });
            1 + within.sum::<u64>()
        }
        ComponentType::Instance(declarations) => {
            let within = declarations.iter().map(|declaration| match declaration {
                InstanceTypeDeclaration::Type(ty) => component_types(ty),
                _ => 0,
            });
            within.sum()
        }
        ComponentType::Defined(_) | ComponentType::Func(_) | ComponentType::Resource { .. } => 0,
    }
}

fn within(what: Part, count: u64, limit: u64) -> Result<(), CompileError> {
    if count <= limit {
        return Ok(());
    }
    Err(CompileError::TooMany { what, count, limit })
}
