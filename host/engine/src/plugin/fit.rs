//! Whether the contract that a component was built against is this host's, function by function and type by type.
//!
//! Components match types exactly: a case or a field more or less, and nothing can be called. Read from the types alone,
//! without compiling.

use std::collections::HashMap;
use std::fmt;

use wasmparser::collections::IndexMap;
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentDefinedType, ComponentDefinedTypeId, ComponentEntityType, ComponentFuncType,
    ComponentInstanceTypeId, ComponentItem, ComponentType, ComponentValType,
};
use wasmparser::names::KebabString;
use wasmparser::types::{Types, TypesRef};
use wasmparser::{Parser, ValidPayload, Validator, WasmFeatures};

use super::package::{Package, PackageError, damaged};
use crate::contract::{API_VERSION, TYPES};

/// The world that has everything.
const WORLD: &str = "plugin-with-all";
/// The one interface that every plugin exports.
const REQUIRED: &str = "operations";
/// Functions that a message names for one reason; of further ones it says how many they are.
const NAMED: usize = 3;

/// A function of a component that is not as this host's contract has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Which: `import files.read`, `export operations.backup`.
    pub function: String,
    /// What is different: `` `problem` lacks the case `declined` ``.
    pub difference: String,
}

/// All functions of a component that are not as this host's contract has them. Shown as one line for each difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Misfits(Vec<Misfit>);

impl Misfits {
    /// Whether everything fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The functions, imports first.
    pub fn iter(&self) -> impl Iterator<Item = &Misfit> {
        self.0.iter()
    }
}

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_difference: Vec<(&str, Vec<&str>)> = Vec::new();
        for misfit in &self.0 {
            match by_difference.iter_mut().find(|(difference, _)| *difference == misfit.difference) {
                Some((_, functions)) => functions.push(&misfit.function),
                None => by_difference.push((&misfit.difference, vec![&misfit.function])),
            }
        }
        for (number, (difference, functions)) in by_difference.iter().enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            let named = functions.get(..NAMED).unwrap_or(functions).join(", ");
            write!(f, "{end}  {named}")?;
            if functions.len() > NAMED {
                write!(f, " and {} more", functions.len() - NAMED)?;
            }
            write!(f, ": {difference}")?;
        }
        Ok(())
    }
}

/// Compares what a component imports and exports of the contract with this host's contract.
///
/// # Errors
/// When the bytes are not a component, or its types are not valid.
pub fn misfits(component: &[u8]) -> Result<Misfits, PackageError> {
    let package = Package::read(component)?;
    let theirs = types(component)?;
    let ours = types(TYPES)?;
    let world = world(ours.as_ref()).ok_or_else(|| PackageError::Damaged("the contract has no world".to_owned()))?;
    let comparison = Comparison { theirs: theirs.as_ref(), ours: ours.as_ref(), names: names(ours.as_ref(), world) };
    let mut found = Vec::new();
    for name in &package.imports {
        let item = comparison.theirs.component_item_for_import(name);
        comparison.interface("import", name, item, &world.imports, &mut found);
    }
    for name in &package.exports {
        let item = comparison.theirs.component_item_for_export(name);
        comparison.interface("export", name, item, &world.exports, &mut found);
    }
    if !package.exports.iter().any(|name| interface(name).is_some_and(|(interface, _)| interface == REQUIRED)) {
        let difference = format!("it is not exported, and every plugin of runner:plugin@{API_VERSION} exports it");
        found.push(Misfit { function: format!("export {REQUIRED}"), difference });
    }
    Ok(Misfits(found))
}

/// Functions of the contract that a component imports, as `interface.function`, in the order of its imports.
///
/// # Errors
/// When the bytes are not a valid component.
pub fn imported_functions(component: &[u8]) -> Result<Vec<String>, PackageError> {
    let package = Package::read(component)?;
    let types = types(component)?;
    let types = types.as_ref();
    let mut functions = Vec::new();
    for import in &package.imports {
        if let Some((interface, _)) = interface(import)
            && let Some(ComponentEntityType::Instance(instance)) =
                types.component_item_for_import(import).map(|item| item.ty)
        {
            functions.extend(functions_of(types, instance).map(|(name, _)| format!("{interface}.{name}")));
        }
    }
    Ok(functions)
}

