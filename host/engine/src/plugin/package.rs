//! The file of a plugin: a component with its manifest in one custom section.

use sha2::{Digest as _, Sha256};
use wasmparser::{BinaryReader, ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload};

/// Name of the custom section that holds the manifest.
pub const MANIFEST_SECTION: &str = "runner:manifest";

/// Largest plugin file.
pub(super) const MAX_PLUGIN: u64 = 256 << 20;

/// Largest manifest.
const MAX_MANIFEST: usize = 1 << 20;

/// Why a file is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Not WebAssembly, or damaged.
    #[error("it is not a WebAssembly component, or it is damaged: {0}")]
    Damaged(String),
    /// A core module, not a component.
    #[error("it is a core module; make a component of it first (target wasm32-wasip2, or `wasm-tools component new`)")]
    Module,
    /// No manifest.
    #[error("it has no manifest; add one with `runner plugin pack FILE --manifest manifest.json`")]
    NoManifest,
    /// Several manifests.
    #[error("it has {0} manifests; there must be exactly one section `{MANIFEST_SECTION}` in the outermost component")]
    ManyManifests(usize),
    /// A manifest section below the outermost component, which could be mistaken for the plugin's own.
    #[error("a component inside it has a section `{MANIFEST_SECTION}`; only the outermost component may have one")]
    InnerManifest,
    /// A manifest too large to be one.
    #[error("its manifest is larger than {MAX_MANIFEST} bytes")]
    HugeManifest,
    /// A manifest that is no text.
    #[error("its manifest is not UTF-8")]
    NotText,
}

/// What can be read from a plugin file without running or compiling it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// SHA-256 of the whole file: the plugin's digest.
    pub digest: String,
    /// Text of the manifest section, when there is one.
    pub manifest: Option<String>,
    /// Names of imported interfaces, with their versions, in order.
    pub imports: Vec<String>,
    /// Names of exported interfaces, with their versions, in order.
    pub exports: Vec<String>,
}

