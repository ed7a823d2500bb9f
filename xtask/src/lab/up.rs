//! `lab up`: makes what is missing of the lab and starts what does not run. Done twice, it does nothing the second time.

use anyhow::Result;

use super::certificates::Authority;
use super::daemon::Daemon;
use super::hosts::{Hosts, Seen};
use super::keys::Keys;
use super::platform::Platform;
use super::progress::Progress;
use super::release::Releases;
use super::site::{Choice, Site};
use super::{needs, outputs, parts, workloads};

/// Brings the lab up. A new one that fails is removed again unless `keep` is set.
pub(crate) fn up(choice: &Choice, keep: bool) -> Result<()> {
    let progress = Progress::new();
    needs::meet(&progress)?;
    let parts = progress.step("parts", || parts::ensure(&|line| progress.say(line)))?;
    let site = Site::wanted(choice)?;
    let is_new = !outputs::are_complete(&site.out());
    let done = bring(&site, &parts, &progress);
    if done.is_err() && is_new && !keep {
        progress.say("it failed: what was made of the lab is removed (--keep leaves it)");
        if let Err(error) = super::remove(&site, &progress) {
            progress.say(&format!("not all of it could be removed: {error:#}"));
        }
    }
    done?;
    progress.say(&format!("the lab is up; what runner needs of it is in {}", site.out().display()));
    Ok(())
}

fn bring(site: &Site, parts: &parts::Parts, progress: &Progress) -> Result<()> {
    site.save()?;
    needs::watches(site, progress)?;
    let releases = Releases::read(parts)?;
    let keys = Keys::ensure(site)?;
    let authority = Authority::ensure(site)?;
    outputs::access(site, &keys)?;
    outputs::cluster(site, &authority, parts)?;
    let daemon = Daemon::of(site);
    progress.step("container engine", || daemon.start())?;
    let hosts = Hosts { site, daemon: &daemon };
    let seen = Seen { image: &parts.host, folders: vec![(&parts.repository, "/opt/lab-apt")] };
    progress.step("hosts", || hosts.up(&seen, &keys, progress))?;
    let platform = Platform { hosts: &hosts, parts, releases: &releases, authority: &authority };
    progress.step("packages", || platform.packages())?;
    progress.step("etcd", || platform.etcd())?;
    progress.step("control plane", || platform.control_plane())?;
    progress.step("nodes", || platform.nodes())?;
    outputs::runner(site, &keys, &releases)?;
    progress.step("workloads", || workloads::up(&platform))?;
    outputs::facts(site, &keys)
}
