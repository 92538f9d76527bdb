//! Reads from a component's bytes what it imports and exports.
//!
//! The types are checked and the code is not: that is the compiler's work. Whatever the bytes hold, what is
//! read is bounded before it is kept.
//!
//! This happens in the host's own process, as a process for each of a thousand artifacts would take longer than all of
//! their plans. The reader is safe code that allocates no more than a multiple of what it is given, time and depth are
//! bounded by the counts that are checked first, and a panic of it is an error of that one component.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use wasmparser::component_types::{
    AliasableResourceId, ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType,
    ComponentFuncTypeId, ComponentInstanceTypeId, ComponentValType, ResourceId,
};
use wasmparser::types::TypesRef;
use wasmparser::{Parser, Payload, PrimitiveValType, ValidPayload, Validator};

use super::{CompileError, inspect};
use crate::surface::{Side, Surface, SurfaceBuilder, TooLarge};

/// Most bytes of all sections of a component that describe types, imports and exports, its code left out.
pub const MAX_TYPE_BYTES: usize = 2 << 20;
/// Deepest nesting of types within one another.
pub const MAX_TYPE_DEPTH: usize = 64;
/// Longest signature, in bytes, with all types written out.
pub const MAX_SIGNATURE_BYTES: usize = 64 << 10;

/// Why a component's surface is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SurfaceError {
    /// It is no component that could be compiled.
    #[error(transparent)]
    NotCompiled(#[from] CompileError),
    /// There is too much of it.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Its descriptions of types are too long.
    #[error("what describes the types of the component is longer than {} KiB", MAX_TYPE_BYTES >> 10)]
    Types,
    /// A type is nested too deeply.
    #[error("a type that the component imports or exports is nested deeper than {MAX_TYPE_DEPTH}")]
    Depth,
    /// A signature is too long.
    #[error("a signature is longer than {} KiB with its types written out", MAX_SIGNATURE_BYTES >> 10)]
    Signature,
    /// The reader failed: a bug, of which the component makes use or that it met by chance.
    #[error("the reader of this program failed on it")]
    Failed,
}

/// The surface of the component whose bytes these are.
pub fn surface(bytes: &[u8]) -> Result<Surface, SurfaceError> {
    std::panic::catch_unwind(|| read(bytes)).unwrap_or(Err(SurfaceError::Failed))
}

fn read(bytes: &[u8]) -> Result<Surface, SurfaceError> {
    inspect::check(bytes)?;
    let invalid = |error: wasmparser::BinaryReaderError| CompileError::Invalid(error.to_string());
    let mut validator = Validator::new();
    let mut names = Names::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        names.note(&payload)?;
        if let ValidPayload::End(types) = validator.payload(&payload).map_err(invalid)?
            && names.depth == 0
        {
            return names.read(types.as_ref());
        }
    }
    Err(CompileError::Invalid("it ends before its end".to_owned()).into())
}

/// The names of the outermost component's imports and exports, in the order of the file.
#[derive(Default)]
struct Names {
    depth: usize,
    type_bytes: usize,
    names: Vec<(Side, String)>,
}

impl Names {
    fn note(&mut self, payload: &Payload<'_>) -> Result<(), SurfaceError> {
        let invalid = |error: wasmparser::BinaryReaderError| CompileError::Invalid(error.to_string());
        match payload {
            Payload::Version { .. } => self.depth += 1,
            Payload::End(_) => self.depth -= 1,
            Payload::ComponentImportSection(section) => {
                self.weigh(&section.range())?;
                for import in section.clone().into_iter().filter(|_| self.depth == 1) {
                    self.names.push((Side::Import, import.map_err(invalid)?.name.name.to_owned()));
                }
            }
            Payload::ComponentExportSection(section) => {
                self.weigh(&section.range())?;
                for export in section.clone().into_iter().filter(|_| self.depth == 1) {
                    self.names.push((Side::Export, export.map_err(invalid)?.name.name.to_owned()));
                }
            }
            Payload::TypeSection(section) => self.weigh(&section.range())?,
            Payload::CoreTypeSection(section) => self.weigh(&section.range())?,
            Payload::ComponentTypeSection(section) => self.weigh(&section.range())?,
            Payload::ComponentAliasSection(section) => self.weigh(&section.range())?,
            Payload::InstanceSection(section) => self.weigh(&section.range())?,
            Payload::ComponentInstanceSection(section) => self.weigh(&section.range())?,
            _ => {}
        }
        Ok(())
    }

    fn weigh(&mut self, range: &Range<usize>) -> Result<(), SurfaceError> {
        self.type_bytes = self.type_bytes.saturating_add(range.len());
        if self.type_bytes > MAX_TYPE_BYTES { Err(SurfaceError::Types) } else { Ok(()) }
    }

