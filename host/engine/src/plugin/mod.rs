//! Plugins: sandboxed WebAssembly components, found by directory, one per platform component.

mod catalog;
mod engine;
mod fit;
mod instance;
mod package;
mod precompiled;
mod wasi;

pub use catalog::{Catalog, CatalogError, Plugin, parse_manifest};
pub use engine::EngineError;
pub use fit::{Misfit, Misfits, imported_functions, misfits};
pub use instance::{GuestError, PluginInstance};
pub use package::{MANIFEST_SECTION, Package, PackageError, pack};
