//! The client of the API server: from a kubeconfig, or from what a pod is given.
//!
//! Reaching the API server is not tried here. Whoever uses the client retries, so a process that starts while the API
//! server is away waits for it.

use std::time::Duration;

use http::{HeaderValue, header::USER_AGENT};
use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig},
};

/// Who asks, in the API server's audit log.
const AGENT: &str = concat!("rouse/", env!("CARGO_PKG_VERSION"));

/// Where a pod finds the API server.
const HOST: &str = "KUBERNETES_SERVICE_HOST";

/// One attempt to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection on which nothing is received for this long while an answer is due is dead. Above the longest silence of a
/// watch that is well (see `transport`), and above what the API server queues a request for.
const READ_TIMEOUT: Duration = Duration::from_secs(70);

/// A request whose bytes do not leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a pod's own access was found.
    #[error(
        "no Kubernetes cluster to talk to: {kubeconfig} (KUBECONFIG or ~/.kube/config), and this is not a pod with a \
         service account: {in_cluster}"
    )]
    NoCluster {
        /// What is wrong with the kubeconfig.
        kubeconfig: String,
        /// What a pod would have and this process does not.
        in_cluster: String,
    },
    /// What was found cannot be used: certificates, credentials.
    #[error("set up the Kubernetes client")]
    Unusable(#[source] Box<kube::Error>),
}

/// A client for the cluster that a kubeconfig (`KUBECONFIG`, `~/.kube/config`) names, else for the one that this pod is in.
///
/// It does not retry by itself: watches and reconcilers do, with their own back-off, and say that they do.
///
/// # Errors
/// When no cluster is configured, or not in a way that can be used. Names what is missing.
pub async fn connect() -> Result<Client, ClientError> {
    let config = match Config::from_kubeconfig(&KubeConfigOptions::default()).await {
        Ok(config) => config,
        // A broken kubeconfig in a pod is no reason not to work there, as in every other client.
        Err(kubeconfig) => Config::incluster().map_err(|in_cluster| ClientError::NoCluster {
            kubeconfig: one_line(&kubeconfig),
            in_cluster: match in_cluster {
                // Its own text does not name it.
                InClusterError::ReadEnvironmentVariable(_) => format!("{HOST} is not set"),
                other => one_line(&other),
            },
        })?,
    };
    build(config)
}

/// A client for the cluster that `kubeconfig` names.
///
/// # Errors
/// When it names none, or not in a way that can be used.
pub async fn from_kubeconfig(kubeconfig: Kubeconfig) -> Result<Client, ClientError> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| ClientError::Unusable(Box::new(error.into())))?;
    build(config)
}

/// Installs aws-lc-rs as the process's TLS provider on the way, unless there is one: kube does, as it is built with it.
fn build(mut config: Config) -> Result<Client, ClientError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    // Otherwise the time that a kept connection was idle counts against the next answer.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Client::try_from(config).map_err(|error| ClientError::Unusable(Box::new(error)))
}

/// kube's errors have their causes in their texts.
fn one_line(error: &impl ToString) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(server: &str) -> Kubeconfig {
        Kubeconfig::from_yaml(&format!(
            "clusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
             users: [{{name: u, user: {{token: t}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u, namespace: keda}}}}]\n\
             current-context: x\n"
        ))
        .unwrap()
    }

    #[tokio::test]
    async fn a_kubeconfig_gives_a_client_with_its_namespace() {
        let client = from_kubeconfig(kubeconfig("https://127.0.0.1:1")).await.unwrap();
        assert_eq!(client.default_namespace(), "keda");
    }

    #[tokio::test]
    async fn a_context_that_is_not_there_is_named() {
        let mut broken = kubeconfig("https://127.0.0.1:1");
        broken.current_context = Some("elsewhere".to_owned());
        let error = from_kubeconfig(broken).await.err().expect("no such context");
        let text = rouse_daemon::chain::chain(&error).to_string();
        assert!(text.contains("elsewhere"), "{text}");
    }
}
