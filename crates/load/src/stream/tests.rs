use std::convert::Infallible;

use tokio::net::TcpListener;

use super::*;
use crate::testing::FakeInterceptor;

/// Keeps what it is told; refuses the report with the number `refuses`.
#[derive(Debug, Default)]
struct Kept {
    reports: Vec<LoadReport>,
    refuses: Option<usize>,
}

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused;

impl ReportSink for Kept {
    type Error = Refused;

    async fn apply(&mut self, report: LoadReport) -> Result<(), Refused> {
        self.reports.push(report);
        if self.refuses == Some(self.reports.len()) {
            Err(Refused)
        } else {
            Ok(())
        }
    }
}

#[tokio::test]
async fn reports_reach_the_sink_until_it_refuses_one() {
    let interceptor = FakeInterceptor::start(7).await;
    let mut kept = Kept {
        refuses: Some(2),
        ..Kept::default()
    };
    let error = follow(interceptor.addr, &mut kept).await;
    assert_eq!(error.loss(), Loss::Protocol);
    // The full report, and what is sent every second where there is nothing to say.
    let told: Vec<_> = kept
        .reports
        .iter()
        .map(|report| (report.boot_id, report.full))
        .collect();
    assert_eq!(told, [(7, true), (7, false)]);
}

#[tokio::test]
async fn a_silent_stream_is_given_up() {
    let interceptor = FakeInterceptor::start(7).await;
    interceptor.set_silent(true);
    let mut kept = Kept::default();
    assert_eq!(follow(interceptor.addr, &mut kept).await.loss(), Loss::Silent);
    assert_eq!(kept.reports.len(), 1);
}

#[tokio::test]
async fn a_stream_that_is_ended_and_a_port_that_nobody_listens_at_are_told_apart() {
    let interceptor = FakeInterceptor::start(7).await;
    let addr = interceptor.addr;
    let following = tokio::spawn(async move {
        let mut kept = Kept::default();
        follow(addr, &mut kept).await.loss()
    });
    interceptor.wait_for_streams(1).await;
    interceptor.kill();
    assert_eq!(following.await.expect("no panic"), Loss::Ended);

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = listener.local_addr().expect("its address");
    drop(listener);
    assert_eq!(follow(nobody, &mut Kept::default()).await.loss(), Loss::Refused);
}

#[test]
fn every_error_has_a_label_of_its_own_kind() {
    let errors: [(StreamError<Infallible>, Loss); 3] = [
        (StreamError::ConnectTimeout, Loss::Unreachable),
        (
            StreamError::Watch(Box::new(Status::internal("reset"))),
            Loss::Ended,
        ),
        (StreamError::Silent, Loss::Silent),
    ];
    for (error, loss) in errors {
        assert_eq!(error.loss(), loss, "{error}");
    }
}
