//! `lab up`: makes what is missing of the lab and starts what does not run. Done twice, it does nothing the second time.

use std::path::Path;

use anyhow::Result;

use super::daemon::Daemon;
use super::hosts::{Hosts, Seen};
use super::keys::Keys;
use super::needs;
use super::progress::Progress;
use super::site::Site;

pub(crate) fn up(nodes: Option<u8>, prefix: Option<&str>) -> Result<()> {
    let progress = Progress::new();
    needs::meet(&progress)?;
    let site = Site::wanted(nodes, prefix)?;
    site.save()?;
    let daemon = Daemon::of(&site);
    progress.step("starting the lab's container engine", || daemon.start())?;
    let keys = Keys::ensure(&site)?;
    let hosts = Hosts { site: &site, daemon: &daemon };
    let image = Path::new("/var/tmp/lab-parts/rootfs.tar");
    let seen = Seen { image, folders: vec![] };
    progress.step("hosts", || hosts.up(&seen, &keys, &progress))?;
    super::outputs::access(&site, &keys)?;
    Ok(())
}
