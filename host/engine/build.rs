//! Makes the Rust side of the plugin contract from `wit/`.
//!
//! Three files come out: `contract.rs` (types, one marker type a function, one backend trait an interface), `link.rs`
//! (what puts the functions into a linker) and `contract.wasm` (the contract as a component of types alone, which plugins
//! are compared with). So each function stands in one place, its WIT text, and the gate needs no wrapper for it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use wit_parser::{Docs, Function, Interface, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner};

#[path = "build/items.rs"]
mod items;

/// Interfaces whose functions are the plugin's, not the host's.
const EXPORTS: [&str; 3] = ["operations", "maintenance", "resolve"];

fn main() -> Result<()> {
    // Asked when it runs: what was compiled may have been moved.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context("cargo names no folder")?;
    let wit = Path::new(&here).join("../../wit");
    println!("cargo:rerun-if-changed={}", wit.display());
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).with_context(|| format!("reading {}", wit.display()))?;
    let generator = Generator { resolve: &resolve };
    let interfaces: Vec<(&String, &InterfaceId)> = resolve.packages[package].interfaces.iter().collect();

    let mut contract = String::new();
    let mut link = String::new();
    let mut names = Vec::new();
    for (name, id) in &interfaces {
        let interface = &resolve.interfaces[**id];
        generator.interface(&mut contract, name, interface)?;
        if !interface.functions.is_empty() && !EXPORTS.contains(&name.as_str()) {
            generator.link(&mut link, name, interface)?;
            names.extend(interface.functions.keys().map(|f| format!("{name}.{f}")));
        }
    }
    let package_name = &resolve.packages[package].name;
    let version = package_name.version.as_ref().context("the WIT package has no version")?;
    generator.backend(&mut contract, &interfaces)?;
    writeln!(contract, "/// Version of the contract that this host serves.")?;
    writeln!(contract, "pub const API_VERSION: &str = \"{version}\";")?;
    writeln!(contract, "/// Every function that a plugin may import, `interface.function`.")?;
    writeln!(contract, "pub const FUNCTIONS: &[&str] = &{names:?};")?;
    writeln!(contract, "/// Texts that stand for a case of an enum or variant, sorted.")?;
    writeln!(contract, "pub(crate) const WORDS: &[&str] = &{:?};", generator.words())?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    std::fs::write(out.join("contract.rs"), contract)?;
    std::fs::write(out.join("contract.wasm"), wit_component::encode(&resolve, package)?)?;
    std::fs::write(
        out.join("link.rs"),
        format!(
            "/// Puts every function of the contract into the linker.\n\
             ///\n/// # Errors\n/// When a name is in the linker already.\n\
             pub(super) fn link<T: Calls>(linker: &mut wasmtime::component::Linker<T>) -> wasmtime::Result<()> {{\n{link}    Ok(())\n}}\n"
        ),
    )?;
    Ok(())
}

struct Generator<'a> {
    resolve: &'a Resolve,
}

/// How a function's arguments become items and its result an answer.
enum Form {
    /// `func(list<item>) -> list<result<answer, failure>>`
    Batch { item: Type, answer: Option<Type> },
    /// One question, one answer that may be a failure.
    Fallible { answer: Option<Type> },
    /// One question, one answer.
    Plain { answer: Option<Type> },
}

