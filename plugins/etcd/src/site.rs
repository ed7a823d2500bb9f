//! The members of the cluster: what their hosts' configuration says of them, and what they say of themselves.

use std::collections::BTreeMap;

use runner_plugin_sdk::api::exec::Output;
use runner_plugin_sdk::api::{clock, systemd};
use runner_plugin_sdk::{
    Answers, Failure, FailureKind, Finding, HostInfo, Invocation, Problem, exec, files, finding, refused, units,
};

use crate::config::Config;
use crate::etcdctl::{self, Etcdctl, Status};
use crate::parameters::Settings;
use crate::version::{Minor, Version};
use crate::view::{Seen, View};

/// Milliseconds between two looks at a cluster that is to become healthy. etcd offers nothing to watch for that.
const INTERVAL: u32 = 1000;

/// A host whose configuration is not known.
#[derive(Debug)]
pub enum Missing {
    /// It has none that can be used.
    Unusable(Finding),
    /// It does not say.
    Silent(String, Failure),
}

impl Missing {
    /// The host, and why its configuration is not known.
    pub fn parts(&self) -> (&str, &str) {
        match self {
            Self::Unusable(finding) => (&finding.subject, &finding.message),
            Self::Silent(host, failure) => (host, &failure.message),
        }
    }
}

/// Whether a failure is about what was asked and not about whom: it would be the same everywhere and later.
pub fn is_about_the_question(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Denied(_) | FailureKind::Invalid | FailureKind::Unsupported)
}

/// A host of the step with the member on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Name of the host.
    pub host: String,
    /// What the configuration file says.
    pub config: Config,
    /// Where `etcdctl` on that host reaches the member.
    pub endpoint: String,
}

/// The hosts of a step and how etcd is installed on them.
#[derive(Debug, Clone)]
pub struct Site {
    /// One per host, in inventory order.
    pub seats: Vec<Seat>,
    /// How it is installed.
    pub settings: Settings,
}

impl Site {
    /// Reads the configuration on every host. A host that does not answer, or has none that can be used, ends it.
    pub fn read(invocation: &Invocation, settings: Settings) -> Result<Self, Problem> {
        if invocation.target.hosts.is_empty() {
            return Err(refused(
                "no-members",
                "target",
                "the step names no host, so there is no member of etcd to work on",
            ));
        }
        let (site, missing) = Self::read_where_possible(invocation, settings)?;
        let mut findings = Vec::new();
        for missing in missing {
            match missing {
                Missing::Unusable(finding) => findings.push(finding),
                Missing::Silent(_, failure) => return Err(failure.into()),
            }
        }
        if findings.is_empty() { Ok(site) } else { Err(Problem::Refused(findings)) }
    }

    /// Reads the configuration wherever that is possible, and says where it is not. Only a denial ends it.
    pub fn read_where_possible(invocation: &Invocation, settings: Settings) -> Result<(Self, Vec<Missing>), Failure> {
        let mut seats = Vec::new();
        let mut missing = Vec::new();
        let hosts = &invocation.target.hosts;
        let refs: Vec<_> = hosts.iter().map(|host| files::at(&host.name, &settings.config)).collect();
        for (host, answer) in hosts.iter().zip(files::read_text_each(&refs)) {
            let text = match answer {
                Ok(text) => text,
                Err(failure) if is_about_the_question(&failure) => return Err(failure),
                Err(failure) => {
                    missing.push(Missing::Silent(host.name.clone(), failure));
                    continue;
                }
            };
            match Seat::new(host, text.as_deref(), &settings) {
                Ok(seat) => seats.push(seat),
                Err(finding) => missing.push(Missing::Unusable(finding)),
            }
        }
        Ok((Self { seats, settings }, missing))
    }

    /// Names of the hosts.
    pub fn hosts(&self) -> Vec<String> {
        self.seats.iter().map(|seat| seat.host.clone()).collect()
    }

    /// `etcdctl` at a seat.
    pub fn etcdctl<'a>(&'a self, seat: &'a Seat) -> Etcdctl<'a> {
        Etcdctl { host: &seat.host, endpoint: &seat.endpoint, tls: &self.settings.tls, unit: &self.settings.unit }
    }