    fn read(self, types: TypesRef<'_>) -> Result<Surface, SurfaceError> {
        let mut reader = Reader { types, resources: BTreeMap::new(), surface: SurfaceBuilder::default() };
        for (side, name) in &self.names {
            let item = match side {
                Side::Import => types.component_item_for_import(name),
                Side::Export => types.component_item_for_export(name),
            };
            if let Some(item) = item {
                reader.entity(*side, name, &item.ty)?;
            }
        }
        Ok(reader.surface.finish())
    }
}

/// Writes out what a component imports and exports.
struct Reader<'t> {
    types: TypesRef<'t>,
    /// Resources by the name under which each was seen first.
    resources: BTreeMap<ResourceId, String>,
    surface: SurfaceBuilder,
}

impl Reader<'_> {
    fn entity(&mut self, side: Side, name: &str, ty: &ComponentEntityType) -> Result<(), SurfaceError> {
        let alone = match ty {
            ComponentEntityType::Instance(instance) => {
                self.surface.interface(side, name)?;
                return self.instance(side, name, "", *instance, 0);
            }
            ComponentEntityType::Type { created, .. } => match created {
                ComponentAnyTypeId::Resource(resource) => {
                    self.note_resource("", name, *resource);
                    "resource".to_owned()
                }
                _ => return Ok(()),
            },
            ComponentEntityType::Func(func) => self.signature(*func)?,
            ComponentEntityType::Value(value) => self.write(|text, this| this.value(text, value, 0))?,
            ComponentEntityType::Module(_) => "module".to_owned(),
            ComponentEntityType::Component(_) => "component".to_owned(),
        };
        Ok(self.surface.item(side, name, "", &alone)?)
    }

    /// What is in an instance; instances within it stand there with the names of both.
    fn instance(
        &mut self,
        side: Side,
        interface: &str,
        within: &str,
        instance: ComponentInstanceTypeId,
        depth: usize,
    ) -> Result<(), SurfaceError> {
        if depth > MAX_TYPE_DEPTH {
            return Err(SurfaceError::Depth);
        }
        let types = self.types;
        let exports = &types[instance].exports;
        for (name, item) in exports {
            if let ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(resource), .. } = &item.ty {
                self.note_resource(interface, name, *resource);
            }
        }
        for (name, item) in exports {
            let name = format!("{within}{name}");
            let signature = match &item.ty {
                ComponentEntityType::Func(func) => self.signature(*func)?,
                ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(_), .. } => "resource".to_owned(),
                ComponentEntityType::Type { .. } => continue,
                ComponentEntityType::Value(value) => self.write(|text, this| this.value(text, value, 0))?,
                ComponentEntityType::Module(_) => "module".to_owned(),
                ComponentEntityType::Component(_) => "component".to_owned(),
                ComponentEntityType::Instance(inner) => {
                    self.surface.item(side, interface, &name, "instance")?;
                    self.instance(side, interface, &format!("{name}/"), *inner, depth + 1)?;
                    continue;
                }
            };
            self.surface.item(side, interface, &name, &signature)?;
        }
        Ok(())
    }

    /// Without the version of its interface: another version of one line has the same resources.
    fn note_resource(&mut self, interface: &str, name: &str, resource: AliasableResourceId) {
        let interface = interface.split('@').next().unwrap_or_default();
        let name = if interface.is_empty() { name.to_owned() } else { format!("{interface}/{name}") };
        self.resources.entry(resource.resource()).or_insert(name);
    }

    fn write(&self, write: impl FnOnce(&mut Text, &Self) -> Result<(), SurfaceError>) -> Result<String, SurfaceError> {
        let mut text = Text::default();
        write(&mut text, self)?;
        Ok(text.0)
    }

    fn signature(&self, func: ComponentFuncTypeId) -> Result<String, SurfaceError> {
        self.write(|text, this| {
            let func = &this.types[func];
            text.push(if func.async_ { "async func(" } else { "func(" })?;
            for (index, (name, ty)) in func.params.iter().enumerate() {
                text.push(if index > 0 { ", " } else { "" })?;
                text.push(name.as_str())?;
                text.push(": ")?;
                this.value(text, ty, 0)?;
            }
            text.push(")")?;
            if let Some(result) = &func.result {
                text.push(" -> ")?;
                this.value(text, result, 0)?;
            }
            Ok(())
        })
    }

    fn value(&self, text: &mut Text, ty: &ComponentValType, depth: usize) -> Result<(), SurfaceError> {
        match ty {
            ComponentValType::Primitive(primitive) => text.push(word(*primitive)),
            ComponentValType::Type(id) if depth < MAX_TYPE_DEPTH => self.defined(text, *id, depth + 1),
            ComponentValType::Type(_) => Err(SurfaceError::Depth),
        }
    }

    fn defined(&self, text: &mut Text, id: ComponentDefinedTypeId, depth: usize) -> Result<(), SurfaceError> {
        use ComponentDefinedType as T;
        match &self.types[id] {
            T::Primitive(primitive) => text.push(word(*primitive)),
            T::Record(record) => {
                let fields = record.fields.iter().map(|(name, ty)| (name.as_str(), Some(ty)));
                self.named(text, "record", fields, [": ", ""], depth)
            }
            T::Variant(variant) => {
                let cases = variant.cases.iter().map(|(name, case)| (name.as_str(), case.ty.as_ref()));
                self.named(text, "variant", cases, ["(", ")"], depth)
            }
            T::Flags(names) => self.named(text, "flags", names.iter().map(|n| (n.as_str(), None)), [""; 2], depth),
            T::Enum(names) => self.named(text, "enum", names.iter().map(|n| (n.as_str(), None)), [""; 2], depth),
            T::List { element, .. } => self.of(text, "list", [Some(element)], depth),
            T::FixedLengthList { element, length, .. } => {
                self.of(text, "list", [Some(element)], depth)?;
                text.push(&format!("[{length}]"))
            }
            T::Map { key, value, .. } => self.of(text, "map", [Some(key), Some(value)], depth),
            T::Tuple(tuple) => self.of(text, "tuple", tuple.types.iter().map(Some), depth),
            T::Option { ty, .. } => self.of(text, "option", [Some(ty)], depth),
            T::Result { ok: None, err: None, .. } => text.push("result"),
            T::Result { ok, err: None, .. } => self.of(text, "result", [ok.as_ref()], depth),
            T::Result { ok, err, .. } => self.of(text, "result", [ok.as_ref(), err.as_ref()], depth),
            T::Own(resource) => self.handle(text, "own", *resource),
            T::Borrow(resource) => self.handle(text, "borrow", *resource),
            T::Future { ty, .. } => self.of(text, "future", [ty.as_ref()], depth),
            T::Stream { ty, .. } => self.of(text, "stream", [ty.as_ref()], depth),
        }
    }

    /// `record { name: type, … }` and its like.
    fn named<'n>(
        &self,
        text: &mut Text,
        kind: &str,
        parts: impl Iterator<Item = (&'n str, Option<&'n ComponentValType>)>,
        [open, close]: [&str; 2],
        depth: usize,
    ) -> Result<(), SurfaceError> {
        text.push(kind)?;
        text.push(" {")?;
        for (index, (name, ty)) in parts.enumerate() {
            text.push(if index > 0 { ", " } else { " " })?;
            text.push(name)?;
            if let Some(ty) = ty {
                text.push(open)?;
                self.value(text, ty, depth)?;
                text.push(close)?;
            }
        }
        text.push(" }")
    }

    /// `list<type>` and its like; nothing is `_`.
    fn of<'n>(
        &self,
        text: &mut Text,
        kind: &str,
        parts: impl IntoIterator<Item = Option<&'n ComponentValType>>,
        depth: usize,
    ) -> Result<(), SurfaceError> {
        text.push(kind)?;
        text.push("<")?;
        for (index, ty) in parts.into_iter().enumerate() {
            text.push(if index > 0 { ", " } else { "" })?;
            match ty {
                Some(ty) => self.value(text, ty, depth)?,
                None => text.push("_")?,
            }
        }
        text.push(">")
    }

    fn handle(&self, text: &mut Text, kind: &str, resource: AliasableResourceId) -> Result<(), SurfaceError> {
        let name = self.resources.get(&resource.resource()).map_or("resource", String::as_str);
        text.push(&format!("{kind}<{name}>"))
    }
}

/// A signature in the making, of bounded length.
#[derive(Default)]
struct Text(String);

impl Text {
    fn push(&mut self, piece: &str) -> Result<(), SurfaceError> {
        if self.0.len() + piece.len() > MAX_SIGNATURE_BYTES {
            return Err(SurfaceError::Signature);
        }
        let _ = self.0.write_str(piece);
        Ok(())
    }
}

fn word(primitive: PrimitiveValType) -> &'static str {
    match primitive {
        PrimitiveValType::Bool => "bool",
        PrimitiveValType::S8 => "s8",
        PrimitiveValType::U8 => "u8",
        PrimitiveValType::S16 => "s16",
        PrimitiveValType::U16 => "u16",
        PrimitiveValType::S32 => "s32",
        PrimitiveValType::U32 => "u32",
        PrimitiveValType::S64 => "s64",
        PrimitiveValType::U64 => "u64",
        PrimitiveValType::F32 => "f32",
        PrimitiveValType::F64 => "f64",
        PrimitiveValType::Char => "char",
        PrimitiveValType::String => "string",
        PrimitiveValType::ErrorContext => "error-context",
    }
}