impl Generator<'_> {
    fn interface(&self, out: &mut String, name: &str, interface: &Interface) -> Result<()> {
        docs(out, &interface.docs, "");
        writeln!(
            out,
            "pub mod {} {{\n    #[allow(unused_imports, reason = \"not every interface needs all\")]\n    use super::*;",
            snake(name)
        )?;
        let own = interface.types.values().any(|id| self.is_own(*id));
        if own {
            // In a module of their own: a function may be called like a trait that a derive needs (`copy`, `send`).
            writeln!(
                out,
                "    pub use items::*;\n    mod items {{\n    #[allow(unused_imports, reason = \"not every interface needs all\")]\n    use super::super::{{ComponentType, Deserialize, Lift, Lower, Serialize}};"
            )?;
            for (type_name, id) in &interface.types {
                self.type_definition(out, type_name, *id)?;
            }
            writeln!(out, "    }}")?;
        }
        if !interface.functions.is_empty() && !EXPORTS.contains(&name) {
            for function in interface.functions.values() {
                self.marker(out, name, function)?;
            }
            self.backend_trait(out, interface)?;
        }
        writeln!(out, "}}")?;
        Ok(())
    }

    /// The trait that names every capability of a backend; what it does not override is unsupported.
    fn backend(&self, out: &mut String, interfaces: &[(&String, &InterfaceId)]) -> Result<()> {
        writeln!(
            out,
            "/// Performs effects at places. A capability that is not overridden is unsupported.\npub trait Backend: Send + Sync {{\n    /// Where paths really are once symbolic links are followed; what does not exist stays as it is from its first\n    /// missing part on. Same order and length as `paths`. A path that cannot be followed is a failure: what was not\n    /// judged is not performed.\n    fn real_paths<'a>(&'a self, _place: &'a Place, paths: Vec<String>) -> futures::future::BoxFuture<'a, Vec<Result<String, types::Failure>>> {{ Box::pin(async move {{ paths.into_iter().map(Ok).collect() }}) }}"
        )?;
        for (name, id) in interfaces {
            if self.resolve.interfaces[**id].functions.is_empty() || EXPORTS.contains(&name.as_str()) {
                continue;
            }
            let module = snake(name);
            writeln!(
                out,
                "    /// Performs `{name}`.\n    fn {module}(&self) -> &dyn {module}::Capability {{ &Unsupported }}"
            )?;
        }
        writeln!(out, "}}")?;
        Ok(())
    }

    fn type_definition(&self, out: &mut String, name: &str, id: TypeId) -> Result<()> {
        let definition = &self.resolve.types[id];
        let camel = camel(name);
        match &definition.kind {
            TypeDefKind::Type(target) => {
                if !self.is_own(id) {
                    return Ok(()); // `use`: named at its origin
                }
                docs(out, &definition.docs, "    ");
                writeln!(out, "    pub type {camel} = {};", self.rust(target)?)?;
            }
            TypeDefKind::Record(record) => {
                docs(out, &definition.docs, "    ");
                derive(out, "record", false);
                writeln!(out, "    pub struct {camel} {{")?;
                for field in &record.fields {
                    docs(out, &field.docs, "        ");
                    self.bytes_attribute(out, &field.ty);
                    writeln!(
                        out,
                        "        #[component(name = \"{}\")]\n        pub {}: {},",
                        field.name,
                        snake(&field.name),
                        self.rust(&field.ty)?
                    )?;
                }
                writeln!(out, "    }}")?;
            }
            TypeDefKind::Variant(variant) => {
                docs(out, &definition.docs, "    ");
                derive(out, "variant", false);
                writeln!(out, "    pub enum {camel} {{")?;
                for case in &variant.cases {
                    docs(out, &case.docs, "        ");
                    let payload = match &case.ty {
                        Some(ty) if self.is_bytes(ty) => {
                            "(#[serde(with = \"crate::contract::bytes\")] Vec<u8>)".to_owned()
                        }
                        Some(ty) => format!("({})", self.rust(ty)?),
                        None => String::new(),
                    };
                    writeln!(
                        out,
                        "        #[component(name = \"{}\")]\n        {}{payload},",
                        case.name,
                        self::camel(&case.name)
                    )?;
                }
                writeln!(out, "    }}")?;
            }
            TypeDefKind::Enum(cases) => {
                docs(out, &definition.docs, "    ");
                derive(out, "enum", true);
                writeln!(out, "    pub enum {camel} {{")?;
                for case in &cases.cases {
                    docs(out, &case.docs, "        ");
                    writeln!(
                        out,
                        "        #[component(name = \"{}\")]\n        {},",
                        case.name,
                        self::camel(&case.name)
                    )?;
                }
                writeln!(out, "    }}")?;
            }
            other => {
                docs(out, &definition.docs, "    ");
                let structure = self.structure(other).with_context(|| format!("type {name}"))?;
                writeln!(out, "    pub type {camel} = {structure};")?;
            }
        }
        Ok(())
    }

    fn marker(&self, out: &mut String, interface: &str, function: &Function) -> Result<()> {
        let name = format!("{interface}.{}", function.name);
        let marker = camel(&function.name);
        let (class, destructive) = effect(&function.docs).with_context(|| name.clone())?;
        let form = self.form(function)?;
        let (item, answer, item_id) = match &form {
            Form::Batch { item, answer } => (self.rust(item)?, self.optional(answer.as_ref())?, Some(*item)),
            Form::Fallible { answer } | Form::Plain { answer } => {
                let answer = self.optional(answer.as_ref())?;
                match function.params.as_slice() {
                    [one] if self.is_record(&one.ty) => (self.rust(&one.ty)?, answer, Some(one.ty)),
                    _ => {
                        self.question(out, &marker, function)?;
                        (format!("{marker}Question"), answer, None)
                    }
                }
            }
        };
        docs(out, &function.docs, "    ");
        writeln!(out, "    #[derive(Debug)]\n    pub struct {marker};")?;
        writeln!(out, "    impl Function for {marker} {{")?;
        writeln!(out, "        type Item = {item};\n        type Answer = {answer};")?;
        writeln!(out, "        const NAME: &'static str = \"{name}\";")?;
        writeln!(out, "        const CLASS: Class = Class::{class};")?;
        writeln!(out, "        const DESTRUCTIVE: bool = {destructive};")?;
        if answer == "crate::contract::types::Artifact" {
            writeln!(out, "        const STORES: bool = true;")?;
        }
        if let Form::Batch { answer: Some(answer), .. } = &form
            && self.is_handle(answer)
        {
            writeln!(out, "        const OPENS: bool = true;")?;
        }
        let place = match item_id.map(|ty| self.place(&ty, "item", 0)) {
            Some(Ok(Some(expression))) => expression,
            Some(Err(error)) => return Err(error),
            _ => "Place::Runner".to_owned(),
        };
        writeln!(
            out,
            "        #[allow(unused_variables, reason = \"some items have no place\")]\n        fn place(item: &Self::Item) -> Place {{ {place} }}"
        )?;
        if let Some(ty) = &item_id
            && let Some(statements) = self.handles(ty, "item", 0)?
        {
            writeln!(
                out,
                "        fn handles(item: &Self::Item) -> Vec<&str> {{ let mut handles = Vec::new(); {statements} handles }}"
            )?;
        }
        if let Some(Type::Id(id)) = item_id
            && let TypeDefKind::Record(record) = &self.origin(id).kind
        {
            if record.fields.iter().any(|f| f.name == "effect") {
                writeln!(out, "        fn class(item: &Self::Item) -> Class {{ Class::from(item.effect) }}")?;
            }
            if record.fields.iter().any(|f| f.name == "key") {
                writeln!(out, "        fn key(item: &Self::Item) -> &str {{ &item.key }}")?;
            }
        }
        let method = snake(&function.name);
        writeln!(
            out,
            "        async fn perform(backend: &dyn Backend, place: &Place, caller: &Caller, items: Vec<Self::Item>) -> Performed<Self::Answer> {{ backend.{}().{method}(place, caller, items).await }}",
            snake(interface)
        )?;
        writeln!(out, "    }}")?;
        Ok(())
    }

    /// A record for a function whose arguments are none.
    fn question(&self, out: &mut String, marker: &str, function: &Function) -> Result<()> {
        writeln!(out, "    /// Arguments of [`{marker}`].")?;
        writeln!(
            out,
            "    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]\n    #[serde(rename_all = \"kebab-case\")]\n    pub struct {marker}Question {{"
        )?;
        for param in &function.params {
            ensure!(
                self.handles(&param.ty, "", 0)?.is_none(),
                "{}: a secret stands in an item's record",
                function.name
            );
            writeln!(
                out,
                "        /// `{}`.\n        pub {}: {},",
                param.name,
                snake(&param.name),
                self.rust(&param.ty)?
            )?;
        }
        writeln!(out, "    }}")?;
        Ok(())
    }

    fn backend_trait(&self, out: &mut String, interface: &Interface) -> Result<()> {
        writeln!(
            out,
            "    /// Performs the functions of this interface at one place.\n    ///\n    /// All items of a call are at that place. Writes go in order and stop at the first failure\n    /// (`not-attempted` for the rest) unless the function says that all run at the same time.\n    #[async_trait::async_trait]\n    pub trait Capability: std::marker::Send + Sync {{"
        )?;
        for function in interface.functions.values() {
            docs(out, &function.docs, "        ");
            let marker = camel(&function.name);
            writeln!(
                out,
                "        async fn {}(&self, place: &Place, caller: &Caller, items: Vec<<{marker} as Function>::Item>) -> Performed<<{marker} as Function>::Answer>;",
                snake(&function.name)
            )?;
        }
        writeln!(out, "    }}\n")?;
        writeln!(out, "    #[async_trait::async_trait]\n    impl Capability for Unsupported {{")?;
        for function in interface.functions.values() {
            let marker = camel(&function.name);
            writeln!(
                out,
                "        async fn {}(&self, place: &Place, _caller: &Caller, items: Vec<<{marker} as Function>::Item>) -> Performed<<{marker} as Function>::Answer> {{ Ok(Unsupported::answers::<{marker}>(place, items.len())) }}",
                snake(&function.name)
            )?;
        }
        writeln!(out, "    }}")?;
        Ok(())
    }

    fn link(&self, out: &mut String, name: &str, interface: &Interface) -> Result<()> {
        let module = snake(name);
        writeln!(
            out,
            "    {{\n        use crate::contract::{module};\n        let mut instance = linker.instance(\"runner:plugin/{name}@{}\")?;",
            self.resolve.packages[interface.package.context("no package")?]
                .name
                .version
                .as_ref()
                .context("no version")?
        )?;
        for function in interface.functions.values() {
            let marker = camel(&function.name);
            let names: Vec<String> = function.params.iter().map(|p| snake(&p.name)).collect();
            let types = function.params.iter().map(|p| self.rust(&p.ty)).collect::<Result<Vec<_>>>()?;
            let body = match self.form(function)? {
                Form::Batch { .. } => {
                    format!("Ok((store.data_mut().call::<{module}::{marker}>({}).await?,))", names[0])
                }
                form => {
                    let item = match function.params.as_slice() {
                        [one] if self.is_record(&one.ty) => names[0].clone(),
                        _ => format!("{module}::{marker}Question {{ {} }}", names.join(", ")),
                    };
                    let call = format!("store.data_mut().call_one::<{module}::{marker}>({item}).await?");
                    match form {
                        Form::Fallible { .. } => format!("Ok(({call},))"),
                        Form::Plain { answer: None } => {
                            format!("{call}.map_err(plain_failure)?; Ok(())")
                        }
                        _ => format!("Ok(({call}.map_err(plain_failure)?,))"),
                    }
                }
            };
            writeln!(
                out,
                "        instance.func_wrap_async(\"{}\", |mut store: wasmtime::StoreContextMut<'_, T>, ({}{}): ({}{})| Box::new(async move {{ {body} }}))?;",
                function.name,
                names.join(", "),
                if names.is_empty() { "" } else { "," },
                types.join(", "),
                if names.is_empty() { "" } else { "," },
            )?;
        }
        writeln!(out, "    }}")?;
        Ok(())
    }

    fn form(&self, function: &Function) -> Result<Form> {
        let result_of = |ty: &Type| -> Option<Option<Type>> {
            let Type::Id(id) = ty else { return None };
            match &self.resolve.types[*id].kind {
                TypeDefKind::Result(result) => Some(result.ok),
                _ => None,
            }
        };
        let list_of = |ty: &Type| -> Option<Type> {
            let Type::Id(id) = ty else { return None };
            match &self.resolve.types[*id].kind {
                TypeDefKind::List(item) => Some(*item),
                _ => None,
            }
        };
        if let Some(result) = &function.result
            && let Some(answer) = list_of(result).as_ref().and_then(result_of)
        {
            ensure!(function.params.len() == 1, "{}: takes one list", function.name);
            let item = list_of(&function.params[0].ty).with_context(|| format!("{}: takes a list", function.name))?;
            return Ok(Form::Batch { item, answer });
        }
        Ok(match &function.result {
            Some(result) => match result_of(result) {
                Some(answer) => Form::Fallible { answer },
                None => Form::Plain { answer: Some(*result) },
            },
            None => Form::Plain { answer: None },
        })
    }

    /// Whether the type is defined here, not brought in by `use`.
    fn is_own(&self, id: TypeId) -> bool {
        let definition = &self.resolve.types[id];
        match &definition.kind {
            TypeDefKind::Type(Type::Id(other)) => self.resolve.types[*other].owner == definition.owner,
            _ => true,
        }
    }

    fn alias_name(&self, id: TypeId) -> Option<&str> {
        let mut id = id;
        loop {
            let definition = &self.resolve.types[id];
            match &definition.kind {
                TypeDefKind::Type(Type::Id(next)) => id = *next,
                TypeDefKind::Type(_) => return definition.name.as_deref(),
                _ => return None,
            }
        }
    }

    fn origin(&self, id: TypeId) -> &TypeDef {
        let mut definition = &self.resolve.types[id];
        while let TypeDefKind::Type(Type::Id(next)) = &definition.kind {
            definition = &self.resolve.types[*next];
        }
        definition
    }

    fn is_record(&self, ty: &Type) -> bool {
        matches!(ty, Type::Id(id) if matches!(self.origin(*id).kind, TypeDefKind::Record(_)))
    }

    fn is_bytes(&self, ty: &Type) -> bool {
        matches!(ty, Type::Id(id) if matches!(self.origin(*id).kind, TypeDefKind::List(Type::U8)))
    }

    fn bytes_attribute(&self, out: &mut String, ty: &Type) {
        if self.is_bytes(ty) {
            out.push_str("        #[serde(with = \"crate::contract::bytes\")]\n");
        }
    }

    fn optional(&self, ty: Option<&Type>) -> Result<String> {
        ty.map_or_else(|| Ok("()".to_owned()), |ty| self.rust(ty))
    }

    /// The Rust type, as seen from inside any of the modules.
    fn rust(&self, ty: &Type) -> Result<String> {
        Ok(match ty {
            Type::Bool => "bool".into(),
            Type::U8 => "u8".into(),
            Type::U16 => "u16".into(),
            Type::U32 => "u32".into(),
            Type::U64 => "u64".into(),
            Type::S8 => "i8".into(),
            Type::S16 => "i16".into(),
            Type::S32 => "i32".into(),
            Type::S64 => "i64".into(),
            Type::String => "String".into(),
            Type::Id(id) => return self.rust_of(*id),
            other => bail!("{other:?} is not part of the contract"),
        })
    }

    fn rust_of(&self, id: TypeId) -> Result<String> {
        let definition = &self.resolve.types[id];
        if let TypeDefKind::Type(Type::Id(other)) = &definition.kind
            && !self.is_own(id)
        {
            return self.rust_of(*other);
        }
        if let (Some(name), TypeOwner::Interface(owner)) = (&definition.name, definition.owner) {
            let interface = self.resolve.interfaces[owner].name.as_deref().context("an interface without a name")?;
            return Ok(format!("crate::contract::{}::{}", snake(interface), camel(name)));
        }
        self.structure(&definition.kind)
    }

    /// The Rust type of a kind that has no name of its own.
    fn structure(&self, kind: &TypeDefKind) -> Result<String> {
        Ok(match kind {
            TypeDefKind::List(item) => format!("Vec<{}>", self.rust(item)?),
            TypeDefKind::Option(item) => format!("Option<{}>", self.rust(item)?),
            TypeDefKind::Result(result) => {
                format!("Result<{}, {}>", self.optional(result.ok.as_ref())?, self.optional(result.err.as_ref())?)
            }
            TypeDefKind::Tuple(tuple) => {
                let types = tuple.types.iter().map(|t| self.rust(t)).collect::<Result<Vec<_>>>()?;
                format!("({},)", types.join(", "))
            }
            other => bail!("a {} is not part of the contract", other.as_str()),
        })
    }
}

