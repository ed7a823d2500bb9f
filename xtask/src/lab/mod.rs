//! `cargo xtask lab`: a real platform on this machine. Its hosts are containers with systemd, sshd and packages from an
//! apt repository; on them run etcd, Kubernetes, Docker and what the shipped workflows look after.

mod certificates;
mod command;
mod daemon;
mod files;
mod hosts;
mod keys;
mod mounts;
mod needs;
mod outputs;
mod parts;
mod platform;
mod progress;
mod release;
mod site;
mod status;
mod texts;
mod up;
mod workloads;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use daemon::Daemon;
use hosts::Hosts;
use progress::Progress;
use site::{Choice, Site};

/// What can be done with the lab.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes the lab, or what is missing of it, and starts it.
    Up {
        #[command(flatten)]
        choice: Choice,
        /// Leave what there is of a new lab that fails, to look at it.
        #[arg(long)]
        keep: bool,
    },
    /// Removes the lab: hosts, data, engine. Built parts stay in the cache.
    Down,
    /// Says what of the lab runs, host by host.
    Status,
    /// Opens a shell on a host, by ssh.
    Shell {
        /// The host's name.
        host: String,
        /// A command to run instead.
        #[arg(trailing_var_arg = true)]
        words: Vec<String>,
    },
    /// Builds everything that a lab is made of, into the user's cache, and says where it is.
    Parts,
}

pub(crate) fn command(command: &Command) -> Result<()> {
    match command {
        Command::Up { choice, keep } => up::up(choice, *keep),
        Command::Down => down(),
        Command::Status => status::status(),
        Command::Shell { host, words } => shell(host, words),
        Command::Parts => {
            print!("{}", parts::ensure(&|line| eprintln!("{line}"))?);
            Ok(())
        }
    }
}

/// Why this machine can host no lab; empty: it can.
pub(crate) fn obstacles() -> Result<Vec<String>> {
    let mut obstacles = needs::obstacles();
    obstacles.extend(parts::obstacles()?);
    Ok(obstacles)
}

/// Directory of the lab that stands; an error says how to get one.
pub(crate) fn standing() -> Result<PathBuf> {
    let site = Site::present()?;
    if !outputs::are_complete(&site.out()) {
        bail!("the lab was not brought up to its end: `cargo xtask lab up` goes on");
    }
    Ok(site.directory().to_owned())
}

/// File system of a lab's host, a tar archive: Debian with systemd and sshd, and nothing of the platform.
pub(crate) fn host_image(say: &(dyn Fn(&str) + Sync)) -> Result<PathBuf> {
    parts::ensure_host(say)
}

/// Brings the lab up, does the work with its directory, and removes the lab again if it was not there before.
pub(crate) fn with(work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let was_there = Site::found()?.is_some();
    up::up(&Choice::default(), false)?;
    let site = Site::present()?;
    let done = work(site.directory());
    if !was_there {
        let removed = remove(&site, &Progress::new());
        // What the work says matters more.
        done.and(removed)
    } else {
        done
    }
}

fn down() -> Result<()> {
    let progress = Progress::new();
    let site = match Site::found() {
        Ok(Some(site)) => site,
        Ok(None) => {
            progress.say("there is no lab");
            return Ok(());
        }
        Err(error) => {
            progress.say(&format!("{error:#}"));
            Site::unknown()
        }
    };
    remove(&site, &progress)
}

/// Removes everything but the cache.
fn remove(site: &Site, progress: &Progress) -> Result<()> {
    let daemon = Daemon::of(site);
    let hosts = Hosts { site, daemon: &daemon };
    progress.step("removing the hosts", || {
        // Only it can remove them in order; where it does not start any more, their files are all that is left.
        if daemon.start().is_ok() {
            hosts.remove()?;
        }
        daemon.stop()
    })?;
    Daemon::forget_weight();
    let directory = site.directory();
    mounts::detach_below(directory)?;
    fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}

fn shell(host: &str, words: &[String]) -> Result<()> {
    let site = Site::present()?;
    if !site.names().iter().any(|name| name == host) {
        bail!("the lab has no host {host}; it has {}", site.names().join(", "));
    }
    let error = process::Command::new("ssh").arg("-F").arg(site.out().join("ssh_config")).arg(host).args(words).exec();
    Err(error).context("cannot run ssh")
}
