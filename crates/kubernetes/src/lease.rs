//! Leader election by a Lease, as Kubernetes' own components do it: of several replicas one writes.
//!
//! ```text
//! standby ── the lease is free, or its holder has not renewed it for its duration ──▶ leader
//! leader ── not renewed by the deadline, or another holds it ──▶ standby
//! leader ── shutdown: gives it back ──▶ standby
//! ```
//!
//! **One at most.** A leader gives up `renew_deadline` after the last renewal that it *began* and that succeeded; another
//! takes over `lease_duration` after it first *saw* that renewal, which cannot have been earlier. So as long as the deadline
//! is shorter than the duration, the first has stopped before the second begins, whatever the clocks of their machines say:
//! only times between observations of one process are compared, and the times in the Lease are for people. What a leader had
//! sent when it gave up may still be carried out; what is written by a leader has to be safe to be written twice.
//!
//! **Two at once** cannot take it: each write names the version that was read, and the API server refuses the second.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use rouse_daemon::chain::chain;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// What is agreed on by all replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Where the Lease is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who this process is: another one for each, also after a restart.
    pub identity: String,
    /// How long after a renewal was seen another may take over. In whole seconds, at least one.
    pub lease_duration: Duration,
    /// How long a leader goes on without a renewal. Shorter than `lease_duration`.
    pub renew_deadline: Duration,
    /// How often the leader renews, and the others look. Shorter than `renew_deadline`.
    pub retry_period: Duration,
}

/// Whether this process leads.
#[derive(Debug, Clone, Default)]
pub enum Leadership {
    /// Another one does, or nobody.
    #[default]
    Standby,
    /// This one does, until the token is cancelled: everything that is written is written within this term.
    Leader(CancellationToken),
}

impl Leadership {
    /// Whether this process leads now.
    pub fn is_leader(&self) -> bool {
        matches!(self, Self::Leader(term) if !term.is_cancelled())
    }
}

/// Takes part in the election while [`run`](Self::run) runs.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    config: LeaseConfig,
    leadership: watch::Sender<Leadership>,
}

/// A version of the Lease, and when this process first saw it.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    at: Instant,
}

impl Election {
    /// Not a candidate yet.
    pub fn new(client: Client, config: LeaseConfig) -> Self {
        Self {
            api: Api::namespaced(client, &config.namespace),
            config,
            leadership: watch::Sender::default(),
        }
    }

