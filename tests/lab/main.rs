//! The main job on a real platform: hosts with systemd, sshd and apt, etcd, Kubernetes, Docker. `cargo xtask lab up`
//! makes it; the variable RUNNER_LAB names its directory. What runner says is believed by none of these tests: apt,
//! systemctl, kubectl, etcdctl, docker and HTTP are asked beside it.

mod access;
mod canary;
mod drains;
mod faults;
mod main_job;
mod platform;

use anyhow::Result;
use libtest_mimic::{Arguments, Trial};

use platform::Lab;

/// A test leaves the lab as it found it.
type Test = fn(&Lab) -> Result<()>;

fn main() -> Result<std::process::ExitCode> {
    let mut arguments = Arguments::from_args();
    // There is one lab.
    arguments.test_threads = Some(1);
    let Some(lab) = Lab::find()? else {
        eprintln!(
            "tests on the lab were left out: RUNNER_LAB names none (`cargo xtask lab up`, or `cargo xtask test`)"
        );
        return Ok(libtest_mimic::run(&arguments, Vec::new()).exit_code());
    };
    let tests: [(&str, Test); 12] = [
        ("an_unmanaged_pod_is_refused_before_anything_changes", faults::unmanaged_pod),
        ("a_loopback_resolver_is_refused_before_anything_changes", faults::loopback_resolver),
        ("no_to_the_first_question_changes_nothing", faults::no),
        ("update_and_backout_lose_no_request_and_no_data", main_job::there_and_back),
        ("a_host_that_does_not_answer_is_unreachable_and_no_other_is_blamed", faults::unreachable),
        ("a_host_that_hangs_is_unreachable_after_a_bounded_time", access::hangs),
        ("a_host_key_that_changed_is_a_danger", access::changed_key),
        ("a_password_for_sudo_is_asked_for_used_once_and_never_kept", access::sudo_password),
        ("a_reboot_is_waited_for_as_long_as_was_said", access::reboot),
        ("a_budget_that_allows_nothing_is_named_before_a_drain_and_within_its_time", drains::budgets),
        ("a_stubborn_pod_and_an_api_server_that_restarts_only_delay_a_drain", drains::delays),
        ("a_unit_that_does_not_start_fails_its_node_and_leaves_it_cordoned", faults::broken_unit),
    ];
    let trials = tests.map(|(name, test)| {
        let lab = lab.clone();
        Trial::test(name, move || test(&lab).map_err(|error| format!("{error:?}").into()))
    });
    Ok(libtest_mimic::run(&arguments, trials.into()).exit_code())
}
