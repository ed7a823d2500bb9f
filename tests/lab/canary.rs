//! The load balancer before the nodes, and somebody who asks the application through it all the time.
//!
//! It does what load balancers do: a request that a node in rotation does not answer, or answers in the application's
//! stead (an ingress controller that has just begun knows no Ingress yet), is passed on to the next node. It is lost when
//! no node in rotation answers it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::platform::Lab;

/// Time between two requests.
const PERIOD: Duration = Duration::from_millis(100);
/// Longest time that a request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests through the nodes in rotation, one every 100 ms, until it is told to end.
pub(crate) struct Canary {
    balancer: Arc<Mutex<BTreeSet<String>>>,
    ending: Arc<AtomicBool>,
    asking: JoinHandle<Count>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// All of them.
    pub(crate) sent: usize,
    /// Those without a proper answer: when (since the beginning), through which addresses, and why.
    pub(crate) lost: Vec<String>,
    /// How often a request was passed on to another node.
    pub(crate) passed_on: usize,
}

impl Canary {
    /// Begins to ask, through all nodes.
    pub(crate) fn begin(lab: &Lab) -> Result<Self> {
        let addresses: Result<BTreeSet<String>> =
            lab.with("node").into_iter().map(|node| Ok(lab.host(node)?.address.clone())).collect();
        let balancer = Arc::new(Mutex::new(addresses?));
        let ending = Arc::new(AtomicBool::new(false));
        let (rotation, end, host) = (Arc::clone(&balancer), Arc::clone(&ending), lab.canary().host.clone());
        let asking = thread::spawn(move || ask(&rotation, &end, &host));
        Ok(Self { balancer, ending, asking })
    }

    /// Takes a node out of rotation: no request goes through it any more.
    pub(crate) fn take_out(&self, address: &str) {
        rotation(&self.balancer).remove(address);
    }

    /// Puts a node back into rotation.
    pub(crate) fn put_back(&self, address: &str) {
        rotation(&self.balancer).insert(address.to_owned());
    }

    /// Ends, and tells what became of the requests.
    pub(crate) fn end(self) -> Result<Count> {
        self.ending.store(true, Ordering::Relaxed);
        let count = self.asking.join().map_err(|_| anyhow::anyhow!("the one who asks panicked"))?;
        ensure!(count.sent > 0, "nothing was asked");
        Ok(count)
    }
}

/// A lock that is held for single insertions and removals cannot be poisoned in the middle of one.
fn rotation(balancer: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    balancer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(balancer: &Mutex<BTreeSet<String>>, ending: &AtomicBool, host: &str) -> Count {
    let begun = Instant::now();
    let mut count = Count::default();
    while !ending.load(Ordering::Relaxed) {
        let turn = Instant::now();
        let addresses: Vec<String> = rotation(balancer).iter().cloned().collect();
        if !addresses.is_empty() {
            let mut failed = Vec::new();
            let begins = count.sent % addresses.len();
            let answered = addresses.iter().cycle().skip(begins).take(addresses.len()).any(|address| {
                let answer = request(address, host);
                failed.extend(answer.as_ref().err().map(|error| format!("{address}: {error:#}")));
                answer.is_ok()
            });
            count.sent += 1;
            count.passed_on += failed.len() - usize::from(!answered);
            if !answered {
                count.lost.push(format!("{:.1} s through {}", begun.elapsed().as_secs_f32(), failed.join(", ")));
            }
        }
        thread::sleep(PERIOD.saturating_sub(turn.elapsed()));
    }
    count
}

/// One request, by HTTP/1.1 as RFC 9112 writes it: the answer must be 200 and whole.
pub(crate) fn request(address: &str, host: &str) -> Result<()> {
    let place = format!("{address}:80").parse().context("no address")?;
    let mut stream = TcpStream::connect_timeout(&place, PATIENCE).context("no connection")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(1 << 20).read_to_end(&mut answer).context("no whole answer")?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 200"), "it answered {status:?}");
    Ok(())
}
