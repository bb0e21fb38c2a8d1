//! One attempt to get an answer from one endpoint.

use std::time::Duration;

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::time::Instant;

use super::{RequestBody, body::Upload, error::ProxyError, exchange::Carrier, headers};
use crate::{
    endpoint::Endpoint,
    plan::UpstreamProtocol,
    pool::{Dialer, Leased},
    worker::WorkerId,
};

/// How long a connection may have been idle for a request that cannot be repeated: a server that closes an idle
/// connection as the request crosses cannot be told from one that has acted on it.
const UNREPEATABLE_MAX_IDLE: Duration = Duration::from_secs(1);

/// How an attempt failed, and what may be done about it.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// Not one byte of the request left, and it is where it was taken from: any request may go elsewhere.
    NotSent { error: ProxyError, stale: bool },
    /// The request left, in whole or in part: only one that may be repeated may be sent again.
    Sent { error: ProxyError, stale: bool },
    /// Sending it again would not mend it: the endpoint is slow, its answer malformed, or the client's body broke off.
    Final { error: ProxyError },
}

/// Takes the request out to be sent, in the form that `protocol` wants.
///
/// It comes back where nothing of it was sent, and is put there anew where it may be sent twice; in every other case
/// the attempt was the last.
fn take(outgoing: &mut Request<RequestBody>, protocol: UpstreamProtocol) -> Request<RequestBody> {
    let mut request = std::mem::replace(outgoing, Request::new(RequestBody::empty()));
    headers::address_to(&mut request, protocol);
    request
}

/// What an attempt needs besides the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptSettings<'a> {
    pub(crate) worker: WorkerId,
    pub(crate) dialer: &'a Dialer,
    pub(crate) response_header: Option<Duration>,
    /// Whether the request could be sent again.
    pub(crate) repeatable: bool,
    /// Open a connection, whatever the pool has: one of its connections has just failed this request.
    pub(crate) fresh: bool,
}

/// Sends the request in `outgoing` to `endpoint` and waits for the head of the answer. The request is taken when it is
/// sent, not before: handed from future to future it would take its size in each of them.
///
/// # Cancel safety
/// A dropped attempt closes its HTTP/1.1 connection, or resets its HTTP/2 stream.
pub(crate) async fn attempt(
    endpoint: &Endpoint,
    outgoing: &mut Request<RequestBody>,
    upload: Option<&Upload>,
    settings: AttemptSettings<'_>,
) -> Result<(Response<Incoming>, Carrier), AttemptError> {
    match endpoint.protocol() {
        UpstreamProtocol::Http1 => over_h1(endpoint, outgoing, upload, settings).await,
        UpstreamProtocol::H2c => Box::pin(over_h2(endpoint, outgoing, upload, settings)).await,
    }
}

async fn over_h1(
    endpoint: &Endpoint,
    outgoing: &mut Request<RequestBody>,
    upload: Option<&Upload>,
    settings: AttemptSettings<'_>,
) -> Result<(Response<Incoming>, Carrier), AttemptError> {
    let max_idle = if settings.repeatable {
        Duration::MAX
    } else {
        UNREPEATABLE_MAX_IDLE
    };
    let idle = || endpoint.pool().h1(settings.worker).take(Instant::now(), max_idle);
    let (mut connection, reused) = match (!settings.fresh).then(idle).flatten() {
        Some(connection) => (connection, true),
        None => match Box::pin(settings.dialer.h1(endpoint.addr())).await {
            Ok(connection) => (connection, false),
            Err(error) => {
                let error = ProxyError::Connect(error);
                return Err(AttemptError::NotSent { error, stale: false });
            }
        },
    };
    let sent = connection.send(take(outgoing, endpoint.protocol()));
    let response = within(settings.response_header, upload, sent)
        .await?
        .map_err(|error| failed(error, outgoing, reused))?;
    Ok((response, Carrier::H1(connection)))
}

async fn over_h2(
    endpoint: &Endpoint,
    outgoing: &mut Request<RequestBody>,
    upload: Option<&Upload>,
    settings: AttemptSettings<'_>,
) -> Result<(Response<Incoming>, Carrier), AttemptError> {
    let connect = || settings.dialer.h2(endpoint.addr());
    let Leased {
        mut connection,
        lease,
        reused,
    } = match endpoint.pool().h2(settings.worker).get(connect).await {
        Ok(leased) => leased,
        Err(error) => {
            let error = ProxyError::Connect(error);
            return Err(AttemptError::NotSent { error, stale: false });
        }
    };
    let request = take(outgoing, endpoint.protocol());
    let sent = connection.sender().try_send_request(request);
    let response = within(settings.response_header, upload, sent)
        .await?
        .map_err(|error| failed(error, outgoing, reused))?;
    Ok((response, Carrier::H2 { lease }))
}

/// Waits for the head of the answer for at most `limit`, from the sending or from the last movement of the request's
/// body, whichever is later: a long upload is no late answer.
async fn within<T>(
    limit: Option<Duration>,
    upload: Option<&Upload>,
    answer: impl Future<Output = T>,
) -> Result<T, AttemptError> {
    let Some(limit) = limit else {
        return Ok(answer.await);
    };
    let mut answer = std::pin::pin!(answer);
    let mut deadline = Instant::now() + limit;
    loop {
        if let Ok(answer) = tokio::time::timeout_at(deadline, &mut answer).await {
            return Ok(answer);
        }
        let later = upload.map_or(deadline, |upload| upload.moved() + limit);
        if later <= deadline {
            return Err(AttemptError::Final {
                error: ProxyError::ResponseHeaderTimeout(limit),
            });
        }
        deadline = later;
    }
}

fn failed(
    mut error: TrySendError<Request<RequestBody>>,
    outgoing: &mut Request<RequestBody>,
    reused: bool,
) -> AttemptError {
    let request = error.take_message();
    let cause = error.into_error();
    match request {
        Some(request) => {
            let error = ProxyError::UpstreamReset(cause);
            *outgoing = request;
            AttemptError::NotSent { error, stale: reused }
        }
        None if cause.is_user() => AttemptError::Final {
            error: ProxyError::RequestBody(cause),
        },
        None if cause.is_parse() => AttemptError::Final {
            error: ProxyError::UpstreamProtocol(cause),
        },
        None => AttemptError::Sent {
            error: ProxyError::UpstreamReset(cause),
            stale: reused,
        },
    }
}
