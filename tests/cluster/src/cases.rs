//! The cases, in the order in which they are run.

mod faults;
mod keda;
mod nodes;
mod workload;

use crate::case::Case;

/// Every case.
pub const ALL: &[Case] = &[
    nodes::FIRST_NODE_IS_READY,
    workload::CHATBOT_ANSWERS_WHEN_SCALED_BY_HAND,
    nodes::POD_ON_A_SECOND_NODE_ANSWERS,
    keda::CRON_TRIGGER_MAKES_AN_HPA,
    faults::KILLED_CONTAINER_IS_STARTED_AGAIN,
    faults::PODS_ANSWER_WHILE_THE_API_SERVER_IS_AWAY,
];
