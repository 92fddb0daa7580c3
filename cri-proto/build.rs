//! Compiles `proto/api.proto` into the wire types and the client, and what is read of containerd's own events; the
//! servers only for the fake runtime.

use std::error::Error;

/// Messages that can carry a secret: their `Debug` is written by hand in `src/redact.rs`.
const SECRET_BEARING: [&str; 3] =
    [".runtime.v1.AuthConfig", ".runtime.v1.KeyValue", ".runtime.v1.ExecSyncResponse"];

fn main() -> Result<(), Box<dyn Error>> {
    let protos = ["proto/api.proto", "proto/containerd_events.proto"];
    for proto in protos {
        println!("cargo:rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(protos, ["proto"])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(std::env::var_os("CARGO_FEATURE_FAKE").is_some())
        .generate_default_stubs(true)
        .btree_map(".")
        .skip_debug(SECRET_BEARING)
        .disable_comments(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
