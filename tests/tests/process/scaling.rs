//! Many requests at once on a target at zero.

use std::{collections::HashSet, fs, sync::Arc, time::Duration};

use rouse_tests::{Rouse, eventually, http, in_parallel, manifest::Tenant, rouse_program};

#[test]
fn five_hundred_requests_at_zero_are_all_answered_once_and_replicas_rise_to_five_and_fall() {
    let tenant = Tenant {
        image: "counted:1".to_owned(),
        ..Tenant::new("busy")
    };
    let record = tempfile::NamedTempFile::new().expect("a file");
    let run = format!(
        "counted={} demo-app --host {{host}} --port {{port}} --record-executed {}",
        rouse_program().display(),
        record.path().display()
    );
    let rouse = Arc::new(Rouse::start(&tenant.yaml(), &["--run", &run]));
    let proxy = rouse.proxy();

    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watched = Arc::clone(&rouse);
    let most = std::thread::spawn(move || {
        let mut most = 0;
        while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) =
            stopped.recv_timeout(Duration::from_millis(50))
        {
            most = most.max(watched.replicas());
        }
        most
    });
    let statuses = in_parallel(500, move |n| {
        let request = format!(
            "GET /delay/5 HTTP/1.1\r\nhost: busy.test\r\nx-request-id: {n}\r\nconnection: close\r\n\r\n"
        );
        http::exchange(proxy, request.as_bytes()).map(|answer| answer.status)
    });
    drop(stop);
    let failed: Vec<_> = statuses
        .iter()
        .filter(|status| !matches!(status, Ok(200)))
        .collect();
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());
    assert_eq!(most.join().expect("it only looks"), 5);

    // Lines of `pid request-id method path`; every request stands there once.
    let executed = fs::read_to_string(record.path()).expect("the record");
    let ids: Vec<_> = executed
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(ids.len(), 500);
    assert_eq!(
        ids.iter().collect::<HashSet<_>>().len(),
        500,
        "none was executed twice"
    );

    rouse.wait_for_zero(Duration::from_secs(30));
    eventually("the count is back at zero", rouse_tests::PATIENCE, || {
        (rouse.queued("busy") == 0).then_some(())
    });
}
