//! The watches behind [`Observed`](super::observed::Observed). A kind that the cluster does not have, or does not let us
//! read, is noticed once and looked for again every [`RECHECK`]; a watch that breaks keeps what it knew. Where the kind is
//! watched in each namespace of the scope, one that we may not read is noted and the others go on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream, SelectAll, select_all},
};
use kube::{
    Api, Client,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    CALL_TIMEOUT,
    observed::{Collection, Knowledge, Objects},
    ownership::Ownership,
    resource::{Kind, Resource},
    settings::{Scope, ScopeWatch},
};
use crate::observed::ObjectName;

/// How often a kind that is missing is looked for.
pub(super) const RECHECK: Duration = Duration::from_secs(10);

/// Where the objects of a kind are looked for.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Everywhere.
    Everywhere,
    /// In the namespaces of the scope.
    Scope(ScopeWatch),
    /// In one namespace; only this object, where one is named.
    Namespace(Arc<str>, Option<Arc<str>>),
}

/// The objects of one kind, as the watch tells of them.
#[derive(Debug)]
pub(super) struct Source<T> {
    collection: Mutex<Collection<T>>,
    changed: Arc<Notify>,
}

/// One watch of a kind.
pub(super) struct SourceWatch<T> {
    pub(super) client: Client,
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) ownership: Ownership,
    pub(super) source: Arc<Source<T>>,
}

type Events = BoxStream<'static, (Option<Arc<str>>, watcher::Result<Event<DynamicObject>>)>;

/// Why the events of a kind are not listened to any longer.
enum End {
    /// Something about the kind is wrong: look for it again.
    Trouble(String),
    /// The namespaces have changed.
    ScopeChanged,
}

// === impl Source ===

impl<T: Clone> Source<T> {
    pub(super) fn new(changed: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            collection: Mutex::default(),
            changed: Arc::clone(changed),
        })
    }

    /// What is known now. Copies pointers.
    pub(super) fn snapshot(&self) -> Collection<T> {
        self.collection.lock().clone()
    }

    pub(super) fn version(&self) -> &'static str {
        self.collection.lock().version
    }

    fn change(&self, change: impl FnOnce(&mut Collection<T>)) {
        change(&mut self.collection.lock());
        self.changed.notify_one();
    }
}

// === impl SourceWatch ===

