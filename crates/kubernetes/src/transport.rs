//! What a watch's requests go through: it notes every sign of life, and ends what gives none.
//!
//! A connection can die without closing: a node that lost its network, a firewall that forgot it, an API server that hangs.
//! TCP notices after a quarter of an hour. So the API server is asked to end each watch after [`WATCH`], which costs it
//! next to nothing (the next one goes on where the last one ended, nothing is listed again), and a watch on which nothing
//! at all has come [`WATCH`] + 5 s after the last byte is dead: kube's watcher gives it up and begins the next one. For
//! what is no watch yet, [`ANSWER`] bounds the wait for an answer's head and [`IDLE`] the wait for its next byte.
//! Nothing is therefore deaf for longer than 40 s, well within the time that requests are held.
//!
//! A watch that is taken and ended at once is no failure to kube's watcher, which asks for the next one without a pause. So
//! requests for watches are [spaced out](Spacing).

use std::{
    fmt::Debug,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use kube::{
    Api, Client, Resource,
    client::Body,
    runtime::watcher::{self, Event, watcher},
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::{BoxError, service_fn};

use crate::{driver::LONGEST_PAUSE, guard::Guarded, health::WatchHealth};

/// How long one watch lasts, in seconds. The API server sends a bookmark shortly before the end, so that the next one
/// begins at the present also where nothing happened.
const WATCH: u32 = 30;

/// From a request to its answer's head.
const ANSWER: Duration = Duration::from_secs(30);

/// Between two bytes of an answer. Above what kube's watcher waits for, which is the first to give up a watch.
const IDLE: Duration = Duration::from_secs(40);

/// Nothing came in time.
#[derive(Debug, thiserror::Error)]
#[error("silent for {0:?}")]
struct Silent(Duration);

/// The events of a watch.
pub(crate) fn events<K>(
    api: Api<Guarded<K>>,
    labels: Option<&str>,
    fields: Option<&str>,
) -> BoxStream<'static, watcher::Result<Event<Guarded<K>>>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
{
    let settings = watcher::Config::default().timeout(WATCH);
    let settings = match labels {
        Some(labels) => settings.labels(labels),
        None => settings,
    };
    let settings = match fields {
        Some(fields) => settings.fields(fields),
        None => settings,
    };
    watcher(api, settings).boxed()
}

/// How an event begins that tells of an error in place of an object.
const ERROR_EVENT: &[u8] = br#"{"type":"ERROR""#;

/// A watch that the API server ends after as long as this has been kept, whether there was anything to tell or not: some
/// send no bookmark before an end.
const KEPT: Duration = Duration::from_secs(WATCH as u64 / 2);

/// `client`, for the requests of one watch.
pub(crate) fn observed(client: &Client, health: &Arc<WatchHealth>) -> Client {
    let (namespace, client, health) = (
        client.default_namespace().to_owned(),
        client.clone(),
        Arc::clone(health),
    );
    let spacing = Mutex::new(Spacing::default());
    let service = service_fn(move |request: Request<Body>| {
        let (client, health) = (client.clone(), Arc::clone(&health));
        let is_watch = is_watch(&request);
        let pause = if is_watch {
            spacing.lock().pause()
        } else {
            Duration::ZERO
        };
        async move {
            sleep(pause).await;
            let answer = timeout(ANSWER, client.send(request)).await;
            let response: Response<Body> = answer.map_err(|_| Silent(ANSWER))??;
            let is_taken = response.status().is_success();
            if is_taken {
                health.works();
            } else {
                health.contact();
            }
            Ok::<_, BoxError>(response.map(|body| ObservedBody {
                body,
                health,
                watching_since: (is_taken && is_watch).then(Instant::now),
                deadline: Box::pin(sleep(IDLE)),
            }))
        }
    });
    Client::new(service, namespace)
}

/// `client`, for one watch that kube's watcher keeps by itself: its requests are spaced out.
pub fn spaced(client: &Client) -> Client {
    let (namespace, client) = (client.default_namespace().to_owned(), client.clone());
    let spacing = Mutex::new(Spacing::default());
    let service = service_fn(move |request: Request<Body>| {
        let client = client.clone();
        let pause = if is_watch(&request) {
            spacing.lock().pause()
        } else {
            Duration::ZERO
        };
        async move {
            sleep(pause).await;
            client.send(request).await.map_err(BoxError::from)
        }
    });
    Client::new(service, namespace)
}

/// The first pause before a watch whose predecessor was short. Doubled with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A watch that lasted as long as this was worth its request.
const WORTH_IT: Duration = Duration::from_secs(1);

/// How far apart requests for one watch are: the next follows at once on one that lasted, and later and later on those that
/// did not.
#[derive(Debug, Default)]
struct Spacing {
    /// When the last request was sent.
    last: Option<Instant>,
    pause: Duration,
}

impl Spacing {
    /// How long the request that is to be sent now has to wait.
    fn pause(&mut self) -> Duration {
        let now = Instant::now();
        let since = self.last.map_or(Duration::MAX, |last| now - last);
        self.pause = if since >= WORTH_IT {
            Duration::ZERO
        } else {
            (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
        };
        // Whoever had a reason to wait has waited in part.
        let pause = self.pause.saturating_sub(since);
        self.last = Some(now + pause);
        pause
    }
}

/// Whether a request asks for a watch, and not for a list.
fn is_watch(request: &Request<Body>) -> bool {
    let mut parameters = request.uri().query().unwrap_or_default().split('&');
    parameters.any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

/// An answer's body.
struct ObservedBody {
    body: Body,
    health: Arc<WatchHealth>,
    /// Of a watch that was taken. A list is no word on the objects before it is whole.
    watching_since: Option<Instant>,
    deadline: Pin<Box<Sleep>>,
}

impl ObservedBody {
    /// Takes in what came next.
    fn note(&mut self, frame: Option<&Result<Frame<Bytes>, kube::Error>>) {
        let is_confirmed = match frame {
            Some(Ok(frame)) => {
                self.health.contact();
                self.deadline.as_mut().reset(Instant::now() + IDLE);
                self.watching_since.is_some()
                    && frame
                        .data_ref()
                        .is_some_and(|data| !data.starts_with(ERROR_EVENT))
            }
            Some(Err(_)) => {
                self.watching_since = None;
                false
            }
            None => self
                .watching_since
                .take()
                .is_some_and(|since| since.elapsed() >= KEPT),
        };
        if is_confirmed {
            self.health.confirmed();
        }
    }
}

impl HttpBody for ObservedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.note(frame.as_ref());
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(Silent(IDLE).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
