//! A woken pod crashes before it is ready, and the kubelet waits longer each time before it starts it again: the request is
//! held on.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;

use super::{
    application_nodes::{self, Application},
    mixed_traffic::{self, Tenant},
};
use crate::{
    case::{Case, Need},
    cluster::{
        Cluster,
        http::{self, Answer},
    },
    trial::Trial,
    wait,
};

const BOUND: Duration = Duration::from_mins(2);
const ANSWER_BOUND: Duration = Duration::from_mins(3);
const NAMESPACE: &str = "crashing-pod";
const WARM: &str = "warm";
const COLD: &str = "cold";

pub(super) const POD_THAT_CRASHES_BEFORE_IT_IS_READY_IS_WAITED_FOR: Case = Case {
    name: "pod_that_crashes_before_it_is_ready_is_waited_for",
    about: "The pod of a woken application ends with an error three times before it listens, and waits in CrashLoopBackOff in \
            between. The request is held until the fourth start and answered with 200; the Deployment is not taken back to zero \
            meanwhile, whatever its scaledownPeriod of 5 s. Traffic to another application goes on.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| crashes_a_few_times(trial).boxed_local(),
};

async fn crashes_a_few_times(trial: &mut Trial) -> anyhow::Result<()> {
    const CRASHES: u32 = 3;
    let cluster = trial.cluster().clone();
    let tenant = set_up(trial, crashing(CRASHES)).await?;
    let work = async {
        let held = http::get(tenant.proxy, COLD, "/", ANSWER_BOUND);
        tokio::select! {
            held = held => held,
            error = crash_loop(trial) => Err(error),
        }
    };
    let ([warm], held) = Box::pin(mixed_traffic::during(&cluster, [tenant], work)).await?;
    trial
        .evidence
        .note(format_args!("The held request: {}", held.summary()));
    warm.check(trial, WARM, 0)?;
    anyhow::ensure!(held.status == 200, "the held request: {}", held.summary());
    Ok(())
}

/// Sees the pod wait in CrashLoopBackOff, and then that the Deployment is not at zero. Ends with what is wrong.
async fn crash_loop(trial: &mut Trial) -> anyhow::Error {
    let cluster = trial.cluster().clone();
    let seen = async {
        wait_for_crash_loop(&cluster).await?;
        trial.kubectl("get pods -n crashing-pod").await?;
        trial.kubectl("get httpscaledobject -n crashing-pod").await
    };
    match seen.await {
        Ok(_) => mixed_traffic::seen_at_zero(&cluster, &[(NAMESPACE, COLD)]).await,
        Err(error) => error,
    }
}

pub(super) const POD_THAT_NEVER_GETS_READY_ENDS_THE_HOLD: Case = Case {
    name: "pod_that_never_gets_ready_ends_the_hold",
    about: "The pod of a woken application ends with an error at every start. The held request gets its answer at the end of \
            the hold, 45 s here: 504, `rouse-error: readiness_timeout`. Nobody waits any more, and the Deployment goes back to \
            zero. Traffic to another application goes on.",
    needs: &[Need::Rouse],
    smoke: false,
    bound: Duration::from_mins(6),
    run: |trial| never_gets_ready(trial).boxed_local(),
};

async fn never_gets_ready(trial: &mut Trial) -> anyhow::Result<()> {
    const HOLD: Duration = Duration::from_secs(45);
    let cluster = trial.cluster().clone();
    let mut cold = Application::new(NAMESPACE, COLD).ready_after(0);
    cold.container()["args"] = json!(["--listen-delay=1h", "--exit-after=100ms"]);
    cold.route["spec"]["timeouts"] = json!({ "conditionWait": "45s" });
    let tenant = set_up(trial, cold).await?;
    let work = async {
        let held = http::get(tenant.proxy, COLD, "/", ANSWER_BOUND);
        let seen = async {
            wait_for_crash_loop(&cluster).await?;
            trial.kubectl("get pods -n crashing-pod").await
        };
        let (held, _) = tokio::try_join!(held, seen)?;
        trial
            .evidence
            .note(format_args!("The held request: {}", shown(&held)));
        cluster
            .wait_for_desired_replicas(NAMESPACE, COLD, 0, BOUND)
            .await?;
        trial
            .kubectl("get deployment,httpscaledobject -n crashing-pod")
            .await?;
        Ok(held)
    };
    let ([warm], held) = Box::pin(mixed_traffic::during(&cluster, [tenant], work)).await?;
    warm.check(trial, WARM, 0)?;
    let at_the_end = held.total >= HOLD && held.total < HOLD * 2;
    anyhow::ensure!(
        held.status == 504 && reason(&held) == "readiness_timeout" && at_the_end,
        "the held request: {}",
        shown(&held)
    );
    Ok(())
}

fn reason(answer: &Answer) -> &str {
    let reason = answer.headers.get("rouse-error");
    reason.and_then(|reason| reason.to_str().ok()).unwrap_or_default()
}

fn shown(answer: &Answer) -> String {
    format!("{}, rouse-error: {}", answer.summary(), reason(answer))
}

async fn wait_for_crash_loop(cluster: &Cluster) -> anyhow::Result<()> {
    cluster
        .wait_for("the pod waits to be started again", BOUND, async || {
            let pods = cluster.pods_in_short(NAMESPACE).await?;
            if pods.contains("CrashLoopBackOff") {
                wait::done(())
            } else {
                wait::not_yet(pods)
            }
        })
        .await
}

/// An application at zero that ends with an error this many times before it listens. Its pod remembers how often.
fn crashing(times: u32) -> Application {
    let mut application = Application::new(NAMESPACE, COLD).ready_after(0);
    let container = application.container();
    container["args"] = json!([format!("--fail-starts={times}"), "--record-starts=/starts/record"]);
    container["volumeMounts"] = json!([{ "name": "starts", "mountPath": "/starts" }]);
    application.pod()["volumes"] = json!([{ "name": "starts", "emptyDir": {} }]);
    application
}

/// The application that crashes, at zero, and another one, awake.
async fn set_up(trial: &mut Trial, cold: Application) -> anyhow::Result<Tenant> {
    let cluster = trial.cluster().clone();
    trial.namespace(NAMESPACE).await?;
    trial
        .apply(&Application::new(NAMESPACE, WARM).manifests())
        .await?;
    trial.apply(&cold.manifests()).await?;
    application_nodes::wait_until_scaled(&cluster, &[(NAMESPACE, WARM), (NAMESPACE, COLD)]).await?;
    let tenant = Tenant {
        proxy: application_nodes::proxy(&cluster).await?,
        host: WARM,
        namespace: NAMESPACE,
        deployment: WARM,
    };
    mixed_traffic::wake(&cluster, tenant).await?;
    Ok(tenant)
}