/// Interface and version of a name of the contract: `runner:plugin/files@0.1.0`.
fn interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("runner:plugin/")?.split_once('@')
}

/// The types of a component. Its code is not looked at.
fn types(component: &[u8]) -> Result<Types, PackageError> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut outermost = None;
    for payload in Parser::new(0).parse_all(component) {
        if let ValidPayload::End(types) = validator.payload(&payload.map_err(damaged)?).map_err(damaged)? {
            outermost = Some(types);
        }
    }
    outermost.ok_or_else(|| PackageError::Damaged("it has no end".to_owned()))
}

/// A WIT package is a component that exports, for each world, a component that exports the world.
fn world(contract: TypesRef<'_>) -> Option<&ComponentType> {
    let ComponentEntityType::Type { referenced: ComponentAnyTypeId::Component(package), .. } =
        contract.component_item_for_export(WORLD)?.ty
    else {
        return None;
    };
    let (_, item) = contract.get(package)?.exports.iter().next()?;
    match item.ty {
        ComponentEntityType::Component(world) => contract.get(world),
        _ => None,
    }
}

/// What the types of a world are called.
fn names<'a>(types: TypesRef<'a>, world: &'a ComponentType) -> HashMap<ComponentDefinedTypeId, &'a str> {
    let mut names = HashMap::new();
    for item in world.imports.values().chain(world.exports.values()) {
        let ComponentEntityType::Instance(instance) = item.ty else { continue };
        for (name, item) in types.get(instance).into_iter().flat_map(|instance| &instance.exports) {
            if let ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(id), .. } = item.ty {
                names.insert(id, name.as_str());
            }
        }
    }
    names
}

fn functions_of(
    types: TypesRef<'_>,
    instance: ComponentInstanceTypeId,
) -> impl Iterator<Item = (&str, &ComponentFuncType)> {
    let exports = types.get(instance).into_iter().flat_map(|instance| &instance.exports);
    exports.filter_map(move |(name, item)| match item.ty {
        ComponentEntityType::Func(function) => Some((name.as_str(), types.get(function)?)),
        _ => None,
    })
}

struct Comparison<'a> {
    theirs: TypesRef<'a>,
    ours: TypesRef<'a>,
    /// What our types are called.
    names: HashMap<ComponentDefinedTypeId, &'a str>,
}