impl<T: DeserializeOwned + Clone + Debug + Send + Sync + 'static> SourceWatch<T> {
    /// Watches for as long as it is polled.
    pub(super) async fn run(mut self) {
        let kind = self.kind.kind();
        let mut told = String::new();
        loop {
            let trouble = match served_version(&self.client, self.kind).await {
                Ok(Some(version)) => {
                    if !told.is_empty() {
                        tracing::info!(kind, version, "the kind is there now");
                        told.clear();
                    }
                    match self.listen(version).await {
                        End::ScopeChanged => {
                            // Until the new namespaces are listed, what is known is no picture of the new scope.
                            self.source
                                .change(|collection| collection.knowledge = Knowledge::Pending);
                            continue;
                        }
                        End::Trouble(trouble) => trouble,
                    }
                }
                Ok(None) => {
                    self.source.change(|collection| {
                        collection.knowledge = Knowledge::Missing;
                        collection.objects.clear();
                    });
                    format!(
                        "the cluster has no {}.{} in {}",
                        self.kind.plural(),
                        self.kind.group(),
                        self.kind.versions().join(" or ")
                    )
                }
                // Not knowing is no reason to forget.
                Err(error) => format!("cannot ask for {}: {error}", self.kind.plural()),
            };
            if told != trouble {
                tracing::info!(kind, trouble, recheck = ?RECHECK, "gateway objects of this kind are done without");
                told = trouble;
            }
            sleep(RECHECK).await;
        }
    }

    async fn listen(&mut self, version: &'static str) -> End {
        let (mut events, namespaces) = self.events(version).await;
        let is_of_scope = matches!(self.place, Place::Scope(_)) && namespaces.is_some();
        self.source.change(|collection| {
            collection.version = version;
            collection.unreadable.clear();
            collection.scope = match &namespaces {
                Some(namespaces) if is_of_scope => Scope::Only(Arc::new(namespaces.clone())),
                _ => Scope::All,
            };
            if let Some(namespaces) = &namespaces {
                collection
                    .objects
                    .retain(|name, _| namespaces.contains(&name.namespace));
                // What the new ones hold is not known yet.
                collection.knowledge = Knowledge::Pending;
                if namespaces.is_empty() {
                    collection.knowledge = Knowledge::Complete;
                }
            }
        });
        let mut unlisted: BTreeSet<Option<Arc<str>>> = match namespaces {
            None => BTreeSet::from([None]),
            Some(namespaces) => namespaces.into_iter().map(Some).collect(),
        };
        let mut lists: HashMap<Option<Arc<str>>, Objects<T>> = HashMap::new();
        loop {
            let event = match &mut self.place {
                Place::Scope(scope) => tokio::select! {
                    event = events.next() => event,
                    () = scope.changed() => return End::ScopeChanged,
                },
                _ => events.next().await,
            };
            let Some((within, event)) = event else {
                // No namespace to watch: only a change of the scope brings one.
                if let Place::Scope(scope) = &mut self.place {
                    scope.changed().await;
                }
                return End::ScopeChanged;
            };
            match event {
                Ok(Event::Init) => {
                    lists.insert(within, BTreeMap::new());
                }
                Ok(Event::InitApply(object)) => {
                    if let Some((name, object)) = self.read(object) {
                        lists.entry(within).or_default().insert(name, object);
                    }
                }
                Ok(Event::InitDone) => {
                    let list = lists.remove(&within).unwrap_or_default();
                    unlisted.remove(&within);
                    let mut is_readable_again = false;
                    self.source.change(|collection| {
                        is_readable_again = within
                            .as_ref()
                            .is_some_and(|within| collection.unreadable.remove(within));
                        collection.objects.retain(|name, _| {
                            within.as_ref().is_some_and(|within| name.namespace != *within)
                        });
                        collection.objects.extend(list);
                        if unlisted.is_empty() {
                            collection.knowledge = Knowledge::Complete;
                        }
                    });
                    if is_readable_again {
                        tracing::info!(
                            kind = self.kind.kind(),
                            namespace = within.as_deref(),
                            "the namespace can be read again"
                        );
                    }
                }
                Ok(Event::Apply(object)) => {
                    if let Some((name, object)) = self.read(object) {
                        self.source.change(|collection| {
                            collection.objects.insert(name, object);
                        });
                    }
                }
                Ok(Event::Delete(object)) => {
                    let name = ObjectName::of(&object.metadata);
                    self.source.change(|collection| {
                        collection.objects.remove(&name);
                    });
                }
                Err(error) => match refusal(&error) {
                    Some(404) => {
                        return End::Trouble(format!("{} is not served any longer", self.kind.plural()));
                    }
                    Some(401 | 403) if is_of_scope => {
                        lists.remove(&within);
                        unlisted.remove(&within);
                        self.cannot_read(within, unlisted.is_empty());
                    }
                    Some(401 | 403) => {
                        self.source
                            .change(|collection| collection.knowledge = Knowledge::Missing);
                        return End::Trouble(format!("not allowed to watch {}", self.kind.plural()));
                    }
                    // The pause comes with the stream.
                    _ => tracing::debug!(kind = self.kind.kind(), %error, "watch failed"),
                },
            }
        }
    }

    /// Notes that objects in a namespace cannot be read. What is known of them stays.
    fn cannot_read(&self, namespace: Option<Arc<str>>, are_others_known: bool) {
        let Some(namespace) = namespace else {
            return;
        };
        let is_known = self.source.collection.lock().unreadable.contains(&namespace);
        if is_known {
            return;
        }
        tracing::warn!(
            kind = self.kind.kind(),
            namespace = &*namespace,
            recheck = ?RECHECK,
            "not allowed to watch this kind in this namespace, gateway objects there are left as they are"
        );
        self.source.change(|collection| {
            collection.unreadable.insert(namespace);
            if are_others_known {
                collection.knowledge = Knowledge::Complete;
            }
        });
    }

    /// The events of the kind, and the namespaces that they come from where it is not all of them.
    async fn events(&mut self, version: &str) -> (SelectAll<Events>, Option<BTreeSet<Arc<str>>>) {
        let resource = self.kind.api_resource(version);
        let client = || rouse_kubernetes::spaced(&self.client);
        let everywhere = || vec![stream(None, Api::all_with(client(), &resource), None)];
        let within = |namespace: &Arc<str>, name: Option<&str>| {
            let api = Api::namespaced_with(client(), namespace, &resource);
            stream(Some(Arc::clone(namespace)), api, name)
        };
        let (streams, namespaces) = match &mut self.place {
            Place::Everywhere => (everywhere(), None),
            Place::Namespace(namespace, name) => (
                vec![within(namespace, name.as_deref())],
                Some(BTreeSet::from([Arc::clone(namespace)])),
            ),
            Place::Scope(scope) => match scope.known().await {
                Scope::All => (everywhere(), None),
                Scope::Only(namespaces) => (
                    namespaces
                        .iter()
                        .map(|namespace| within(namespace, None))
                        .collect(),
                    Some((*namespaces).clone()),
                ),
            },
        };
        (select_all(streams), namespaces)
    }

    /// Reads an object; one that cannot be read is left out, and told of.
    fn read(&self, object: DynamicObject) -> Option<(ObjectName, Arc<Resource<T>>)> {
        let name = ObjectName::of(&object.metadata);
        match Resource::read(object.metadata, object.data, &self.ownership) {
            Ok(resource) => Some((name, Arc::new(resource))),
            Err(error) => {
                tracing::warn!(kind = self.kind.kind(), object = %name, %error, "object cannot be read, skipped");
                None
            }
        }
    }
}

