//! `docs/reference/configuration.md`: every flag and environment variable, made of what clap knows of them. Only a test needs
//! it, which compares the committed page, or writes it anew when `cargo xtask gen` runs it.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::{
    cli::Cli,
    commands::{CLUSTER_LOG, LOCAL_LOG},
};

/// The processes that are on the page.
const PROCESSES: [&str; 4] = ["interceptor", "external-scaler", "controller", "local"];

/// What may be written in place of a value's name. An option whose value is none of these is an error.
const VALUES: [(&str, &str); 17] = [
    (
        "BOOL",
        "`true` or `false`; for a flag after `=`: `--gateway=false`",
    ),
    (
        "BYTES",
        "a size in bytes, or with one of the units `Ki`, `Mi`, `Gi`: `65536`, `64Ki`, `256Mi`",
    ),
    ("COUNT", "a whole number, not negative"),
    ("DIRECTORY", "a path"),
    (
        "DURATION",
        "numbers with a unit each, of `ns`, `us`, `ms`, `s`, `m`, `h`: `500ms`, `30s`, `1h30m`. Only `0` may stand without one",
    ),
    ("FILE", "a path"),
    ("FORMAT", "one of the words that the option lists"),
    (
        "IMAGE=COMMAND",
        "a container's image, and the command line in its place",
    ),
    ("INTERCEPTOR OPTIONS", "flags of `rouse interceptor`"),
    ("IP", "an IPv4 or IPv6 address"),
    ("IP:PORT", "`127.0.0.1:8080`, `[::1]:8080`"),
    ("NAME", "the name of an object in Kubernetes"),
    ("NAMESPACE", "the name of a namespace"),
    ("NAMESPACE/NAME", "an object with its namespace"),
    ("NAMESPACES", "names of namespaces, separated by commas"),
    ("PORT", "the number of a port"),
    (
        "SELECTOR",
        "a selector of labels as `kubectl -l` takes it: `tenant=yes,stage!=dev`",
    ),
];

const HEAD: &str = "\
<!-- Generated from the flags' definitions by `cargo xtask gen`; do not edit. -->

# Configuration

Every flag and environment variable of Rouse's processes. A flag wins over its variable, and the variable over the default.
Everything is read once, at start; what cannot be used ends the process with status 64 and one line on standard error that
names it. The Helm chart sets variables; its own values are in [its README](../../charts/rouse/README.md).

Names that begin with `KEDA_` mean what they mean to the KEDA HTTP Add-on where it has them; the page on
[compatibility](compatibility.md) says which defaults are others. `ROUSE_` names are Rouse's own. Options that `--help` does
not list, because they are deprecated or without effect, are here as well.

A meaning begins with what is to be written as the value:

";

/// The whole page.
fn page() -> String {
    let cli = cli();
    let mut page = HEAD.to_owned();
    table(&mut page, ["value", "what is written"]);
    for (name, meaning) in VALUES {
        row(&mut page, [&code(name), meaning]);
    }
    page.push_str("\n## Every process\n\n");
    options(&mut page, cli.get_arguments());
    for process in PROCESSES {
        let command = cli.find_subcommand(process).expect("a command");
        let about = sentence(&command.get_about().unwrap_or_default().to_string());
        _ = write!(page, "\n## `rouse {process}`\n\n{about}\n");
        for heading in headings(command) {
            _ = match heading {
                Some(heading) => write!(page, "\n### {heading}\n\n"),
                None => writeln!(page),
            };
            let members = own_arguments(command).filter(|arg| arg.get_help_heading() == heading);
            options(&mut page, members);
        }
    }
    page.push_str("\n## Variables without a flag\n\n");
    table(&mut page, ["variable", "read by", "default", "meaning"]);
    for cells in other_variables() {
        row(&mut page, cells.each_ref().map(String::as_str));
    }
    page
}

fn cli() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli
}