impl Comparison<'_> {
    /// Compares an interface of theirs with that of the same name among ours.
    fn interface(
        &self,
        direction: &str,
        name: &str,
        item: Option<&ComponentItem>,
        ours: &IndexMap<String, ComponentItem>,
        found: &mut Vec<Misfit>,
    ) {
        let Some((interface, version)) = interface(name) else { return };
        let Some(ComponentEntityType::Instance(theirs)) = item.map(|item| item.ty) else { return };
        let ours = ours.get(&format!("runner:plugin/{interface}@{API_VERSION}")).map(|item| item.ty);
        let known: HashMap<&str, &ComponentFuncType> = match ours {
            Some(ComponentEntityType::Instance(ours)) => functions_of(self.ours, ours).collect(),
            _ => HashMap::new(),
        };
        for (function, theirs) in functions_of(self.theirs, theirs) {
            let difference = match known.get(function) {
                _ if version != API_VERSION => {
                    Some(format!("it is of version {version}; this runner has {API_VERSION}"))
                }
                Some(ours) => self.function(theirs, ours),
                // More exports than are asked for do no harm.
                None if direction == "export" => None,
                None => Some("this runner does not have it; a newer one may".to_owned()),
            };
            found.extend(
                difference
                    .map(|difference| Misfit { function: format!("{direction} {interface}.{function}"), difference }),
            );
        }
    }

    fn function(&self, theirs: &ComponentFuncType, ours: &ComponentFuncType) -> Option<String> {
        if theirs.async_ != ours.async_ {
            return Some("it is asynchronous in one of the two".to_owned());
        }
        if theirs.params.len() != ours.params.len() {
            return Some(format!("it takes {} arguments instead of {}", theirs.params.len(), ours.params.len()));
        }
        let arguments = theirs.params.iter().zip(&ours.params);
        arguments
            .map(|((_, theirs), (name, ours))| self.value(*theirs, *ours, &format!("its argument `{name}`")))
            .find_map(|difference| difference)
            .or_else(|| self.optional(theirs.result, ours.result, "its answer"))
    }

    /// The first difference of two types. `place` is what messages call them where they have no name.
    fn value(&self, theirs: ComponentValType, ours: ComponentValType, place: &str) -> Option<String> {
        let named = match ours {
            ComponentValType::Type(id) => self.names.get(&id).map(|name| format!("`{name}`")),
            ComponentValType::Primitive(_) => None,
        };
        let place = named.as_deref().unwrap_or(place);
        let (theirs, ours) = (defined(self.theirs, theirs), defined(self.ours, ours));
        use ComponentDefinedType as T;
        match (&theirs, &ours) {
            (T::Primitive(theirs), T::Primitive(ours)) => {
                (theirs != ours).then(|| format!("{place} is {theirs} instead of {ours}"))
            }
            (T::Record(theirs), T::Record(ours)) => {
                let (their_names, our_names): (Vec<_>, Vec<_>) =
                    (theirs.fields.keys().collect(), ours.fields.keys().collect());
                other_names(place, "field", &their_names, &our_names).or_else(|| {
                    ours.fields.iter().zip(theirs.fields.values()).find_map(|((name, ours), theirs)| {
                        self.value(*theirs, *ours, &format!("the field `{name}` of {place}"))
                    })
                })
            }
            (T::Variant(theirs), T::Variant(ours)) => {
                let (their_names, our_names): (Vec<_>, Vec<_>) =
                    (theirs.cases.keys().collect(), ours.cases.keys().collect());
                other_names(place, "case", &their_names, &our_names).or_else(|| {
                    ours.cases.iter().zip(theirs.cases.values()).find_map(|((name, ours), theirs)| {
                        self.optional(theirs.ty, ours.ty, &format!("the case `{name}` of {place}"))
                    })
                })
            }
            (T::Enum(theirs), T::Enum(ours)) => {
                other_names(place, "case", &theirs.iter().collect::<Vec<_>>(), &ours.iter().collect::<Vec<_>>())
            }
            (T::Flags(theirs), T::Flags(ours)) => {
                other_names(place, "flag", &theirs.iter().collect::<Vec<_>>(), &ours.iter().collect::<Vec<_>>())
            }
            (T::List { element: theirs, .. }, T::List { element: ours, .. }) => {
                self.value(*theirs, *ours, &format!("an element of {place}"))
            }
            (T::Option { ty: theirs, .. }, T::Option { ty: ours, .. }) => self.value(*theirs, *ours, place),
            (T::Result { ok: their_ok, err: their_err, .. }, T::Result { ok: our_ok, err: our_err, .. }) => {
                self.optional(*their_ok, *our_ok, place).or_else(|| {
                    let place = format!("the error in {place}");
                    self.optional(*their_err, *our_err, &place)
                })
            }
            (T::Tuple(theirs), T::Tuple(ours)) if theirs.types.len() == ours.types.len() => theirs
                .types
                .iter()
                .zip(&ours.types)
                .find_map(|(theirs, ours)| self.value(*theirs, *ours, &format!("a part of {place}"))),
            // What the contract does not use counts as different, whatever it is.
            _ => Some(format!("{place} is {} instead of {}", kind(&theirs), kind(&ours))),
        }
    }

    fn optional(
        &self,
        theirs: Option<ComponentValType>,
        ours: Option<ComponentValType>,
        place: &str,
    ) -> Option<String> {
        match (theirs, ours) {
            (Some(theirs), Some(ours)) => self.value(theirs, ours, place),
            (Some(_), None) => Some(format!("{place} holds something, and nothing in this runner's contract")),
            (None, Some(_)) => Some(format!("{place} holds nothing, and something in this runner's contract")),
            (None, None) => None,
        }
    }
}

