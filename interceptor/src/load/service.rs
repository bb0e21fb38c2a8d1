//! `rouse.load.v1.Load`: the load stream, served on the admin port's listener.

use std::{fmt, pin::Pin};

use futures_util::{Stream, StreamExt as _};
use rouse_proto::load::{LoadReport, WatchRequest, load_server};
use tonic::{Request, Response, Status};

use super::hub::LoadHub;

/// How many streams are served at once: every external-scaler replica has one, and reconnecting ones may have two.
pub const MAX_STREAMS: usize = 64;

/// Serves `Load/Watch` from a [`LoadHub`].
#[derive(Debug, Clone)]
pub struct LoadService {
    hub: LoadHub,
}

impl LoadService {
    /// A service over `hub`.
    pub fn new(hub: LoadHub) -> Self {
        Self { hub }
    }

    /// The service as the admin server takes it.
    pub fn into_server(self) -> load_server::LoadServer<Self> {
        load_server::LoadServer::new(self)
    }
}

/// The stream of reports to one subscriber. It is asked for the next report only when the last has left, so a slow
/// subscriber is told less often and holds up nobody.
pub struct WatchStream(Pin<Box<dyn Stream<Item = LoadReport> + Send>>);

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream").finish_non_exhaustive()
    }
}

impl Stream for WatchStream {
    type Item = Result<LoadReport, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx).map(|report| report.map(Ok))
    }
}

#[tonic::async_trait]
impl load_server::Load for LoadService {
    type WatchStream = WatchStream;

    async fn watch(&self, _request: Request<WatchRequest>) -> Result<Response<WatchStream>, Status> {
        if self.hub.stream_count() >= MAX_STREAMS {
            return Err(Status::resource_exhausted("too many load streams"));
        }
        Ok(Response::new(WatchStream(Box::pin(self.hub.watch()))))
    }
}