/// The events of one watch. One that is refused is begun anew, with a list, after [`RECHECK`].
fn stream(namespace: Option<Arc<str>>, api: Api<DynamicObject>, name: Option<&str>) -> Events {
    let config = match name {
        Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        None => watcher::Config::default(),
    };
    let begin = move || {
        watcher::watcher(api.clone(), config.clone())
            .default_backoff()
            .boxed()
    };
    let first = (begin(), false);
    stream::unfold(first, move |(mut events, is_refused)| {
        let (namespace, begin) = (namespace.clone(), begin.clone());
        async move {
            if is_refused {
                sleep(RECHECK).await;
                events = begin();
            }
            let event = events.next().await?;
            let is_refused = event
                .as_ref()
                .is_err_and(|error| matches!(refusal(error), Some(401 | 403)));
            Some(((namespace, event), (events, is_refused)))
        }
    })
    .boxed()
}

/// The best version of a kind that the cluster serves.
async fn served_version(client: &Client, kind: Kind) -> Result<Option<&'static str>, String> {
    if kind.group().is_empty() {
        return Ok(kind.versions().first().copied());
    }
    for version in kind.versions() {
        let group_version = format!("{}/{version}", kind.group());
        let asked = timeout(CALL_TIMEOUT, client.list_api_group_resources(&group_version)).await;
        match asked {
            Ok(Ok(list))
                if list
                    .resources
                    .iter()
                    .any(|resource| resource.name == kind.plural()) =>
            {
                return Ok(Some(version));
            }
            Ok(Ok(_)) => {}
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer within {CALL_TIMEOUT:?}")),
        }
    }
    Ok(None)
}

/// The status code of an answer that refuses a watch.
fn refusal(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}
