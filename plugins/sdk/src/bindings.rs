//! Bindings of the contract in `wit/`, generated. A plugin component may only declare the exports it has, so each
//! optional export is a world of its own and its macro puts that world into the plugin's binary.
#![allow(missing_docs, reason = "generated; documented in wit/")]
#![allow(unsafe_code, reason = "generated calls across the component boundary")]
#![allow(unreachable_pub, reason = "generated")]
#![allow(clippy::all, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_operations",
    default_bindings_module: "runner_plugin_sdk::bindings",
    additional_derives: [PartialEq],
    generate_all,
});

/// The world that only exports `maintenance`.
pub mod maintenance {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package runner:sdk-maintenance;
            world with-maintenance { export runner:plugin/maintenance@0.1.0; }
        ",
        pub_export_macro: true,
        export_macro_name: "export_maintenance",
        default_bindings_module: "runner_plugin_sdk::bindings::maintenance",
        with: { "runner:plugin/types@0.1.0": super::runner::plugin::types },
        generate_all,
    });
}

/// The world that only exports `resolve`.
pub mod resolve {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package runner:sdk-resolve;
            world with-resolve { export runner:plugin/resolve@0.1.0; }
        ",
        pub_export_macro: true,
        export_macro_name: "export_resolve",
        default_bindings_module: "runner_plugin_sdk::bindings::resolve",
        with: { "runner:plugin/types@0.1.0": super::runner::plugin::types },
        generate_all,
    });
}
