//! What the guests of the tests share: a plugin whose `backup` is one function.

pub use runner_plugin_sdk as sdk;

/// Makes a function of the invocation the plugin's `backup`; its other operations do nothing.
#[macro_export]
macro_rules! guest {
    ($backup:path) => {
        struct Guest;

        impl $crate::sdk::Operations for Guest {
            fn backup(invocation: $crate::sdk::Invocation) -> Result<$crate::sdk::Report, $crate::sdk::Problem> {
                $backup(&invocation)
            }

            fn update(_: $crate::sdk::Invocation) -> Result<$crate::sdk::Report, $crate::sdk::Problem> {
                $crate::done("nothing to update")
            }

            fn backout(_: $crate::sdk::Invocation) -> Result<$crate::sdk::Report, $crate::sdk::Problem> {
                $crate::done("nothing to back out")
            }

            fn verify(
                _: $crate::sdk::Invocation,
                _: $crate::sdk::Depth,
            ) -> Result<$crate::sdk::Verification, $crate::sdk::Problem> {
                Ok($crate::sdk::Checks::new().finish())
            }
        }

        $crate::sdk::export_plugin!(Guest);

        // Only a component exports it; natively it would look unused.
        const _: fn($crate::sdk::Invocation) -> Result<$crate::sdk::Report, $crate::sdk::Problem> =
            <Guest as $crate::sdk::Operations>::backup;
    };
}

/// A report of something that changed nothing.
///
/// # Errors
/// Never; it is what an operation answers.
pub fn done(summary: &str) -> Result<sdk::Report, sdk::Problem> {
    Ok(sdk::ReportBuilder::new().finish(summary))
}
