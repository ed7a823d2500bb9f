//! The server's configuration file, as far as this plugin needs it.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

/// What the configuration says. Lists are in the file's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Name of the member.
    pub name: String,
    /// Directory of its data, when named.
    pub data_dir: Option<String>,
    /// Directory of its write-ahead log, when it is apart from the data.
    pub wal_dir: Option<String>,
    /// Where clients are told to go.
    pub advertise_client_urls: Vec<String>,
    /// Where it listens for clients.
    pub listen_client_urls: Vec<String>,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
    /// What tells this cluster from others when it is made.
    pub token: String,
}

impl Config {
    /// Reads the file. Values that are not given are etcd's own defaults.
    ///
    /// # Errors
    /// When it is no YAML, or no mapping. The text says where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields = top_level(text)?;
        let urls = |name: &str| -> Vec<String> {
            let listed = fields.get(name).map(String::as_str).unwrap_or_default();
            let urls = listed.split(',').map(str::trim);
            urls.filter(|url| !url.is_empty()).map(str::to_owned).collect()
        };
        let text = |name: &str| fields.get(name).filter(|value| !value.is_empty()).cloned();
        let mut peer_urls = urls("initial-advertise-peer-urls");
        if peer_urls.is_empty() {
            peer_urls.push("http://localhost:2380".into());
        }
        Ok(Self {
            name: text("name").unwrap_or_else(|| "default".into()),
            data_dir: text("data-dir"),
            wal_dir: text("wal-dir"),
            advertise_client_urls: urls("advertise-client-urls"),
            listen_client_urls: urls("listen-client-urls"),
            peer_urls,
            token: text("initial-cluster-token").unwrap_or_else(|| "etcd-cluster".into()),
        })
    }

    /// Where `etcdctl` on the member's own host reaches it; none when the file says nothing of use.
    pub fn endpoint(&self) -> Option<String> {
        let listening = self
            .listen_client_urls
            .iter()
            .filter(|url| !url.starts_with("unix"))
            .map(|url| url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]"));
        let advertised = self.advertise_client_urls.iter().cloned();
        advertised.chain(listening).next()
    }

    /// The member's part of `--initial-cluster`.
    pub fn initial_cluster(&self) -> String {
        let parts: Vec<String> = self.peer_urls.iter().map(|url| format!("{}={url}", self.name)).collect();
        parts.join(",")
    }
}

/// Plain values of the first document's outermost mapping. Nested ones are passed over.
fn top_level(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut fields = BTreeMap::new();
    let mut depth = 0_usize;
    let mut key: Option<String> = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if depth == 0 && matches!(event, Event::SequenceStart(..)) {
                    return Err("a list stands where settings should".into());
                }
                depth += 1;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                depth -= 1;
                if depth == 1 {
                    key = None;
                }
            }
            Event::Scalar(value, ..) if depth == 1 => match key.take() {
                None => key = Some(value.into_owned()),
                Some(name) => {
                    fields.insert(name, value.into_owned());
                }
            },
            Event::Scalar(value, ..) if depth == 0 && !value.is_empty() => {
                return Err(format!("line {}: text stands where settings should", span.start.line()));
            }
            Event::Alias(_) if depth == 1 => key = None,
            Event::DocumentEnd => break,
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::Alias(_)
            | Event::Scalar(..) => {}
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Config {
        Config::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_file_as_it_is_shipped() {
        let config = parsed(include_str!("../fixtures/etcd.conf.yml"));
        assert_eq!(config.name, "m1");
        assert_eq!(config.data_dir.as_deref(), Some("/var/lib/etcd"));
        assert_eq!(config.wal_dir, None);
        assert_eq!(config.token, "lab");
        assert_eq!(config.endpoint().as_deref(), Some("http://10.0.0.11:2379"));
        assert_eq!(config.initial_cluster(), "m1=http://10.0.0.11:2380");
        assert_eq!(config.listen_client_urls.len(), 2);
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        for text in ["", "# nothing\n", "{}"] {
            let config = parsed(text);
            assert_eq!(config.name, "default");
            assert_eq!(config.token, "etcd-cluster");
            assert_eq!(config.peer_urls, ["http://localhost:2380"]);
            assert_eq!(config.endpoint(), None);
        }
    }

    #[test]
    fn json_is_yaml() {
        let config = parsed(
            r#"{"name": "a", "wal-dir": "/wal", "initial-advertise-peer-urls": "https://a:2380, https://b:2380"}"#,
        );
        assert_eq!(config.wal_dir.as_deref(), Some("/wal"));
        assert_eq!(config.initial_cluster(), "a=https://a:2380,a=https://b:2380");
    }

    #[test]
    fn a_nested_value_does_not_shift_the_next_key() {
        let config = parsed("peer-transport-security: {name: x, list: [a, {b: c}]}\ncors:\n- '*'\nname: right\n");
        assert_eq!(config.name, "right");
        let anchored = parsed("a: &x 1\nb: *x\nname: right\n");
        assert_eq!(anchored.name, "right");
    }

    #[test]
    fn listening_everywhere_is_reached_at_home() {
        let config = parsed("listen-client-urls: unix:///run/etcd.sock,https://0.0.0.0:2379\n");
        assert_eq!(config.endpoint().as_deref(), Some("https://127.0.0.1:2379"));
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for text in ["- a\n- b\n", "just text", "name: [", "name: 'x\n"] {
            assert!(Config::parse(text).is_err(), "{text:?}");
        }
    }
}
