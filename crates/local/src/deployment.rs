//! One Deployment: keeps as many replicas as are asked for.
//!
//! A task for each, woken by a change of the wanted number, by the end of a replica, and by the node's arrival. Scaling
//! in ends the replica that is worth least: one that is not Ready before one that is, then the youngest, as a
//! ReplicaSet does. Replicas that are ending do not count, so a wake during a scale-in starts a new one at once.
//!
//! With a node delay, the first replica of a Deployment that has none is Pending for that long, and so are those that
//! join it meanwhile; they count as waiting for a node. When the last replica is gone the node goes too.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::narrate::{Human, Narrator};
use crate::replica::{Phase, Replica, ReplicaContext, ReplicaTemplate, WakeClock};

/// Sets and reads a Deployment's number of replicas. Clones share it.
#[derive(Debug, Clone)]
pub struct ScaleHandle {
    wanted: Arc<watch::Sender<u32>>,
    wake: WakeClock,
}

impl ScaleHandle {
    /// A Deployment that begins with `replicas`, and what its task listens to.
    pub fn new(replicas: u32) -> (Self, watch::Receiver<u32>) {
        let (wanted, receiver) = watch::channel(replicas);
        (
            Self {
                wanted: Arc::new(wanted),
                wake: WakeClock::default(),
            },
            receiver,
        )
    }

    /// The number that is wanted now.
    pub fn replicas(&self) -> u32 {
        *self.wanted.borrow()
    }

    /// Wants another number. The first replica after zero is timed from here.
    pub fn scale(&self, replicas: u32) {
        self.wanted.send_if_modified(|wanted| {
            if *wanted == replicas {
                return false;
            }
            if *wanted == 0 {
                self.wake.begin();
            }
            *wanted = replicas;
            true
        });
    }
}

/// What a Deployment's task needs.
#[derive(Debug)]
pub struct Deployment {
    /// What all replicas have in common.
    pub template: Arc<ReplicaTemplate>,
    /// What replicas share.
    pub context: ReplicaContext,
    /// How long a node takes to come; zero means there is always one.
    pub node_delay: Duration,
    /// The number wanted.
    pub wanted: watch::Receiver<u32>,
    /// The handle by which it is scaled.
    pub scale: ScaleHandle,
}

impl Deployment {
    /// Keeps the replicas until `stop`, then ends them all, in parallel, and returns when they are gone.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut pods = Pods {
            template: self.template,
            context: self.context,
            wake: self.scale.wake.clone(),
            node: Node::new(self.node_delay),
            replicas: Vec::new(),
            tasks: JoinSet::new(),
        };
        pods.keep(*self.wanted.borrow_and_update());
        loop {
            let arrival = pods.node.arrival();
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = self.wanted.changed() => {}
                Some(_) = pods.tasks.join_next() => pods.forget_gone(),
                () = sleep_until(arrival.unwrap_or_else(Instant::now)), if arrival.is_some() => pods.node_came(),
            }
            pods.keep(*self.wanted.borrow_and_update());
        }
        pods.replicas.iter().for_each(Replica::stop);
        while pods.tasks.join_next().await.is_some() {}
        pods.forget_gone();
    }
}

struct Pods {
    template: Arc<ReplicaTemplate>,
    context: ReplicaContext,
    wake: WakeClock,
    node: Node,
    replicas: Vec<Replica>,
    tasks: JoinSet<()>,
}

impl Pods {
    fn keep(&mut self, wanted: u32) {
        let live = self
            .replicas
            .iter()
            .filter(|replica| !replica.is_stopping())
            .count();
        let wanted = wanted as usize;
        if wanted > live {
            if self.node.request() {
                self.context.endpoints.set_waiting_for_node(true);
                self.tell(format_args!(
                    "pending: a node comes in {}",
                    Human(self.node.delay)
                ));
            }
            for _ in live..wanted {
                let (replica, life) = Replica::new(
                    Arc::clone(&self.template),
                    self.context.clone(),
                    self.node.has_come.subscribe(),
                    self.wake.clone(),
                );
                self.replicas.push(replica);
                self.tasks.spawn(life);
            }
        }
        for _ in wanted..live {
            if let Some(replica) = least_worth(&self.replicas) {
                replica.stop();
            }
        }
        if wanted == 0 && self.node.cancel() {
            self.context.endpoints.set_waiting_for_node(false);
        }
    }

    fn forget_gone(&mut self) {
        self.replicas.retain(|replica| replica.phase() != Phase::Gone);
        if self.replicas.is_empty() && self.node.release() {
            self.context.endpoints.set_waiting_for_node(false);
        }
    }

    fn node_came(&mut self) {
        self.node.come();
        self.context.endpoints.set_waiting_for_node(false);
        self.tell("the node has come");
    }

    fn tell(&self, text: impl std::fmt::Display) {
        let narrator: &Narrator = &self.context.narrator;
        narrator.event(
            format_args!("{}/{}", self.template.namespace, self.template.deployment),
            text,
        );
    }
}

fn least_worth(replicas: &[Replica]) -> Option<&Replica> {
    replicas
        .iter()
        .filter(|replica| !replica.is_stopping())
        .min_by_key(|replica| (replica.phase(), std::cmp::Reverse(replica.created)))
}

/// The node that a Deployment's replicas run on.
#[derive(Debug)]
struct Node {
    delay: Duration,
    has_come: watch::Sender<bool>,
    arrival: Option<Instant>,
}

impl Node {
    fn new(delay: Duration) -> Self {
        Self {
            delay,
            has_come: watch::Sender::new(delay.is_zero()),
            arrival: None,
        }
    }

    fn arrival(&self) -> Option<Instant> {
        self.arrival
    }

    /// Asks for the node. Gives whether this began a wait.
    fn request(&mut self) -> bool {
        if *self.has_come.borrow() || self.arrival.is_some() {
            return false;
        }
        self.arrival = Some(Instant::now() + self.delay);
        true
    }

    fn come(&mut self) {
        self.arrival = None;
        self.has_come.send_replace(true);
    }

    /// Nobody waits for it any longer. Gives whether this ended a wait.
    fn cancel(&mut self) -> bool {
        self.arrival.take().is_some()
    }

    /// Nobody uses it any longer. Gives whether this ended a wait.
    fn release(&mut self) -> bool {
        if !self.delay.is_zero() {
            self.has_come.send_replace(false);
        }
        self.cancel()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_is_asked_for_once_and_goes_with_the_last_replica() {
        let mut node = Node::new(Duration::from_secs(40));
        let asked = Instant::now();
        assert!(node.request());
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!node.request(), "a second replica joins the wait");
        assert_eq!(node.arrival(), Some(asked + Duration::from_secs(40)));
        node.come();
        assert!(!node.request(), "the node is there");
        assert!(!node.release());
        assert!(node.request(), "the next wake needs a new node");
        assert!(node.cancel());
    }

    #[test]
    fn without_a_delay_there_is_always_a_node() {
        let mut node = Node::new(Duration::ZERO);
        assert!(!node.request());
        node.release();
        assert!(*node.has_come.borrow());
    }

    #[test]
    fn scaling_from_zero_starts_the_wake_clock_only_once() {
        let (scale, receiver) = ScaleHandle::new(0);
        scale.scale(1);
        scale.scale(1);
        assert!(receiver.has_changed().unwrap());
        assert_eq!(scale.replicas(), 1);
    }
}