/// Class and destructiveness from the line `Effect: CLASS[, destructive].`
fn effect(docs: &Docs) -> Result<(&'static str, bool)> {
    let text = docs.contents.as_deref().unwrap_or_default();
    let line =
        text.rsplit("Effect: ").next().filter(|_| text.contains("Effect: ")).context("no line `Effect: CLASS.`")?;
    let line = line.split('.').next().unwrap_or_default();
    let (class, rest) = line.split_once(',').unwrap_or((line, ""));
    let class = match class.trim() {
        "none" => "None",
        "read" => "Read",
        "write-idempotent" => "WriteIdempotent",
        "write-once" => "WriteOnce",
        "stated" => "Stated",
        other => bail!("unknown effect class {other:?}"),
    };
    Ok((class, rest.trim() == "destructive"))
}

fn derive(out: &mut String, kind: &str, copy: bool) {
    let copy = if copy { "Copy, Eq, PartialOrd, Ord, Hash, " } else { "" };
    let _ = writeln!(
        out,
        "    #[derive(Debug, Clone, {copy}PartialEq, Serialize, Deserialize, ComponentType, Lift, Lower)]\n    #[component({kind})]\n    #[serde(rename_all = \"kebab-case\")]"
    );
    if kind == "enum" {
        out.push_str("    #[repr(u8)]\n");
    }
}

fn docs(out: &mut String, docs: &Docs, indent: &str) {
    for line in docs.contents.as_deref().unwrap_or("(not documented)").trim().lines() {
        let _ = writeln!(out, "{indent}/// {}", line.replace('[', "\\[").replace(']', "\\]"));
    }
}

fn snake(name: &str) -> String {
    let name = name.replace('-', "_");
    match name.as_str() {
        "type" | "use" | "match" | "where" | "ref" | "move" | "in" => format!("r#{name}"),
        _ => name,
    }
}

fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
        })
        .collect()
}