    /// `etcdctl` on a host of the site.
    pub fn etcdctl_on<'a>(&'a self, host: &str) -> Option<Etcdctl<'a>> {
        self.seats.iter().find(|seat| seat.host == host).map(|seat| self.etcdctl(seat))
    }

    /// Asks every member for health and status, and one that is healthy for members and alarms. What does not answer is
    /// part of the view; only a host that refuses the question itself (a denial) is a failure.
    pub fn look(&self, expected: &Expected) -> Result<View, Failure> {
        let mut commands = Vec::new();
        for seat in &self.seats {
            let etcdctl = self.etcdctl(seat);
            commands.push(etcdctl.health());
            commands.push(etcdctl.status(expected.statuses.get(&seat.host).cloned()));
        }
        let mut answers = exec::run(commands).into_iter();
        let mut seen = Vec::new();
        for seat in &self.seats {
            let health = said(answers.next(), etcdctl::health)?;
            let status = said(answers.next(), etcdctl::status)?;
            seen.push(Seen {
                host: seat.host.clone(),
                name: seat.config.name.clone(),
                health: match health {
                    Ok(health) if health.health => Ok(()),
                    Ok(health) => Err(health.error),
                    Err(why) => Err(why),
                },
                status,
            });
        }
        let speaker =
            seen.iter().find(|seen| seen.health.is_ok()).or_else(|| seen.iter().find(|seen| seen.status.is_ok()));
        let Some(etcdctl) = speaker.and_then(|seen| self.etcdctl_on(&seen.host)) else {
            let why = "no member answers".to_owned();
            return Ok(View { seen, members: Err(why.clone()), alarms: Err(why) });
        };
        let mut answers = exec::run([etcdctl.members(), etcdctl.alarms()]).into_iter();
        Ok(View {
            members: said(answers.next(), etcdctl::members)?,
            alarms: said(answers.next(), etcdctl::alarms)?,
            seen,
        })
    }

    /// Looks until `missing` says that nothing is missing, and answers the last view with what is still missing.
    pub fn look_until(
        &self,
        seconds: u32,
        expected: &Expected,
        missing: impl Fn(&View) -> Vec<String>,
    ) -> Result<(View, Vec<String>), Failure> {
        let limit = seconds.saturating_mul(1000);
        let begun = clock::elapsed();
        loop {
            let view = self.look(expected)?;
            let open = missing(&view);
            if open.is_empty() || clock::elapsed().saturating_sub(begun) >= limit {
                return Ok((view, open));
            }
            clock::sleep(INTERVAL);
        }
    }

    /// Starts members that are meant to run and do not: what a stop between two effects leaves behind. True: some were.
    pub fn start_what_should_run(&self, except: &[String]) -> Result<bool, Failure> {
        let unit = self.settings.unit.as_str();
        let down: Vec<_> = units::status(&self.hosts(), &[unit])?
            .into_iter()
            .filter(|(host, status)| {
                !units::is_active(status) && status.file_state == "enabled" && !except.contains(host)
            })
            .map(|(host, _)| host)
            .collect();
        self.start(&down)?;
        Ok(!down.is_empty())
    }

    /// Starts the unit on hosts, side by side: several members may need each other to become ready.
    pub fn start(&self, hosts: &[String]) -> Result<(), Failure> {
        let orders = self.orders(hosts);
        systemd::start(&orders).all().map(|_| ())
    }

    /// Stops the unit on hosts, side by side.
    pub fn stop(&self, hosts: &[String]) -> Result<(), Failure> {
        let orders = self.orders(hosts);
        systemd::stop(&orders).all().map(|_| ())
    }

    fn orders(&self, hosts: &[String]) -> Vec<systemd::UnitOrder> {
        hosts
            .iter()
            .map(|host| systemd::UnitOrder {
                host: host.clone(),
                unit: self.settings.unit.clone(),
                time_out: self.settings.health_timeout.saturating_mul(1000),
            })
            .collect()
    }
}

impl Seat {
    fn new(host: &HostInfo, text: Option<&str>, settings: &Settings) -> Result<Self, Finding> {
        let wrong = |code: &str, message: String| finding(code, host.name.as_str(), message);
        let path = &settings.config;
        let Some(text) = text else {
            return Err(wrong("no-configuration", format!("host {} has no {path} (parameter config)", host.name)));
        };
        let config = Config::parse(text).map_err(|why| {
            wrong("unreadable-configuration", format!("{path} on host {} cannot be read: {why}", host.name))
        })?;
        if let Some(named) = config.data_dir.as_deref().map(|path| path.trim_end_matches('/'))
            && named != settings.data_dir
        {
            return Err(wrong(
                "other-data-directory",
                format!(
                    "{path} on host {} names the data directory {named}, parameter data-dir {}",
                    host.name, settings.data_dir
                ),
            ));
        }
        let scheme = if settings.tls == crate::parameters::Tls::default() { "http" } else { "https" };
        let endpoint = config.endpoint().unwrap_or_else(|| format!("{scheme}://{}:2379", host.address));
        Ok(Self { host: host.name.clone(), config, endpoint })
    }
}

/// What a plan goes on with where it cannot ask: statuses by host.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    statuses: BTreeMap<String, Status>,
}

impl Expected {
    /// Members as they were seen.
    pub fn as_seen(view: &View) -> Self {
        let statuses = view.seen.iter().filter_map(|seen| Some((seen.host.clone(), seen.status.clone().ok()?)));
        Self { statuses: statuses.collect() }
    }

    /// The same, but one member runs another version by then.
    pub fn with_version(mut self, host: &str, version: Version) -> Self {
        if let Some(status) = self.statuses.get_mut(host) {
            status.version = version.to_string();
            if version.minor < Minor::WITH_DOWNGRADE {
                status.storage_version = String::new();
                status.downgrade_info = None;
            }
        }
        self
    }

    /// The same, but everybody's data is in another format by then.
    pub fn with_storage(mut self, storage: &str) -> Self {
        let says = |status: &&mut Status| Minor::parse(&status.version).is_some_and(|own| own >= Minor::WITH_DOWNGRADE);
        for status in self.statuses.values_mut().filter(says) {
            status.storage_version = storage.to_owned();
        }
        self
    }
}