impl Package {
    /// Reads a plugin file.
    ///
    /// # Errors
    /// When it is not a component, or has several manifests, or one in a place where it does not count.
    pub fn read(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut package = Self {
            digest: hex::encode(Sha256::digest(bytes)),
            manifest: None,
            imports: Vec::new(),
            exports: Vec::new(),
        };
        let mut depth = 0_usize;
        let mut manifests = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(damaged)? {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => return Err(PackageError::Module),
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                    if depth > 0 {
                        return Err(PackageError::InnerManifest);
                    }
                    manifests += 1;
                    if section.data().len() > MAX_MANIFEST {
                        return Err(PackageError::HugeManifest);
                    }
                    let text = std::str::from_utf8(section.data()).map_err(|_| PackageError::NotText)?;
                    package.manifest = Some(text.to_owned());
                }
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        let import = import.map_err(damaged)?;
                        if let ComponentTypeRef::Instance(_) | ComponentTypeRef::Func(_) = import.ty {
                            package.imports.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        let export = export.map_err(damaged)?;
                        if export.kind == ComponentExternalKind::Instance {
                            package.exports.push(export.name.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        if manifests > 1 {
            return Err(PackageError::ManyManifests(manifests));
        }
        Ok(package)
    }

    /// The manifest's text.
    ///
    /// # Errors
    /// When the file has none.
    pub fn manifest(&self) -> Result<&str, PackageError> {
        self.manifest.as_deref().ok_or(PackageError::NoManifest)
    }
}

/// The reader prints bytes, one a line, where a magic number is wrong: the first words say enough.
pub(super) fn damaged(error: wasmparser::BinaryReaderError) -> PackageError {
    let message = error.message();
    let short = message.split(": bad magic").next().unwrap_or(message);
    PackageError::Damaged(format!("{short} (at byte {})", error.offset()))
}

/// A component with this manifest in place of any it had: everything else stays byte for byte.
///
/// # Errors
/// When the bytes are not a component.
pub fn pack(component: &[u8], manifest: &str) -> Result<Vec<u8>, PackageError> {
    Package::read(component).or_else(|error| match error {
        PackageError::ManyManifests(_) | PackageError::HugeManifest | PackageError::NotText => Ok(Package::default()),
        other => Err(other),
    })?;
    let mut packed = without_manifest(component).map_err(damaged)?;
    let section = wasm_encoder::CustomSection { name: MANIFEST_SECTION.into(), data: manifest.as_bytes().into() };
    wasm_encoder::ComponentSection::append_to_component(&section, &mut packed);
    Package::read(&packed)?;
    Ok(packed)
}

/// The outermost component without its manifest sections. A section is an id byte, its size as LEB128, its content; a
/// custom one (id 0) begins with its name.
fn without_manifest(component: &[u8]) -> Result<Vec<u8>, wasmparser::BinaryReaderError> {
    const HEADER: usize = 8;
    let mut kept = Vec::with_capacity(component.len());
    let mut reader = BinaryReader::new(component, 0);
    kept.extend_from_slice(reader.read_bytes(HEADER)?);
    while !reader.eof() {
        let start = reader.original_position();
        let id = reader.read_u8()?;
        let size = reader.read_var_u32()? as usize;
        let content_start = reader.original_position();
        let content = reader.read_bytes(size)?;
        let is_manifest = id == 0
            && BinaryReader::new(content, content_start).read_string().is_ok_and(|name| name == MANIFEST_SECTION);
        if !is_manifest {
            kept.extend_from_slice(component.get(start..content_start + size).unwrap_or_default());
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component() -> Vec<u8> {
        let mut component = wasm_encoder::Component::new();
        component.section(&wasm_encoder::CustomSection { name: "other".into(), data: b"kept".as_slice().into() });
        component.finish()
    }

    #[test]
    fn a_packed_manifest_is_read_back_and_replaced() {
        let once = pack(&component(), "{\"name\":\"a\"}").unwrap();
        assert_eq!(Package::read(&once).unwrap().manifest().unwrap(), "{\"name\":\"a\"}");
        let long = format!("{{\"name\":\"{}\"}}", "b".repeat(40_000));
        let twice = pack(&pack(&once, &long).unwrap(), "{\"name\":\"a\"}").unwrap();
        assert_eq!(twice, once, "packing leaves no trace of an earlier manifest");
    }

    #[test]
    fn what_is_no_plugin_is_refused() {
        assert!(matches!(Package::read(b""), Err(PackageError::Damaged(_))));
        assert!(matches!(Package::read(b"\0asm\x01\0\0\0"), Err(PackageError::Module)));
        assert!(matches!(Package::read(&component()).unwrap().manifest(), Err(PackageError::NoManifest)));
        let mut two = pack(&component(), "{}").unwrap();
        wasm_encoder::ComponentSection::append_to_component(
            &wasm_encoder::CustomSection { name: MANIFEST_SECTION.into(), data: b"{}".as_slice().into() },
            &mut two,
        );
        assert!(matches!(Package::read(&two), Err(PackageError::ManyManifests(2))));
    }

    #[test]
    fn a_manifest_inside_does_not_count() {
        let mut outer = wasm_encoder::Component::new();
        let mut inner = wasm_encoder::Component::new();
        inner.section(&wasm_encoder::CustomSection { name: MANIFEST_SECTION.into(), data: b"{}".as_slice().into() });
        outer.section(&wasm_encoder::NestedComponentSection(&inner));
        assert!(matches!(Package::read(&outer.finish()), Err(PackageError::InnerManifest)));
    }

    #[test]
    fn truncated_files_are_refused_without_panic() {
        let whole = pack(&component(), "{\"name\":\"a\"}").unwrap();
        for length in 0..whole.len() {
            let _ = Package::read(&whole[..length]);
            let _ = pack(&whole[..length], "{}");
        }
    }
}
