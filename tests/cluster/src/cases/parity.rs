//! The same cases in a cluster and in one `rouse local` process: what is seen in both has to be the same.
//!
//! A [`Group`] has manifests (Deployments, Services, HTTPScaledObjects: what `rouse local` reads) and scenes. [`run`] applies
//! the manifests in a namespace, starts `rouse local` with the very same file, waits until both serve the routes, and plays
//! each scene in both, side by side. A scene is one function of a [`Place`]: it sends requests, reads `/queue`, looks at how
//! often a Deployment was scaled and to what, and never asks which of the two it is in. What it sees goes into [`Sights`],
//! row by row, in words that do not depend on the names of pods, on addresses or on the hour. A row also says what is
//! expected, where the documents say it. The case fails when a row differs between the two, when one of them lacks a row,
//! or when a row is not what was expected. The evidence is the table of rows, with a column for each place.
//!
//! What a place cannot play is named with its reason in the group (`left_out`) and in the evidence; nothing is skipped
//! without a word. What is exempt from the comparison, and why, is in `request.rs`: addresses, the date, pods' names.
//!
//! The program is taken out of the very image that the nodes run (`local.rs`). Manifests that name another command than the
//! image's own say `rouse`: in the image it is found on `PATH`, and here on that of the process. The scenes' time is bounded
//! by the case's bound; every request and every wait has one of its own.

mod cluster;
mod forwarding;
mod holding;
mod local;
mod manifests;
mod messages;
mod place;
mod request;
mod routing;
mod scaling;
mod sights;

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{FutureExt as _, future::LocalBoxFuture};

use self::{cluster::OnCluster, local::Local, manifests::App, place::Place, sights::Sights};
use crate::{
    case::{Case, Need},
    trial::Trial,
};

const BOUND: Duration = Duration::from_mins(8);

/// What is played in both places.
struct Scene {
    /// What is shown.
    title: &'static str,
    play: for<'a> fn(&'a Place, &'a mut Sights) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// Scenes that share their applications.
struct Group {
    namespace: &'static str,
    apps: fn() -> Vec<App>,
    scenes: &'static [Scene],
    /// What a place cannot play, and why.
    left_out: &'static [(&'static str, &'static str)],
}

macro_rules! case {
    ($constant:ident, $name:literal, $run:expr, $about:literal) => {
        pub(super) const $constant: Case = Case {
            name: $name,
            about: $about,
            needs: &[Need::Rouse],
            smoke: false,
            bound: BOUND,
            run: $run,
        };
    };
}

case!(
    ROUTING,
    "parity_with_rouse_local_routing",
    |trial| run(trial, &routing::GROUP).boxed_local(),
    "The same manifests in a cluster and in one `rouse local` process: which route a request takes, by host, wildcard, path \
     and header, and what is answered where there is none."
);
case!(
    FORWARDING,
    "parity_with_rouse_local_forwarding",
    |trial| run(trial, &forwarding::GROUP).boxed_local(),
    "The same manifests in a cluster and in one `rouse local` process: cold and warm requests, what the application sees of \
     a request and the client of an answer, large bodies, HTTP/2, trailers."
);
case!(
    HOLDING,
    "parity_with_rouse_local_holding",
    |trial| run(trial, &holding::GROUP).boxed_local(),
    "The same manifests in a cluster and in one `rouse local` process: how long and how many requests are held, how a hold \
     ends, what becomes of a client that leaves, and of an application that breaks off."
);
case!(
    SCALING,
    "parity_with_rouse_local_scaling",
    |trial| run(trial, &scaling::GROUP).boxed_local(),
    "The same manifests in a cluster and in one `rouse local` process: how many replicas there are, from zero to several and \
     back, and what a replica's end costs. In the cluster KEDA and the horizontal pod autoscaler decide, every 15 and 5 s; \
     `rouse local` decides as they do, every second."
);
case!(
    MESSAGES,
    "parity_with_rouse_local_messages",
    |trial| messages::run(trial).boxed_local(),
    "The same faulty manifests in a cluster and given to `rouse local`: what the condition's message says there and what is \
     written to the terminal here."
);

async fn run(trial: &mut Trial, group: &'static Group) -> anyhow::Result<()> {
    let apps = (group.apps)();
    let (there, here) = Box::pin(open(trial, group.namespace, &apps)).await?;
    let (there_saw, here_saw) = tokio::try_join!(play(&there, group.scenes), play(&here, group.scenes))
        .map_err(|error| {
            let said = here.said().unwrap_or_default();
            error.context(format!("rouse local said:\n{said}"))
        })?;
    trial.evidence.note(sights::table(&there_saw, &here_saw));
    for (what, reason) in group.left_out {
        trial.evidence.note(format_args!("Not played: {what}. {reason}"));
    }
    here.end().await?;
    sights::compare(&there_saw, &here_saw)
}

/// Both places, with the applications' objects, their routes served.
async fn open(trial: &mut Trial, namespace: &str, apps: &[App]) -> anyhow::Result<(Place, Place)> {
    let manifests: Vec<_> = apps.iter().flat_map(|app| app.objects(namespace)).collect();
    let there = Box::pin(OnCluster::open(trial, namespace, apps, &manifests)).await?;
    let here = Local::start(trial.cluster(), namespace, apps, &manifests)
        .await
        .context("rouse local")?;
    let command = format!("rouse local -f {namespace}.yaml");
    trial.evidence.command(command, &here.opening());
    Ok((
        Place::new(namespace, there.into()),
        Place::new(namespace, here.into()),
    ))
}

async fn play(place: &Place, scenes: &[Scene]) -> anyhow::Result<Sights> {
    let mut sights = Sights::default();
    for scene in scenes {
        sights.begin(scene.title);
        (scene.play)(place, &mut sights)
            .await
            .with_context(|| format!("{}, in {place}", scene.title))?;
    }
    Ok(sights)
}
