//! The cluster's certificate authority and what it signs, made by openssl and kept in the lab's directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::command::output;
use super::site::{Host, Site, write};

/// Days that a certificate is good for.
const DAYS: &str = "3650";
/// Address of the API within the cluster: the first of the network of Services.
const API_SERVICE: &str = "10.96.0.1";

/// The authority.
pub(crate) struct Authority {
    directory: PathBuf,
}

/// What a certificate says of its holder.
struct Holder<'a> {
    /// Name within the cluster.
    name: &'a str,
    /// Group within the cluster, if any.
    group: Option<&'a str>,
    /// Names under which it is asked, as openssl writes them; none: it only asks others.
    served: Vec<String>,
}

impl Authority {
    /// The authority of a lab with everything that it signs; what is there stays.
    pub(crate) fn ensure(site: &Site) -> Result<Self> {
        let authority = Self { directory: site.keys().join("kubernetes") };
        fs::create_dir_all(&authority.directory)
            .with_context(|| format!("cannot create {}", authority.directory.display()))?;
        write(&authority.file("openssl.cnf"), "[req]\ndistinguished_name = name\n[name]\n")?;
        if !authority.file("ca.crt").exists() {
            let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
            let extensions = extensions.map(str::to_owned);
            authority.make("ca", "/CN=runner-lab", &extensions, false)?;
        }
        let key = authority.file("sa.key");
        if !key.exists() {
            output(
                Command::new("openssl").args(["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out"]).arg(key),
            )?;
        }
        let master = site.master();
        let mut served = names(&master);
        let within =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
        served.extend(within.map(|name| format!("DNS:{name}")));
        served.push(format!("IP:{API_SERVICE}"));
        let client = |name, group| Holder { name, group, served: Vec::new() };
        authority.sign("apiserver", &Holder { name: "kube-apiserver", group: None, served })?;
        authority.sign("apiserver-kubelet-client", &client("kube-apiserver-kubelet-client", Some("system:masters")))?;
        authority.sign("admin", &client("admin", Some("system:masters")))?;
        authority.sign("controller-manager", &client("system:kube-controller-manager", None))?;
        authority.sign("scheduler", &client("system:kube-scheduler", None))?;
        authority.sign("kube-proxy", &client("system:kube-proxy", None))?;
        for node in site.workers() {
            let name = format!("system:node:{}", node.name);
            let holder = Holder { name: &name, group: Some("system:nodes"), served: names(&node) };
            authority.sign(&kubelet(&node), &holder)?;
        }
        Ok(authority)
    }

    /// Where the authority's files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file of the authority.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.file(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn sign(&self, file: &str, holder: &Holder<'_>) -> Result<()> {
        if self.file(&format!("{file}.crt")).exists() {
            return Ok(());
        }
        let group = holder.group.map(|group| format!("/O={group}")).unwrap_or_default();
        let mut extensions =
            vec!["basicConstraints=critical,CA:FALSE".to_owned(), "keyUsage=critical,digitalSignature".to_owned()];
        if holder.served.is_empty() {
            extensions.push("extendedKeyUsage=clientAuth".to_owned());
        } else {
            extensions.push("extendedKeyUsage=serverAuth,clientAuth".to_owned());
            extensions.push(format!("subjectAltName={}", holder.served.join(",")));
        }
        self.make(file, &format!("{group}/CN={}", holder.name), &extensions, true)
    }

    fn make(&self, file: &str, subject: &str, extensions: &[String], signed: bool) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-days", DAYS, "-subj", subject, "-config"]).arg(self.file("openssl.cnf"));
        command.arg("-keyout").arg(self.file(&format!("{file}.key")));
        for extension in extensions {
            command.args(["-addext", extension]);
        }
        if signed {
            command.arg("-CA").arg(self.file("ca.crt")).arg("-CAkey").arg(self.file("ca.key"));
        }
        // The certificate comes last and in one move: where it is, its key is too.
        let new = self.file(&format!("{file}.crt.new"));
        output(command.arg("-out").arg(&new))?;
        fs::rename(&new, self.file(&format!("{file}.crt"))).with_context(|| format!("cannot rename {}", new.display()))
    }
}

/// Name of the files of a node's kubelet.
pub(crate) fn kubelet(node: &Host) -> String {
    format!("kubelet-{}", node.name)
}

/// Names under which a host is asked.
fn names(host: &Host) -> Vec<String> {
    vec![
        format!("DNS:{}", host.name),
        "DNS:localhost".to_owned(),
        format!("IP:{}", host.internal),
        format!("IP:{}", host.address),
        "IP:127.0.0.1".to_owned(),
    ]
}
