//! From a container's `command`, `args` and `env` to what is executed for one replica.
//!
//! Expansion is Kubernetes' own: `$(NAME)` becomes the container's variable, `$$` is one dollar sign, and a reference
//! to an unknown variable stays as it is written. On top of it `{host}` and `{port}` become the replica's own address,
//! and `{port:NAME}` or `{port:8081}` the local port behind a further container port.

use std::path::PathBuf;

use super::ContainerPort;

/// What a container's image would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTemplate {
    /// The program and its arguments, unexpanded. Never empty.
    pub words: Vec<String>,
    /// The container's variables in order, unexpanded.
    pub env: Vec<(String, EnvValue)>,
    /// The container's `workingDir`.
    pub directory: Option<PathBuf>,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// Written in the manifest.
    Literal(String),
    /// `fieldRef: metadata.name`.
    PodName,
    /// `fieldRef: metadata.namespace`.
    Namespace,
    /// `fieldRef: status.podIP`, `status.hostIP`.
    Host,
}

/// What one replica knows about itself.
#[derive(Debug, Clone, Copy)]
pub struct ReplicaIdentity<'a> {
    /// The pod's name.
    pub pod: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The address that it is to listen on.
    pub host: &'a str,
    /// The container's ports and the local port behind each; the first is `{port}`.
    pub ports: &'a [(ContainerPort, u16)],
}

/// A command ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program: a path, or a name to be found in `PATH`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables on top of those of `rouse` itself.
    pub env: Vec<(String, String)>,
    /// The directory to run in; that of `rouse` itself without one.
    pub directory: Option<PathBuf>,
}

impl CommandTemplate {
    /// The command of one replica.
    pub fn expand(&self, identity: ReplicaIdentity<'_>) -> Command {
        let env = self.variables(identity);
        let mut words = self.words.iter().map(|word| {
            let word = expand_references(word, &env);
            expand_address(&word, identity)
        });
        let program = words.next().unwrap_or_default();
        Command {
            program,
            args: words.collect(),
            env,
            directory: self.directory.clone(),
        }
    }

    /// The command of an `exec` probe, which runs in the same environment.
    pub fn expand_exec(&self, words: &[String], identity: ReplicaIdentity<'_>) -> Command {
        let probe = Self {
            words: words.to_vec(),
            env: self.env.clone(),
            directory: self.directory.clone(),
        };
        let mut command = probe.expand(identity);
        // Kubernetes does not expand a probe's words; only the address, which it knows and we made up, is filled in.
        let mut words = words.iter().map(|word| expand_address(word, identity));
        command.program = words.next().unwrap_or_default();
        command.args = words.collect();
        command
    }

    /// `PORT`, `HOST` and `HOSTNAME` first, so that the container's own variables may refer to them and override them.
    fn variables(&self, identity: ReplicaIdentity<'_>) -> Vec<(String, String)> {
        let mut variables = vec![
            ("HOSTNAME".to_owned(), identity.pod.to_owned()),
            ("HOST".to_owned(), identity.host.to_owned()),
        ];
        if let Some((_, port)) = identity.ports.first() {
            variables.push(("PORT".to_owned(), port.to_string()));
        }
        for (name, value) in &self.env {
            let value = match value {
                EnvValue::Literal(text) => expand_references(text, &variables),
                EnvValue::PodName => identity.pod.to_owned(),
                EnvValue::Namespace => identity.namespace.to_owned(),
                EnvValue::Host => identity.host.to_owned(),
            };
            variables.retain(|(known, _)| known != name);
            variables.push((name.clone(), value));
        }
        variables
    }
}

