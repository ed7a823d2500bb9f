//! The live backend against a real API server, where the programs of the lab are on this machine.

mod bench;
mod evictions;
mod logins;
mod objects;
mod server;
mod waits;

use anyhow::Result;

use bench::Bench;
use server::{Programs, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_backend_on_a_real_api_server() -> Result<()> {
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(missing) => {
            eprintln!("left out: {missing:#}; `cargo xtask lab up` brings the programs");
            return Ok(());
        }
    };
    let server = tokio::task::spawn_blocking(|| Server::start(programs)).await??;
    let mut bench = Bench::new(server)?;
    objects::the_server_says_what_it_serves(&bench).await?;
    objects::apply_names_who_owns_what_it_wants(&bench).await?;
    objects::fields_are_taken_over_from_client_side_apply(&bench).await?;
    objects::what_is_created_says_by_which_effect(&bench).await?;
    objects::preconditions_hold(&bench).await?;
    objects::secrets_are_put_in_at_the_last_moment(&bench).await?;
    objects::a_thousand_objects_come_page_by_page(&bench).await?;
    objects::who_may_not_is_told_so(&bench).await?;
    logins::every_login_leads_in(&bench).await?;
    waits::a_wait_ends_when_its_condition_holds(&bench).await?;
    waits::custom_kinds_are_found_and_lost(&bench).await?;
    evictions::a_budget_is_named_obeyed_and_waited_for(&bench).await?;
    evictions::two_budgets_are_never(&bench).await?;
    evictions::a_pod_that_stays_is_told(&bench).await?;
    waits::a_restart_of_the_server_stops_nothing(&mut bench).await?;
    waits::a_server_that_is_away_is_unreachable(&mut bench).await
}
