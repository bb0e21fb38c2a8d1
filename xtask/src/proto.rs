//! Generates `proto/src/generated/` from the `.proto` files, without `protoc`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;

/// The files that `proto/src/generated/` should hold, by name.
pub(crate) fn generate(root: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let dir = root.join("proto");
    let descriptors =
        protox::compile(["externalscaler.proto", "load.proto"], [&dir]).context("compile the proto files")?;
    let out = tempfile::tempdir().context("make a directory for the output")?;
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .compile_fds(descriptors)
        .context("generate Rust from the proto files")?;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(out.path())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, fs::read_to_string(entry.path())?);
    }
    Ok(files)
}