    /// Whether this process leads; a watch of it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// Takes part until `shutdown`, then gives the Lease back if it holds it.
    ///
    /// # Cancel safety
    ///
    /// A term ends with the future; the Lease then runs out by itself.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut seen: Option<Seen> = None;
        loop {
            let taken = tokio::select! {
                () = shutdown.cancelled() => return,
                taken = self.attempt(&mut seen) => taken,
            };
            if let Some((lease, begun)) = taken {
                tracing::info!(
                    lease = self.config.name,
                    identity = self.config.identity,
                    "leading"
                );
                seen = self.lead(lease, begun, &shutdown).await;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(self.config.retry_period) => {}
            }
        }
    }

    /// Looks at the Lease, and takes it if it may. Returns the Lease as it was taken and when the write began.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Option<(Lease, Instant)> {
        let deadline = Instant::now() + self.config.renew_deadline;
        let look = async {
            match self.api.get_opt(&self.config.name).await? {
                None => {
                    let begun = Instant::now();
                    let lease = self.api.create(&PostParams::default(), &self.claim(None)).await?;
                    Ok(Some((lease, begun)))
                }
                Some(lease) => {
                    let seen = Seen::update(seen, lease);
                    if !seen.may_be_taken_by(&self.config.identity) {
                        return Ok(None);
                    }
                    let begun = Instant::now();
                    let claim = self.claim(Some(&seen.lease));
                    let lease = self
                        .api
                        .replace(&self.config.name, &PostParams::default(), &claim)
                        .await?;
                    Ok(Some((lease, begun)))
                }
            }
        };
        match timeout_at(deadline, look).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                tracing::debug!(lease = self.config.name, "another was first");
                None
            }
            Ok(Err(error)) => {
                let error: kube::Error = error;
                tracing::warn!(lease = self.config.name, error = %chain(&error), "lease not read or taken");
                None
            }
            Err(_elapsed) => {
                tracing::warn!(lease = self.config.name, "lease not read or taken in time");
                None
            }
        }
    }

    /// Leads until the Lease is lost or `shutdown`. Returns what was seen last.
    async fn lead(&self, lease: Lease, begun: Instant, shutdown: &CancellationToken) -> Option<Seen> {
        let term = CancellationToken::new();
        // Also when this future is dropped.
        let ends = term.clone().drop_guard();
        self.leadership.send_replace(Leadership::Leader(term));
        let (last, is_shutdown) = self.hold(lease, begun, shutdown).await;
        drop(ends);
        self.leadership.send_replace(Leadership::Standby);
        if is_shutdown {
            self.release(&last).await;
        } else {
            tracing::warn!(
                lease = self.config.name,
                "leadership lost; everything that was being written has stopped"
            );
        }
        Some(Seen {
            lease: last,
            at: Instant::now(),
        })
    }

    /// Renews until it cannot: the Lease as it was seen last, and whether a shutdown ended it.
    async fn hold(&self, mut lease: Lease, begun: Instant, shutdown: &CancellationToken) -> (Lease, bool) {
        let mut deadline = begun + self.config.renew_deadline;
        let mut next = Instant::now() + self.config.retry_period;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return (lease, true),
                () = sleep_until(next.min(deadline)) => {}
            }
            let begun = Instant::now();
            if begun >= deadline {
                return (lease, false);
            }
            next = begun + self.config.retry_period;
            let renewal = tokio::select! {
                biased;
                () = shutdown.cancelled() => return (lease, true),
                renewal = timeout_at(deadline, self.renew(&lease)) => renewal,
            };
            match renewal {
                Ok(Ok(Some(renewed))) => {
                    lease = renewed;
                    deadline = begun + self.config.renew_deadline;
                }
                Ok(Ok(None)) | Err(_) => return (lease, false),
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.config.name, error = %chain(&error), "lease not renewed");
                }
            }
        }
    }

    /// Renews. `None` where another holds the Lease.
    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, kube::Error> {
        let write = |lease: &Lease| {
            let claim = self.claim(Some(lease));
            async move {
                self.api
                    .replace(&self.config.name, &PostParams::default(), &claim)
                    .await
            }
        };
        match write(lease).await {
            Ok(renewed) => Ok(Some(renewed)),
            // The answer to an earlier renewal was lost, somebody put a label on it, or another has it.
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {
                match self.api.get_opt(&self.config.name).await? {
                    Some(current) if holder(&current) == Some(&*self.config.identity) => {
                        write(&current).await.map(Some)
                    }
                    _ => Ok(None),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the Lease back, so that another need not wait for it to run out. Best effort.
    async fn release(&self, lease: &Lease) {
        let write = async {
            match self.write_released(lease).await {
                // A renewal was under way when the shutdown came, or somebody put a label on it.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    match self.api.get_opt(&self.config.name).await? {
                        Some(current) if holder(&current) == Some(&*self.config.identity) => {
                            self.write_released(&current).await
                        }
                        // Another holds it already, or there is none: nothing to give back.
                        _ => Ok(()),
                    }
                }
                written => written,
            }
        };
        match timeout_at(Instant::now() + self.config.retry_period, write).await {
            Ok(Ok(())) => tracing::info!(lease = self.config.name, "leadership given back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.config.name, error = %chain(&error), "lease not given back");
            }
            Err(_elapsed) => tracing::warn!(lease = self.config.name, "lease not given back in time"),
        }
    }

    async fn write_released(&self, lease: &Lease) -> Result<(), kube::Error> {
        let mut released = lease.clone();
        let spec = released.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        let parameters = PostParams::default();
        self.api
            .replace(&self.config.name, &parameters, &released)
            .await
            .map(drop)
    }

    /// The Lease as this process holds it, with everything else as it was.
    fn claim(&self, before: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let mut lease = before.cloned().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                ..ObjectMeta::default()
            },
            ..Lease::default()
        });
        let is_new_term = before.and_then(holder) != Some(&*self.config.identity);
        let spec: &mut LeaseSpec = lease.spec.get_or_insert_default();
        if is_new_term {
            spec.acquire_time = Some(now.clone());
            let transitions = spec.lease_transitions.unwrap_or(0);
            spec.lease_transitions = Some(transitions.saturating_add(i32::from(before.is_some())));
        }
        spec.holder_identity = Some(self.config.identity.clone());
        spec.lease_duration_seconds =
            Some(i32::try_from(self.config.lease_duration.as_secs()).unwrap_or(i32::MAX));
        spec.renew_time = Some(now);
        lease
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        if let Leadership::Leader(term) = self.leadership.send_replace(Leadership::Standby) {
            term.cancel();
        }
    }
}

impl Seen {
    /// Notes what was read. A version that is seen again keeps its time.
    fn update(seen: &mut Option<Self>, lease: Lease) -> &Self {
        let is_same = |seen: &Self| seen.lease.spec == lease.spec;
        let at = match seen.take().filter(is_same) {
            Some(seen) => seen.at,
            None => Instant::now(),
        };
        seen.insert(Self { lease, at })
    }

    fn may_be_taken_by(&self, identity: &str) -> bool {
        let holder = holder(&self.lease).unwrap_or_default();
        let spec = self.lease.spec.as_ref();
        let duration = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let duration = Duration::from_secs(u64::try_from(duration).unwrap_or(0));
        holder.is_empty() || holder == identity || self.at.elapsed() > duration
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

#[cfg(test)]
mod tests;