fn defined(types: TypesRef<'_>, value: ComponentValType) -> ComponentDefinedType {
    match value {
        ComponentValType::Primitive(primitive) => ComponentDefinedType::Primitive(primitive),
        ComponentValType::Type(id) => types[id].clone(),
    }
}

/// How the names of two types' parts differ: what is lacking, what is unknown, or their order.
fn other_names(place: &str, part: &str, theirs: &[&KebabString], ours: &[&KebabString]) -> Option<String> {
    if theirs == ours {
        return None;
    }
    let without = |all: &[&KebabString], known: &[&KebabString]| -> Vec<String> {
        all.iter().filter(|name| !known.contains(name)).map(|name| format!("`{name}`")).collect()
    };
    let (lacking, unknown) = (without(ours, theirs), without(theirs, ours));
    let mut parts = Vec::new();
    if !lacking.is_empty() {
        parts.push(format!("lacks the {part} {}", lacking.join(", ")));
    }
    if !unknown.is_empty() {
        parts.push(format!("has the {part} {}, which this runner does not know", unknown.join(", ")));
    }
    if parts.is_empty() {
        parts.push(format!("has each {part} in another order"));
    }
    Some(format!("{place} {}", parts.join(" and ")))
}

fn kind(ty: &ComponentDefinedType) -> String {
    match ty {
        ComponentDefinedType::Primitive(primitive) => primitive.to_string(),
        ComponentDefinedType::Record(_) => "a record".to_owned(),
        ComponentDefinedType::Variant(_) => "a variant".to_owned(),
        ComponentDefinedType::List { .. } => "a list".to_owned(),
        ComponentDefinedType::Tuple(tuple) => format!("a tuple of {}", tuple.types.len()),
        ComponentDefinedType::Flags(_) => "flags".to_owned(),
        ComponentDefinedType::Enum(_) => "an enumeration".to_owned(),
        ComponentDefinedType::Option { .. } => "optional".to_owned(),
        ComponentDefinedType::Result { .. } => "a result".to_owned(),
        ComponentDefinedType::Map { .. }
        | ComponentDefinedType::FixedLengthList { .. }
        | ComponentDefinedType::Own(_)
        | ComponentDefinedType::Borrow(_)
        | ComponentDefinedType::Future { .. }
        | ComponentDefinedType::Stream { .. } => "of a kind that the contract does not use".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        ComponentBuilder, ComponentExportKind, ComponentTypeRef, ComponentValType as Value, InstanceType,
        PrimitiveValType as Primitive, TypeBounds,
    };

    use super::*;

    /// An interface with one function and the types of its arguments, each under its name.
    struct Written(InstanceType);

    impl Written {
        fn new() -> Self {
            Self(InstanceType::new())
        }

        /// Defines a type, exports it under a name and answers it.
        fn named(&mut self, name: &str, define: impl FnOnce(wasm_encoder::ComponentDefinedTypeEncoder<'_>)) -> Value {
            define(self.0.ty().defined_type());
            let defined = self.0.type_count() - 1;
            self.0.export(name, ComponentTypeRef::Type(TypeBounds::Eq(defined)));
            Value::Type(self.0.type_count() - 1)
        }

        fn list(&mut self, element: Value) -> Value {
            self.0.ty().defined_type().list(element);
            Value::Type(self.0.type_count() - 1)
        }

        fn function(mut self, name: &str, params: &[(&str, Value)], answer: Option<Value>) -> InstanceType {
            self.0.ty().function().params(params.iter().copied()).result(answer);
            let index = self.0.type_count() - 1;
            self.0.export(name, ComponentTypeRef::Func(index));
            self.0
        }
    }

    /// A component that imports this instance, and exports it again as its operations when it is `exported`.
    fn component(import: &str, instance: &InstanceType, exported: bool) -> Vec<u8> {
        let mut component = ComponentBuilder::default();
        let ty = component.type_instance(None, instance);
        let imported = component.import(import, ComponentTypeRef::Instance(ty));
        if exported {
            component.export("runner:plugin/operations@0.1.0", ComponentExportKind::Instance, imported, None);
        }
        component.finish()
    }

    fn log(levels: &[&str], name: &str, value: Primitive) -> InstanceType {
        let mut interface = Written::new();
        let level = interface.named("level", |ty| ty.enum_type(levels.iter().copied()));
        let text = Value::Primitive(Primitive::String);
        let label = interface.named("label", |ty| ty.record([(name, text), ("value", Value::Primitive(value))]));
        let fields = interface.list(label);
        interface.function("write", &[("level", level), ("message", text), ("fields", fields)], None)
    }

    const LOG: &str = "runner:plugin/log@0.1.0";
    const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];

    /// What is said of the imports.
    fn said(component: &[u8]) -> Vec<String> {
        let misfits = misfits(component).unwrap();
        let imports = misfits.iter().filter(|misfit| misfit.function.starts_with("import"));
        imports.map(|misfit| format!("{}: {}", misfit.function, misfit.difference)).collect()
    }

    #[test]
    fn what_is_as_in_the_contract_fits() {
        let log = component(LOG, &log(&LEVELS, "name", Primitive::String), false);
        assert_eq!(said(&log), [""; 0]);
        assert_eq!(imported_functions(&log).unwrap(), ["log.write"]);
    }

    #[test]
    fn each_difference_of_a_type_is_named() {
        let of =
            |levels: &[&str], name: &str, value: Primitive| said(&component(LOG, &log(levels, name, value), false));
        let text = Primitive::String;
        assert_eq!(of(&LEVELS[..3], "name", text), ["import log.write: `level` lacks the case `error`"]);
        assert_eq!(
            of(&["debug", "info", "warn", "fatal"], "name", text),
            [
                "import log.write: `level` lacks the case `error` and has the case `fatal`, which this runner does not know"
            ]
        );
        assert_eq!(
            of(&["info", "debug", "warn", "error"], "name", text),
            ["import log.write: `level` has each case in another order"]
        );
        assert_eq!(
            of(&LEVELS, "key", text),
            [
                "import log.write: `label` lacks the field `name` and has the field `key`, which this runner does not know"
            ]
        );
        assert_eq!(
            of(&LEVELS, "name", Primitive::U32),
            ["import log.write: the field `value` of `label` is u32 instead of string"]
        );
    }

    #[test]
    fn what_the_contract_does_not_have_is_named() {
        let later = Written::new().function("shout", &[], None);
        assert_eq!(
            said(&component(LOG, &later, false)),
            ["import log.shout: this runner does not have it; a newer one may"]
        );
        let newer = component("runner:plugin/log@0.2.0", &log(&LEVELS, "name", Primitive::String), false);
        assert_eq!(said(&newer), ["import log.write: it is of version 0.2.0; this runner has 0.1.0"]);
    }

    #[test]
    fn exports_are_compared_and_one_is_required() {
        let text = Value::Primitive(Primitive::String);
        let operations = Written::new().function("backup", &[("invocation", text)], None);
        let exported = misfits(&component("vendor:own/thing", &operations, true)).unwrap();
        assert_eq!(exported.to_string(), "  export operations.backup: `invocation` is string instead of a record");
        let none = misfits(&component("vendor:own/thing", &operations, false)).unwrap();
        assert!(none.to_string().starts_with("  export operations: it is not exported"), "{none}");
    }

    #[test]
    fn functions_with_the_same_difference_share_a_line() {
        let misfit = |function: &str| Misfit { function: function.to_owned(), difference: "x".to_owned() };
        let misfits = Misfits(["a", "b", "c", "d", "e"].map(misfit).to_vec());
        assert_eq!(misfits.to_string(), "  a, b, c and 2 more: x");
    }
}
