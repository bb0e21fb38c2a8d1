//! The cases, in the order in which they are run.

mod faults;
mod gateway;
mod karpenter;
mod keda;
mod nodes;
mod prometheus;
mod wake;
mod workload;

use crate::case::Case;

/// Every case.
pub const ALL: &[Case] = &[
    nodes::FIRST_NODE_IS_READY,
    workload::CHATBOT_ANSWERS_WHEN_SCALED_BY_HAND,
    nodes::POD_ON_A_SECOND_NODE_ANSWERS,
    keda::CRON_TRIGGER_MAKES_AN_HPA,
    wake::CHATBOT_WAKES_FROM_ZERO,
    faults::KILLED_CONTAINER_IS_STARTED_AGAIN,
    faults::PODS_ANSWER_WHILE_THE_API_SERVER_IS_AWAY,
    karpenter::KARPENTER_MAKES_A_NODE_FOR_A_PENDING_POD_AND_IT_RUNS,
    karpenter::EMPTY_NODE_IS_REMOVED,
    karpenter::NODEPOOL_LIMIT_KEEPS_PODS_PENDING,
    karpenter::RECLAIMED_NODE_GETS_A_SUCCESSOR,
    gateway::GATEWAY_PROGRAMS_THE_USERS_HTTPROUTE,
    prometheus::PROMETHEUS_SCRAPES_A_SERVICE,
];
