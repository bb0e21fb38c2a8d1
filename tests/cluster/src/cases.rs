//! The cases, in the order in which they are run.

mod addon;
mod application_nodes;
mod applications;
mod behind_gateway;
mod beside_cron;
mod beside_prometheus;
mod cleanup;
mod cleanup_keda;
mod cold_start_script;
mod crashing_pod;
mod drained_node;
mod example;
mod faults;
mod gateway;
mod gateway_faults;
mod held_for_node;
mod hpa;
mod interceptor_rollout;
mod interceptors;
mod karpenter;
mod keda;
mod late_listener;
mod lost_interceptor;
mod lost_node;
mod migrate;
mod missing_gateway_api;
mod missing_keda;
mod mixed_traffic;
mod nodes;
mod other_versions;
mod parity;
mod phases;
mod prometheus;
mod rouse_pods;
mod sick_neighbours;
mod stalled_watch;
mod tenants;
mod timings;
mod traffic;
mod triggers;
mod two_replicas;
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
    hpa::CHATBOT_SCALES_OUT_BY_THE_HPA,
    late_listener::POD_THAT_LISTENS_LATE_COSTS_NO_REQUEST,
    faults::KILLED_CONTAINER_IS_STARTED_AGAIN,
    faults::PODS_ANSWER_WHILE_THE_API_SERVER_IS_AWAY,
    sick_neighbours::KILLED_SCALER_AND_CONTROLLER_LOSE_NOTHING,
    sick_neighbours::RESTARTED_KEDA_OPERATOR_LOSES_NOTHING,
    sick_neighbours::KEDA_GONE_FOR_TWO_MINUTES_LOSES_NOTHING,
    sick_neighbours::API_SERVER_STOPPED_FOR_A_MINUTE_LOSES_NOTHING,
    sick_neighbours::RESTARTED_ETCD_LOSES_NOTHING,
    lost_interceptor::KILLED_INTERCEPTOR_LOSES_ONLY_WHAT_IT_HELD,
    lost_interceptor::BLACK_HOLED_INTERCEPTOR_IS_DONE_WITHOUT,
    lost_interceptor::STOPPED_INTERCEPTOR_ANSWERS_WHEN_IT_GOES_ON,
    interceptor_rollout::ROLLOUT_OF_THE_INTERCEPTOR_LOSES_NOTHING,
    stalled_watch::STALLED_WATCHES_ARE_NOTICED_AND_REPLACED,
    crashing_pod::POD_THAT_CRASHES_BEFORE_IT_IS_READY_IS_WAITED_FOR,
    crashing_pod::POD_THAT_NEVER_GETS_READY_ENDS_THE_HOLD,
    drained_node::DRAINED_NODE_LOSES_NOTHING,
    drained_node::DRAINED_NODE_WITH_AN_INTERCEPTOR_LOSES_NOTHING,
    lost_node::LOST_NODE_WITH_THE_ONLY_POD_LOSES_NOTHING,
    lost_node::LOST_NODE_WITH_ONE_OF_TWO_PODS_IS_AVOIDED,
    karpenter::KARPENTER_MAKES_A_NODE_FOR_A_PENDING_POD_AND_IT_RUNS,
    karpenter::EMPTY_NODE_IS_REMOVED,
    karpenter::NODEPOOL_LIMIT_KEEPS_PODS_PENDING,
    karpenter::RECLAIMED_NODE_GETS_A_SUCCESSOR,
    // Before the first that needs the Gateway API, which is then installed already.
    missing_gateway_api::GATEWAY_API_THAT_COMES_LATER_IS_SERVED,
    drained_node::RECLAIMED_NODE_UNDER_TRAFFIC_LOSES_NOTHING,
    gateway::GATEWAY_PROGRAMS_THE_USERS_HTTPROUTE,
    behind_gateway::CHATBOT_WAKES_BEHIND_THE_GATEWAY,
    gateway_faults::KILLED_INTERCEPTOR_BEHIND_THE_GATEWAY_LOSES_NO_SAFE_REQUEST,
    gateway_faults::ROLLOUT_BEHIND_THE_GATEWAY_LOSES_NOTHING,
    cold_start_script::COLD_START_SCRIPT_PASSES_BY_BOTH_WAYS,
    held_for_node::HELD_REQUEST_IS_ANSWERED_WHEN_THE_NODE_HAS_COME,
    held_for_node::ROLLOUT_DOES_NOT_LOSE_A_REQUEST_THAT_WAITS_FOR_A_NODE,
    held_for_node::IMPATIENT_CLIENT_CAUSES_ONE_WAKE_AND_ONE_NODE,
    held_for_node::NODEPOOL_LIMIT_IS_TOLD_AND_ENDS_THE_HOLD,
    phases::PHASES_OF_A_COLD_START,
    phases::PHASES_OF_A_COLD_START_WITH_A_NODE,
    prometheus::PROMETHEUS_SCRAPES_A_SERVICE,
    addon::cold_start::GET,
    addon::cold_start::POST,
    addon::routing::HOST_ROUTING,
    addon::routing::MULTIPLE_HOSTS,
    addon::routing::WILDCARD_HOST,
    addon::routing::PATH_ROUTING,
    addon::routing::COMBINED_ROUTING,
    addon::routing::MULTIPLE_RULES_TO_SAME_BACKEND,
    addon::routing::HEADER_ROUTING,
    addon::routing::HEADER_PRESENCE_ROUTING,
    addon::routing::PORT_NAME,
    addon::changes::ROUTE_UPDATE,
    addon::changes::ROUTE_DELETION,
    addon::scaling::CONCURRENT_ROUTING,
    addon::scaling::CONCURRENCY_SCALING,
    addon::scaling::RATE_SCALING,
    addon::cold_start::READINESS_TIMEOUT,
    addon::changes::GRACEFUL_SHUTDOWN,
    addon::changes::VALIDATION,
    addon::legacy::INTERCEPTOR_SCALED_OBJECT,
    addon::legacy::INTERNAL_SERVICE,
    addon::legacy::SKIP_SCALED_OBJECT_CREATION,
    beside_cron::HTTP_TRIGGER_BESIDE_CRON,
    beside_prometheus::HTTP_TRIGGER_BESIDE_PROMETHEUS,
    two_replicas::COUNTS_OF_TWO_INTERCEPTORS_ADD_UP,
    two_replicas::REQUEST_HELD_AT_TWO_INTERCEPTORS_WAKES_ONCE,
    two_replicas::COUNTS_GO_ON_WITHOUT_ONE_SCALER,
    parity::ROUTING,
    parity::FORWARDING,
    parity::HOLDING,
    parity::SCALING,
    parity::MESSAGES,
    timings::FIFTY_COLD_STARTS_ARE_TIMED,
    tenants::FIFTY_TENANTS_ARE_REACHED_BY_THEIR_OWN_HOSTS,
    cleanup::CLEANUP_NAMESPACE_FIRST,
    cleanup::CLEANUP_OBJECTS_FIRST,
    cleanup::CLEANUP_RELEASE_FIRST,
    // Last, as they take away what all others need.
    other_versions::DEFINITION_OF_ANOTHER_VERSION_IS_TOLD_AND_REQUESTS_GO_ON,
    missing_keda::WITHOUT_KEDA_IT_IS_TOLD_AND_REQUESTS_ARE_ANSWERED,
    cleanup_keda::CLEANUP_IN_WHOLE,
    cleanup_keda::CLEANUP_KEDA_FIRST,
    migrate::ADD_ON_UPGRADED_IN_PLACE_LOSES_NOTHING,
    migrate::ADD_ON_REPLACED_BY_A_RELEASE_OF_ITS_OWN_KEEPS_OBJECTS,
];
