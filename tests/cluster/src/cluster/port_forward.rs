//! `kubectl port-forward`, for as long as it is wanted.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

const START_BOUND: Duration = Duration::from_secs(30);

/// A forwarded port; dropped, it ends.
#[derive(Debug)]
pub struct PortForward {
    addr: SocketAddr,
    _child: Child,
}

impl PortForward {
    pub(super) async fn start(
        mut kubectl: Command,
        namespace: &str,
        target: &str,
        port: u16,
    ) -> anyhow::Result<Self> {
        kubectl.args([
            "port-forward",
            "--namespace",
            namespace,
            target,
            &format!(":{port}"),
        ]);
        kubectl
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let mut child = kubectl.spawn().context("start kubectl port-forward")?;
        let output = child.stdout.take().context("kubectl has no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let addr = timeout(START_BOUND, async {
            while let Some(line) = lines.next_line().await? {
                if let Some(addr) = forwarded_from(&line) {
                    return Ok(addr);
                }
            }
            anyhow::bail!("kubectl port-forward {target} ended")
        })
        .await
        .with_context(|| format!("kubectl port-forward {target} says nothing"))??;
        // It writes a line for each connection, and must be able to.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { addr, _child: child })
    }

    /// The local address that leads there.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The address in `Forwarding from 127.0.0.1:40123 -> 8080`.
fn forwarded_from(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("Forwarding from ")?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_kubectl_says() {
        let addr = forwarded_from("Forwarding from 127.0.0.1:40123 -> 8080");
        assert_eq!(addr, Some(SocketAddr::from(([127, 0, 0, 1], 40123))));
        assert_eq!(forwarded_from("Handling connection for 40123"), None);
    }
}
