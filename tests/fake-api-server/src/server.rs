//! The server itself: its listener, its clients, what can be done to it, and what all of its parts share.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    fault::Fault,
    handler::{self, Cut},
    kinds::{Kind, all_kinds},
    record::RequestLog,
    store::Store,
};

/// An API server on a loopback port. Clones are the same server; it ends with the last of them.
#[derive(Debug, Clone)]
pub struct FakeApiServer {
    pub(crate) shared: Arc<Shared>,
    addr: SocketAddr,
    _end: Arc<DropGuard>,
}

/// What answers at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    answers: bool,
    watches: bool,
}

/// What the parts of one server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Mutex<Store>,
    pub(crate) faults: Mutex<Vec<Fault>>,
    pub(crate) log: Mutex<RequestLog>,
    /// Counts up with every change of an object and every request.
    pub(crate) changed: watch::Sender<u64>,
    flow: watch::Sender<Flow>,
    bookmarks: Mutex<u64>,
    open_watches: Mutex<BTreeMap<String, usize>>,
    /// Cancelled to end the watches that are open.
    cut: Mutex<CancellationToken>,
    /// Ends connections and accepting; `None` while connections are refused.
    serving: Mutex<Option<CancellationToken>>,
    /// The server's own end.
    end: CancellationToken,
}

impl Shared {
    /// Wakes whoever waits for a change or a request.
    pub(crate) fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) async fn until_answering(&self) {
        let mut flow = self.flow.subscribe();
        // Fails only once the sender is gone, and `self` holds it.
        drop(flow.wait_for(|flow| flow.answers).await);
    }

    pub(crate) async fn until_watches_flow(&self) {
        let mut flow = self.flow.subscribe();
        drop(flow.wait_for(|flow| flow.watches).await);
    }

    pub(crate) fn bookmarks_asked(&self) -> u64 {
        *self.bookmarks.lock()
    }

    pub(crate) fn watch_cut(&self) -> CancellationToken {
        self.cut.lock().child_token()
    }

    pub(crate) fn watch_opened(&self, plural: &str) {
        *self.open_watches.lock().entry(plural.to_owned()).or_default() += 1;
        self.notify();
    }

    pub(crate) fn watch_closed(&self, plural: &str) {
        if let Some(count) = self.open_watches.lock().get_mut(plural) {
            *count = count.saturating_sub(1);
        }
        self.notify();
    }
}

impl FakeApiServer {
    /// A server with the namespace `default` and all kinds of [`all_kinds`].
    pub async fn start() -> Self {
        Self::start_with(all_kinds()).await
    }

    /// A server that knows these kinds only.
    pub async fn start_with(kinds: Vec<Kind>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("bind a loopback port");
        let addr = listener.local_addr().expect("the address of a bound listener");
        let end = CancellationToken::new();
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new(kinds)),
            faults: Mutex::default(),
            log: Mutex::default(),
            changed: watch::Sender::new(0),
            flow: watch::Sender::new(Flow {
                answers: true,
                watches: true,
            }),
            bookmarks: Mutex::default(),
            open_watches: Mutex::default(),
            cut: Mutex::new(end.child_token()),
            serving: Mutex::new(None),
            end: end.clone(),
        });
        serve(&shared, listener);
        let server = Self {
            shared,
            addr,
            _end: Arc::new(end.drop_guard()),
        };
        server.create_namespace("default");
        server
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The text of a kubeconfig file for it, for programs.
    pub fn kubeconfig(&self) -> String {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url()}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        })
        .to_string()
    }

    /// A client over TCP, as in production. It repeats 429, 503 and 504 by itself.
    pub fn client(&self) -> kube::Client {
        let url = self.url().parse().expect("a URL of an address");
        kube::Client::try_from(kube::Config::new(url)).expect("a client without TLS")
    }

    /// A client without sockets, for tests under paused time: nothing but timers is waited for outside the runtime.
    pub fn memory_client(&self) -> kube::Client {
        let shared = Arc::clone(&self.shared);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let shared = Arc::clone(&shared);
            async move {
                let Some(serving) = shared.serving.lock().clone() else {
                    return Err(Cut);
                };
                tokio::select! {
                    () = serving.cancelled() => Err(Cut),
                    answer = handler::answer(shared, request) => answer,
                }
            }
        });
        kube::Client::new(service, "default")
    }

    /// What happens to the next requests that match.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.lock().push(fault);
    }

    /// Takes back the faults that are left.
    pub fn clear_faults(&self) {
        self.shared.faults.lock().clear();
    }

    /// From now on no request is answered and no watch says anything; connections stay open.
    pub fn stop_answering(&self) {
        self.set_flow(false, false);
    }

    /// From now on watches say nothing and do not end either; requests are answered.
    pub fn stall_watches(&self) {
        self.set_flow(true, false);
    }

    /// Ends [`Self::stop_answering`] and [`Self::stall_watches`]; what was withheld follows.
    pub fn resume(&self) {
        self.set_flow(true, true);
    }

    fn set_flow(&self, answers: bool, watches: bool) {
        self.shared.flow.send_replace(Flow { answers, watches });
    }

    /// Ends every open watch, as a server does that restarts.
    pub fn close_watches(&self) {
        let cut = std::mem::replace(&mut *self.shared.cut.lock(), self.shared.end.child_token());
        cut.cancel();
    }

    /// Closes every connection and refuses new ones.
    pub fn refuse_connections(&self) {
        let serving = self.shared.serving.lock().take();
        if let Some(serving) = serving {
            serving.cancel();
        }
        self.close_watches();
    }

    /// Ends [`Self::refuse_connections`], on the same port.
    pub async fn accept_connections(&self) {
        let mut attempts = 0;
        // The listener that was told to end may hold the port for a moment.
        let listener = loop {
            match TcpListener::bind(self.addr).await {
                Ok(listener) => break listener,
                Err(error) if attempts > 1000 => panic!("listen at {} again: {error}", self.addr),
                Err(_) => {
                    attempts += 1;
                    tokio::task::yield_now().await;
                }
            }
        };
        serve(&self.shared, listener);
    }

    /// Forgets old versions: a watch or page from before now is answered with `410 Gone`.
    pub fn compact(&self) {
        self.shared.store.lock().compact();
        self.shared.notify();
    }

    /// Sends a bookmark on every watch that allows it.
    pub fn send_bookmarks(&self) {
        *self.shared.bookmarks.lock() += 1;
        self.shared.notify();
    }

    /// Watches open at present of a kind, by its plural.
    pub fn open_watches(&self, plural: &str) -> usize {
        self.shared.open_watches.lock().get(plural).copied().unwrap_or(0)
    }
}

/// Accepts from `listener` until told not to.
fn serve(shared: &Arc<Shared>, listener: TcpListener) {
    let serving = shared.end.child_token();
    *shared.serving.lock() = Some(serving.clone());
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = serving.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let shared = Arc::clone(&shared);
            let serving = serving.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| handler::answer(Arc::clone(&shared), request));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    () = serving.cancelled() => {}
                    // A client that leaves, or a fault on demand.
                    _ = connection => {}
                }
            });
        }
    });
}