/// What a command said; `Err` inside: it did not say it.
fn said<T>(
    answer: Option<Result<Output, Failure>>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Result<T, String>, Failure> {
    match answer {
        None => Ok(Err("no answer".into())),
        Some(Ok(output)) => {
            let text = exec::stdout(&output)?;
            Ok(read(&text).map_err(|why| last_line(&output.stderr.data).unwrap_or(why)))
        }
        Some(Err(failure)) if is_about_the_question(&failure) => Err(failure),
        Some(Err(failure)) => match failure.kind {
            FailureKind::Failed(ref exit) => Ok(Err(last_line(exit.tail.as_bytes()).unwrap_or(failure.message))),
            _ => Ok(Err(failure.message)),
        },
    }
}

/// The last line of what was said on standard error: etcd's tools end with `Error: …`.
fn last_line(data: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(data);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.trim_start_matches("Error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Tls;
    use runner_plugin_sdk::api::exec::Captured;
    use runner_plugin_sdk::api::types::Exit;
    use runner_plugin_sdk::failure;

    fn settings() -> Settings {
        Settings {
            server_package: "etcd-server".into(),
            client_package: "etcd-client".into(),
            unit: "etcd.service".into(),
            config: "/etc/etcd/etcd.conf.yml".into(),
            data_dir: "/var/lib/etcd".into(),
            tls: Tls::default(),
            health_timeout: 60,
        }
    }

    fn host() -> HostInfo {
        HostInfo { name: "a".into(), address: "192.0.2.1".into(), node: None, groups: vec![], variables: "{}".into() }
    }

    #[test]
    fn the_endpoint_comes_from_the_configuration_and_else_from_the_inventory() {
        let seat = Seat::new(&host(), Some(include_str!("../fixtures/etcd.conf.yml")), &settings()).unwrap();
        assert_eq!(seat.endpoint, "http://10.0.0.11:2379");
        assert_eq!(Seat::new(&host(), Some(""), &settings()).unwrap().endpoint, "http://192.0.2.1:2379");
        let mut tls = settings();
        tls.tls.cacert = Some("/ca".into());
        assert_eq!(Seat::new(&host(), Some(""), &tls).unwrap().endpoint, "https://192.0.2.1:2379");
    }

    #[test]
    fn what_does_not_fit_the_parameters_is_refused_by_name() {
        let code = |text| Seat::new(&host(), text, &settings()).map_err(|finding| finding.code).err();
        assert_eq!(code(None).as_deref(), Some("no-configuration"));
        assert_eq!(code(Some("- x")).as_deref(), Some("unreadable-configuration"));
        assert_eq!(code(Some("data-dir: /srv/etcd")).as_deref(), Some("other-data-directory"));
        assert_eq!(code(Some("data-dir: /var/lib/etcd/")), None);
    }

    #[test]
    fn silence_is_part_of_the_view_and_a_denial_is_not() {
        let output = |stdout: &str, stderr: &str| Output {
            code: 1,
            stdout: Captured { data: stdout.into(), dropped: 0 },
            stderr: Captured { data: stderr.into(), dropped: 0 },
            unseen: false,
        };
        let read = |text: &str| {
            if text.is_empty() { Err("empty".to_owned()) } else { Ok(text.len()) }
        };
        let said = |answer| said(Some(answer), read);
        assert_eq!(said(Ok(output("abc", ""))), Ok(Ok(3)));
        let spoken = "{\"level\":\"warn\"}\nError: unhealthy cluster\n";
        assert_eq!(said(Ok(output("", spoken))), Ok(Err("unhealthy cluster".into())));
        assert_eq!(said(Ok(output("", ""))), Ok(Err("empty".into())));
        let exit = Exit { code: Some(1), signal: None, tail: "Error: context deadline exceeded\n".into() };
        let failed = failure(FailureKind::Failed(exit), "a", "etcdctl ended with 1");
        assert_eq!(said(Err(failed)), Ok(Err("context deadline exceeded".into())));
        assert_eq!(said(Err(failure(FailureKind::Unreachable, "a", "no route"))), Ok(Err("no route".into())));
        assert!(said(Err(failure(FailureKind::Invalid, "a", "x"))).is_err());
    }

    #[test]
    fn a_plan_goes_on_with_what_the_next_look_should_show() {
        let status = etcdctl::status(include_str!("../fixtures/status-3.6.json")).unwrap();
        let view = View {
            seen: vec![Seen { host: "a".into(), name: "m1".into(), health: Ok(()), status: Ok(status) }],
            members: Ok(vec![]),
            alarms: Ok(vec![]),
        };
        let expected = Expected::as_seen(&view).with_storage("3.5.0");
        assert_eq!(expected.statuses["a"].storage_version, "3.5.0");
        let expected = expected.with_version("a", Version::parse("3.5.35").unwrap());
        assert_eq!(expected.statuses["a"].version, "3.5.35");
        assert_eq!(expected.statuses["a"].storage_version, "");
    }
}