/// Variables that are read elsewhere than by clap.
fn other_variables() -> [[String; 4]; 5] {
    let filters = format!("{}; `rouse local`: {}", code(CLUSTER_LOG), code(LOCAL_LOG));
    let kubeconfig = "Where the API server is. A process that finds no kubeconfig takes the access of the pod that it is in.";
    let cluster = "interceptor, external-scaler, controller";
    [
        [
            "`RUST_LOG`",
            "every process",
            &filters,
            "Which log lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or several separated by \
             commas, each for a module (`rouse_interceptor=debug`). Unset when empty.",
        ],
        [
            "`NO_COLOR`",
            "every process",
            "",
            "With any value, log lines on a terminal are not coloured. Unset when empty.",
        ],
        ["`KUBECONFIG`", cluster, "`~/.kube/config`", kubeconfig],
        [
            "`POD_NAME`, `HOSTNAME`",
            "controller",
            "`rouse-controller`",
            "Who the replica is in the Lease and in events: the first that is set.",
        ],
        [
            "`XDG_STATE_HOME`",
            "local",
            "`~/.local/state`",
            "Below it is the default of `--log-dir`. Unset unless it is absolute.",
        ],
    ]
    .map(|cells| cells.map(str::to_owned))
}

/// The headings that `--help` has, in its order; `None` is for what has none.
fn headings(command: &Command) -> Vec<Option<&str>> {
    let mut headings = Vec::new();
    for arg in own_arguments(command) {
        let heading = arg.get_help_heading();
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings
}

/// Without those that every command has.
fn own_arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| !arg.is_global_set() && !is_clap_s_own(arg))
}

fn is_clap_s_own(arg: &Arg) -> bool {
    use ArgAction::{Help, HelpLong, HelpShort, Version};
    matches!(arg.get_action(), Help | HelpShort | HelpLong | Version)
}

fn options<'a>(page: &mut String, options: impl Iterator<Item = &'a Arg>) {
    table(page, ["flag", "environment variable", "default", "meaning"]);
    for arg in options.filter(|arg| !is_clap_s_own(arg)) {
        row(page, [&flag(arg), &variable(arg), &default(arg), &meaning(arg)]);
    }
}

fn flag(arg: &Arg) -> String {
    let short = arg.get_short().map(|short| format!("`-{short}`"));
    let long = arg.get_long().map(|long| format!("`--{long}`"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    if names.is_empty() {
        // What follows the flags.
        return "`-- …`".to_owned();
    }
    names.join(", ")
}

fn variable(arg: &Arg) -> String {
    arg.get_env()
        .map(|name| code(&name.to_string_lossy()))
        .unwrap_or_default()
}

fn default(arg: &Arg) -> String {
    if !takes_value(arg) {
        return String::new();
    }
    let values = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy());
    let values: Vec<_> = values.filter(|value| !value.is_empty()).collect();
    if values.is_empty() {
        return String::new();
    }
    code(&values.join(","))
}

fn meaning(arg: &Arg) -> String {
    let mut meaning =
        value(arg).map_or_else(|| "No value. ".to_owned(), |value| format!("{}. ", code(value)));
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    meaning.push_str(&sentence(&help));
    for word in arg.get_possible_values() {
        if let Some(help) = word.get_help() {
            let help = sentence(&help.to_string());
            _ = write!(meaning, " {}: {help}", code(word.get_name()));
        }
    }
    meaning
}

/// The name of the value in [`VALUES`]; `None` for a switch.
fn value(arg: &Arg) -> Option<&str> {
    let name = arg.get_value_names().and_then(<[_]>::first)?;
    takes_value(arg).then_some(name.as_str())
}

fn takes_value(arg: &Arg) -> bool {
    // Not by its action: a switch that may be followed by `=false` has that of a switch.
    arg.get_num_args().is_some_and(|number| number.takes_values())
}

/// clap takes a help's last full stop away.
fn sentence(help: &str) -> String {
    let end = if help.ends_with('.') { "" } else { "." };
    format!("{help}{end}")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn table<const COLUMNS: usize>(page: &mut String, titles: [&str; COLUMNS]) {
    row(page, titles);
    page.push_str(&"|---".repeat(COLUMNS));
    page.push_str("|\n");
}

fn row<const COLUMNS: usize>(page: &mut String, cells: [&str; COLUMNS]) {
    for cell in cells {
        _ = write!(page, "| {} ", cell.replace('|', "\\|"));
    }
    page.push_str("|\n");
}
