//! Finds things in the items of functions: where an item takes effect, which secrets it carries.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use wit_parser::{Type, TypeDefKind};

use super::{Generator, camel, snake};

impl Generator<'_> {
    /// Where an item of this type is, as an expression over `value`: the first host or cluster found in it.
    pub(super) fn place(&self, ty: &Type, value: &str, depth: usize) -> Result<Option<String>> {
        let Type::Id(id) = ty else { return Ok(None) };
        ensure!(depth < 8, "items nest too deep");
        match self.alias_name(*id) {
            Some("host-name") => return Ok(Some(format!("Place::Host({value}.clone())"))),
            Some("cluster-name") => return Ok(Some(format!("Place::Cluster({value}.clone())"))),
            _ => {}
        }
        match &self.origin(*id).kind {
            TypeDefKind::Record(record) => {
                for field in &record.fields {
                    let path = format!("{value}.{}", snake(&field.name));
                    if let Some(found) = self.place(&field.ty, &path, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            TypeDefKind::Option(inner) => Ok(self
                .place(inner, "inner", depth + 1)?
                .map(|found| format!("match &{value} {{ Some(inner) => {found}, None => Place::Runner }}"))),
            TypeDefKind::Variant(variant) => {
                let mut arms = String::new();
                let mut any = false;
                for case in &variant.cases {
                    let found = match &case.ty {
                        Some(ty) => self.place(ty, "inner", depth + 1)?,
                        None => None,
                    };
                    any |= found.is_some();
                    let binding = match (&case.ty, &found) {
                        (Some(_), Some(_)) => "(inner)",
                        (Some(_), None) => "(_)",
                        (None, _) => "",
                    };
                    write!(
                        arms,
                        "{}::{}{binding} => {}, ",
                        self.rust(ty)?,
                        camel(&case.name),
                        found.unwrap_or_else(|| "Place::Runner".to_owned())
                    )?;
                }
                Ok(any.then(|| format!("match &{value} {{ {arms} }}")))
            }
            _ => Ok(None),
        }
    }

    /// Statements that put the handle of every secret in `value` into `handles`; none: the type has no place for one.
    pub(super) fn handles(&self, ty: &Type, value: &str, depth: usize) -> Result<Option<String>> {
        let Type::Id(id) = ty else { return Ok(None) };
        ensure!(depth < 8, "items nest too deep");
        if self.alias_name(*id) == Some("secret") {
            return Ok(Some(format!("handles.push({value}.as_str()); ")));
        }
        let inner = |ty: &Type| self.handles(ty, "inner", depth + 1);
        let mut statements = String::new();
        match &self.origin(*id).kind {
            TypeDefKind::Record(record) => {
                for field in &record.fields {
                    let path = format!("{value}.{}", snake(&field.name));
                    statements.extend(self.handles(&field.ty, &path, depth + 1)?);
                }
            }
            TypeDefKind::Option(ty) => {
                statements.extend(inner(ty)?.map(|found| format!("if let Some(inner) = &{value} {{ {found} }} ")));
            }
            TypeDefKind::List(ty) => {
                statements.extend(inner(ty)?.map(|found| format!("for inner in &{value} {{ {found} }} ")));
            }
            TypeDefKind::Variant(variant) => {
                let name = self.rust(ty)?;
                for case in &variant.cases {
                    if let Some(found) = case.ty.as_ref().map(inner).transpose()?.flatten() {
                        write!(statements, "if let {name}::{}(inner) = &{value} {{ {found} }} ", camel(&case.name))?;
                    }
                }
            }
            _ => {}
        }
        Ok(Some(statements).filter(|statements| !statements.is_empty()))
    }

    /// Whether an answer of this type is a secret's handle.
    pub(super) fn is_handle(&self, ty: &Type) -> bool {
        matches!(ty, Type::Id(id) if self.alias_name(*id) == Some("secret"))
    }

    /// What stands as a text of its own for a case of an enum, or for one of a variant that carries nothing.
    pub(super) fn words(&self) -> Vec<&str> {
        let mut words = Vec::new();
        for (_, definition) in &self.resolve.types {
            match &definition.kind {
                TypeDefKind::Enum(cases) => words.extend(cases.cases.iter().map(|case| case.name.as_str())),
                TypeDefKind::Variant(variant) => {
                    let bare = variant.cases.iter().filter(|case| case.ty.is_none());
                    words.extend(bare.map(|case| case.name.as_str()));
                }
                _ => {}
            }
        }
        words.sort_unstable();
        words.dedup();
        words
    }
}
