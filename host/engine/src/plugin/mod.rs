//! Plugins: sandboxed WebAssembly components, found by directory, one per platform component.

mod catalog;
mod engine;
mod instance;
mod package;
mod precompiled;
mod wasi;

pub use catalog::{Catalog, CatalogError, Plugin, parse_manifest};
pub use engine::EngineError;
pub use instance::{GuestError, PluginInstance};
pub use package::{MANIFEST_SECTION, Package, PackageError, imported_functions, pack};
