//! Several replicas, of which one writes.

use rouse_daemon::phase::Phase;
use rouse_fake_api_server::Fault;

use crate::support::{
    add_tenant, cluster, leads, metric, reconciled, scaled_object, short, start, start_leader, until, writes,
};

#[tokio::test]
async fn a_replica_that_does_not_lead_is_ready_and_writes_nothing() {
    let server = cluster().await;
    let leader = start_leader(&server).await;
    let standby = start(&server).await;
    standby.readiness().ready().await;
    add_tenant(&server, "default", "chatbot");
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    assert_eq!(writes(&server).len(), 2);
    assert_eq!(metric(&standby, "rouse_controller_reconciles_total"), 0);
    assert_eq!(metric(&standby, "rouse_controller_is_leader"), 0);
    assert_eq!(metric(&leader, "rouse_controller_is_leader"), 1);

    // The next one finds nothing to do.
    server.clear_requests();
    leader.stop().await;
    assert_eq!(*leader.phase().borrow(), Phase::Terminated);
    leads(&standby).await;
    reconciled(&standby, 1).await;
    assert_eq!(short(&writes(&server)), [""; 0]);
    standby.stop().await;
}

#[tokio::test]
async fn a_leader_that_loses_the_lease_writes_nothing_more() {
    let server = cluster().await;
    let app = start_leader(&server).await;
    server.inject(Fault::status(500).on("leases").always());
    let mut leadership = app.leadership();
    leadership
        .wait_for(|leadership| !leadership.is_leader())
        .await
        .unwrap();
    add_tenant(&server, "default", "chatbot");
    // The watches tell of it all the same.
    server
        .eventually("the lease is tried again", |server| {
            server
                .requests()
                .iter()
                .filter(|request| request.resource == "leases" && request.code == 500)
                .count()
                > 20
        })
        .await;
    assert_eq!(short(&writes(&server)), [""; 0]);
    assert!(scaled_object(&server, "default", "chatbot").is_none());
    server.clear_faults();
    until(&server, "default", "chatbot", "Ready", "True Reconciled").await;
    app.stop().await;
}