/// `$(NAME)` and `$$`, as Kubernetes expands them.
fn expand_references(text: &str, variables: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('$') {
        let (before, from) = rest.split_at(position);
        expanded.push_str(before);
        let after = &from[1..];
        if let Some(following) = after.strip_prefix('$') {
            expanded.push('$');
            rest = following;
        } else if let Some((name, following)) =
            after.strip_prefix('(').and_then(|inner| inner.split_once(')'))
        {
            if let Some((_, value)) = variables.iter().find(|(known, _)| known == name) {
                expanded.push_str(value);
            } else {
                expanded.push_str("$(");
                expanded.push_str(name);
                expanded.push(')');
            }
            rest = following;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

/// `{host}`, `{port}` and `{port:…}`. Braces of anything else (JSON, a shell's `${X}`) stay as they are.
fn expand_address(text: &str, identity: ReplicaIdentity<'_>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find('{') {
        let (before, from) = rest.split_at(position);
        expanded.push_str(before);
        let replaced = from[1..]
            .split_once('}')
            .and_then(|(name, following)| Some((address(name, identity)?, following)));
        if let Some((value, following)) = replaced {
            expanded.push_str(&value);
            rest = following;
        } else {
            expanded.push('{');
            rest = &from[1..];
        }
    }
    expanded.push_str(rest);
    expanded
}

fn address(name: &str, identity: ReplicaIdentity<'_>) -> Option<String> {
    if name == "host" {
        return Some(identity.host.to_owned());
    }
    let port = match name.strip_prefix("port")? {
        "" => identity.ports.first(),
        wanted => {
            let wanted = wanted.strip_prefix(':')?;
            identity
                .ports
                .iter()
                .find(|(port, _)| port.name.as_deref() == Some(wanted) || wanted.parse() == Ok(port.number))
        }
    };
    port.map(|(_, local)| local.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(words: &[&str], env: &[(&str, &str)]) -> CommandTemplate {
        CommandTemplate {
            words: words.iter().map(ToString::to_string).collect(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), EnvValue::Literal((*value).to_owned())))
                .collect(),
            directory: None,
        }
    }

    fn expand(template: &CommandTemplate) -> Command {
        let ports = [
            (
                ContainerPort {
                    name: Some("http".to_owned()),
                    number: 8080,
                },
                40001,
            ),
            (
                ContainerPort {
                    name: Some("metrics".to_owned()),
                    number: 9090,
                },
                40002,
            ),
        ];
        template.expand(ReplicaIdentity {
            pod: "web-x1",
            namespace: "default",
            host: "127.0.0.1",
            ports: &ports,
        })
    }

    #[test]
    fn references_expand_as_in_kubernetes() {
        let table: &[(&str, &str)] = &[
            ("$(PORT)", "40001"),
            ("--port=$(PORT)!", "--port=40001!"),
            ("$(A)$(B)", "1$(PORT)-40001"),
            ("$$(PORT)", "$(PORT)"),
            ("$$$(PORT)", "$40001"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$PORT ${PORT}", "$PORT ${PORT}"),
            ("$(PORT", "$(PORT"),
            ("100$", "100$"),
        ];
        for (word, expected) in table {
            let command = expand(&template(
                &["app", word],
                &[("A", "1"), ("B", "$$(PORT)-$(PORT)")],
            ));
            assert_eq!(command.args, [*expected], "{word}");
        }
    }

    #[test]
    fn the_address_expands_and_other_braces_stay() {
        let table: &[(&str, &str)] = &[
            ("{host}:{port}", "127.0.0.1:40001"),
            ("{port:http}-{port:9090}", "40001-40002"),
            ("{port:nothing}", "{port:nothing}"),
            (r#"{"a": {"b": "{port}"}}"#, r#"{"a": {"b": "40001"}}"#),
            ("${HOME} {}", "${HOME} {}"),
            ("{portable}", "{portable}"),
            ("{", "{"),
        ];
        for (word, expected) in table {
            assert_eq!(expand(&template(&["app", word], &[])).args, [*expected], "{word}");
        }
    }

    #[test]
    fn the_containers_own_variables_win() {
        let command = expand(&template(
            &["app"],
            &[("HOST", "0.0.0.0"), ("WHERE", "$(HOST):$(PORT)")],
        ));
        let find = |name| {
            command
                .env
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(find("HOST"), Some("0.0.0.0"));
        assert_eq!(find("WHERE"), Some("0.0.0.0:40001"));
        assert_eq!(find("HOSTNAME"), Some("web-x1"));
        assert_eq!(command.env.iter().filter(|(name, _)| name == "HOST").count(), 1);
    }
}
