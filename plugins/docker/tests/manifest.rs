//! The manifest says what the plugin's types say.

use runner_plugin_docker::parameters::{Backout, Backup, Update, Verify};
use runner_plugin_sdk::testing::Manifest;

#[test]
fn manifest_and_types_agree() {
    let mut manifest = Manifest::of(env!("CARGO_MANIFEST_DIR"));
    manifest.assert_parameters::<Backup>("backup");
    manifest.assert_parameters::<Update>("update");
    manifest.assert_parameters::<Backout>("backout");
    manifest.assert_parameters::<Verify>("verify");
    manifest.assert_identity("docker", env!("CARGO_PKG_VERSION"), &["backup", "update", "backout", "verify"]);
}
