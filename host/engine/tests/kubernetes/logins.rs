//! The ways in which a kubeconfig logs in.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use runner_engine::backend::live::kubernetes::Kubeconfig;
use runner_engine::contract::{Backend as _, Caller, FailureKind};

use super::bench::{Bench, connected, done, one, place, refused};

/// Makes a CA (`ca.crt`) and a client certificate (`client.crt`, `client.key`) of an administrator in a folder, and one
/// that ended long ago (`old.crt`).
pub(crate) fn certificates(folder: &Path) -> Result<()> {
    let openssl = |arguments: &str| -> Result<()> {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output()?;
        ensure!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -subj /CN=ca -days 2 -keyout ca.key -out ca.crt"))?;
    openssl(&format!("req {key} -subj /O=system:masters/CN=ann -keyout client.key -out client.csr"))?;
    // With an extension it becomes one of version 3.
    std::fs::write(folder.join("extensions"), "keyUsage = digitalSignature\n")?;
    openssl(
        "x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile extensions -out client.crt",
    )?;
    std::fs::write(folder.join("index.txt"), "")?;
    let settings = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\nnew_certs_dir = .\nserial = ca.srl\n\
                    default_md = sha256\npolicy = p\n[p]\ncommonName = supplied\norganizationName = optional\n";
    std::fs::write(folder.join("ca.conf"), settings)?;
    openssl(
        "ca -batch -config ca.conf -cert ca.crt -keyfile ca.key -in client.csr -out old.crt -notext \
         -startdate 200101000000Z -enddate 200102000000Z",
    )
}

/// A kubeconfig whose user logs in like this.
fn file(bench: &Bench, user: &str) -> Result<std::path::PathBuf> {
    let path = bench.server.folder().join("login");
    std::fs::write(&path, bench.server.kubeconfig_text(user))?;
    Ok(path)
}

pub(crate) async fn every_login_leads_in(bench: &Bench) -> Result<()> {
    let folder = bench.server.folder().display();
    let script = bench.server.folder().join("login.sh");
    let credential = "{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"test-token\"}}";
    std::fs::write(&script, format!("#!/bin/sh\necho '{credential}'\n"))?;
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700))?;
    std::fs::write(bench.server.folder().join("token"), "test-token\n")?;
    let users = [
        format!("client-certificate: {folder}/client.crt, client-key: {folder}/client.key"),
        format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, command: {folder}/login.sh}}"
        ),
        format!("tokenFile: {folder}/token"),
    ];
    for user in &users {
        let cluster = connected(&file(bench, user)?)?;
        let asked = cluster.kubernetes().servers(&place(), &Caller::runner(), vec!["main".to_owned()]).await;
        ensure!(done(one(asked)?).context(user.clone())?.ready);
    }
    let path = file(bench, &format!("client-certificate: {folder}/old.crt, client-key: {folder}/client.key"))?;
    let old = Kubeconfig::open(Some(&path), None).err().context("it ended")?.to_string();
    ensure!(old.contains("ended at 2020-01-02T00:00:00Z"), "{old}");

    std::fs::write(&script, "#!/bin/sh\necho secret-of-ann >&2\nexit 3\n")?;
    let cluster = connected(&file(bench, &users[1])?)?;
    let asked = cluster.kubernetes().servers(&place(), &Caller::runner(), vec!["main".to_owned()]).await;
    let failed = refused(one(asked)?)?;
    ensure!(failed.kind == FailureKind::Other("credentials".to_owned()), "{failed:?}");
    ensure!(failed.message.contains("login.sh ended with exit status: 3"), "{failed:?}");
    ensure!(!failed.message.contains("secret-of-ann"), "{failed:?}");

    // A server that another CA vouches for.
    let text = bench.server.kubeconfig_text("token: test-token").replace("certificates/apiserver.crt", "ca.crt");
    std::fs::write(&path, text)?;
    let cluster = connected(&path)?;
    let asked = cluster.kubernetes().servers(&place(), &Caller::runner(), vec!["main".to_owned()]).await;
    let stranger = refused(one(asked)?)?;
    ensure!(
        stranger.message.contains("is not accepted") && stranger.message.contains("certificate-authority"),
        "{stranger:?}"
    );
    Ok(())
}
