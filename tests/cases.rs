//! One test for each folder in `cases/`.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use runner_tests::{Case, folders};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match folders() {
        Ok(folders) => folders.into_iter().map(|folder| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Trial::test(name, move || {
                let check = || Case::read(&folder)?.check(&folder);
                check().map_err(|error: anyhow::Error| Failed::from(format!("{error:#}")))
            })
        }),
        Err(error) => {
            eprintln!("the cases cannot be listed: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
