//! Hosts of a seed.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::{Names, Size};

/// A host, or a template of hosts.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostSeed {
    /// Templates; a later one wins over an earlier one, the host's own fields over all.
    #[serde(default)]
    pub like: Names,
    /// Address, as the inventory has it.
    #[serde(default)]
    pub address: Option<String>,
    /// Its own name for itself; none: its name here.
    #[serde(default)]
    pub hostname: Option<String>,
    /// `ID` of os-release; none: `debian`.
    #[serde(default)]
    pub os: Option<String>,
    /// `VERSION_ID` of os-release; none: `12`.
    #[serde(default)]
    pub os_version: Option<String>,
    /// Kernel release.
    #[serde(default)]
    pub kernel: Option<String>,
    /// Architecture; none: `x86_64`.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Processors; none: 4.
    #[serde(default)]
    pub processors: Option<u32>,
    /// Memory in MiB; none: 8192.
    #[serde(default)]
    pub memory: Option<u32>,
    /// File systems by mount point; none: `/` with 40 GiB.
    #[serde(default)]
    pub disks: IndexMap<String, DiskSeed>,
    /// Installed packages and their versions.
    #[serde(default)]
    pub packages: IndexMap<String, String>,
    /// Packages on hold.
    #[serde(default)]
    pub held: Vec<String>,
    /// Units that no package brings, or that are not as their package would leave them.
    #[serde(default)]
    pub units: IndexMap<String, UnitSeed>,
    /// Files by path.
    #[serde(default)]
    pub files: IndexMap<String, FileSeed>,
    /// First `here` of components, by component.
    #[serde(default)]
    pub components: IndexMap<String, Value>,
    /// Lines of the system journal by unit.
    #[serde(default)]
    pub journal: IndexMap<String, Vec<String>>,
}

impl HostSeed {
    /// This host with what it does not say itself taken from `base`.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        fn maps<V>(own: IndexMap<String, V>, mut base: IndexMap<String, V>) -> IndexMap<String, V> {
            base.extend(own);
            base
        }
        let mut held = base.held;
        held.extend(self.held);
        Self {
            like: self.like,
            address: self.address.or(base.address),
            hostname: self.hostname.or(base.hostname),
            os: self.os.or(base.os),
            os_version: self.os_version.or(base.os_version),
            kernel: self.kernel.or(base.kernel),
            architecture: self.architecture.or(base.architecture),
            processors: self.processors.or(base.processors),
            memory: self.memory.or(base.memory),
            disks: maps(self.disks, base.disks),
            packages: maps(self.packages, base.packages),
            held,
            units: maps(self.units, base.units),
            files: maps(self.files, base.files),
            components: maps(self.components, base.components),
            journal: maps(self.journal, base.journal),
        }
    }
}

/// A unit as it is at first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UnitSeed {
    /// `active`, `inactive` or `failed`; none: active if enabled.
    #[serde(default)]
    pub active: Option<String>,
    /// Whether it is enabled; none: as its package has it, else yes.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Drop-ins by file name.
    #[serde(default)]
    pub drop_ins: IndexMap<String, String>,
}

/// A file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DiskSeed {
    /// All of it.
    pub size: Size,
    /// What is used beside the files of the seed.
    pub used: Size,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct DiskFields {
    size: Size,
    #[serde(default)]
    used: Size,
}

impl<'de> Deserialize<'de> for DiskSeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_fields(deserializer, "a size, or an object with `size` and `used`", |text| {
            Size::parse(text).map(|size| DiskFields { size, used: Size(0) })
        })
        .map(|fields: DiskFields| Self { size: fields.size, used: fields.used })
    }
}

impl JsonSchema for DiskSeed {
    fn schema_name() -> Cow<'static, str> {
        "DiskSeed".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either("A file system: its size, or an object.", DiskFields::json_schema(generator))
    }
}

/// A file, directory or symbolic link: its text, or an object that says more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileSeed {
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its size, when the content does not matter and is made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// It is a directory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub directory: bool,
    /// It is a symbolic link to this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Mode in octal: `0600`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Owner; none: root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group; none: root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A file.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct FileFields {
    /// Its text.
    text: Option<String>,
    /// Its size, when the content does not matter and is made up.
    size: Option<Size>,
    /// It is a directory.
    directory: bool,
    /// It is a symbolic link to this path.
    link: Option<String>,
    /// Mode in octal.
    mode: Option<String>,
    /// Owner; none: root.
    owner: Option<String>,
    /// Group; none: root.
    group: Option<String>,
}

impl<'de> Deserialize<'de> for FileSeed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields: FileFields = text_or_fields(
            deserializer,
            "a file's text, or an object with `text`, `size`, `directory` or `link`",
            |text| Ok(FileFields { text: Some(text.to_owned()), ..FileFields::default() }),
        )?;
        if let Some(mode) = &fields.mode
            && u32::from_str_radix(mode, 8).is_err()
        {
            return Err(de::Error::custom(format!("mode {mode:?} is not octal, such as `0644`")));
        }
        Ok(Self {
            text: fields.text,
            size: fields.size,
            directory: fields.directory,
            link: fields.link,
            mode: fields.mode,
            owner: fields.owner,
            group: fields.group,
        })
    }
}

impl JsonSchema for FileSeed {
    fn schema_name() -> Cow<'static, str> {
        "FileSeed".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either("A file: its text, or an object.", FileFields::json_schema(generator))
    }
}

fn either(description: &str, object: Schema) -> Schema {
    schemars::json_schema!({"description": description, "anyOf": [{"type": "string"}, object]})
}

/// Deserialises text or an object; errors inside the object keep their place.
fn text_or_fields<'de, D, T>(
    deserializer: D,
    expecting: &'static str,
    from_text: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Visitor<T> {
        expecting: &'static str,
        from_text: fn(&str) -> Result<T, String>,
    }
    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expecting)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.from_text)(text).map_err(E::custom)
        }
        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(de::value::MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_any(Visitor { expecting, from_text })
}
