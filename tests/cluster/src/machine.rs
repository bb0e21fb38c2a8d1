//! The few settings of the machine itself that a kubelet changes, or that several of them need, kept and put back.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::Context as _;

use crate::places::Places;

/// The kernel's settings that every kubelet makes as it starts, and [`WATCHERS`]. They are not part of any namespace.
const SETTINGS: [&str; 6] = [
    WATCHERS,
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
];

/// How many programs of one user may watch files. A kubelet with its containerd takes about ten; a machine allows 128, and
/// everything here is root's.
const WATCHERS: &str = "fs/inotify/max_user_instances";
const ENOUGH_WATCHERS: u32 = 1024;

/// Writes down the settings as they are, then makes room for kubelets.
pub(crate) fn remember(places: &Places) -> anyhow::Result<()> {
    let settings: BTreeMap<_, _> = SETTINGS
        .into_iter()
        .filter_map(|setting| Some((setting, fs::read_to_string(file(setting)).ok()?)))
        .collect();
    let record = record(places);
    fs::write(&record, serde_json::to_string(&settings)?)
        .with_context(|| format!("write {}", record.display()))?;
    let watchers = settings
        .get(WATCHERS)
        .and_then(|value| value.trim().parse::<u32>().ok());
    if watchers.is_some_and(|watchers| watchers < ENOUGH_WATCHERS) {
        let file = file(WATCHERS);
        fs::write(&file, ENOUGH_WATCHERS.to_string()).with_context(|| format!("write {file}"))?;
    }
    Ok(())
}

/// Puts the settings back.
pub(crate) fn restore(places: &Places) -> anyhow::Result<()> {
    let Ok(settings) = fs::read(record(places)) else {
        return Ok(());
    };
    let settings: BTreeMap<String, String> =
        serde_json::from_slice(&settings).context("read the machine's settings")?;
    for (setting, value) in settings {
        let file = file(&setting);
        fs::write(&file, value).with_context(|| format!("write {file}"))?;
    }
    Ok(())
}

fn file(setting: &str) -> String {
    format!("/proc/sys/{setting}")
}

fn record(places: &Places) -> PathBuf {
    places.state().join("machine.json")
}
