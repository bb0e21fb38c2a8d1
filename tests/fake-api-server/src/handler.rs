//! From a request to its answer: the log, the faults, and what the path and method ask for.

use std::{future::pending, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Either, Full};
use serde_json::{Value, json};

use crate::{
    delete::Preconditions,
    discovery,
    fault::{self, Effect},
    kinds::Kind,
    list,
    patch::{Write, Written},
    query::{ObjectPath, Query},
    record::{RequestRecord, Verb},
    scale,
    server::Shared,
    status::Refusal,
    watch::{Watch, WatchBody},
};

/// A whole answer, or a watch.
pub(crate) type AnswerBody = Either<Full<Bytes>, WatchBody>;

/// The connection is closed in place of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("connection closed by a fault on demand")
    }
}

impl std::error::Error for Cut {}

enum Answer {
    Object(StatusCode, Value, bool),
    Watch(Box<Watch>),
}

/// Answers one request.
pub(crate) async fn answer<B>(shared: Arc<Shared>, request: Request<B>) -> Result<Response<AnswerBody>, Cut>
where
    B: http_body::Body,
{
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let path = ObjectPath::parse(parts.uri.path());
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let record = record(
        &parts,
        path.as_ref(),
        query.as_ref().unwrap_or(&Query::default()),
        &body,
    );
    let effects = fault::take(&mut shared.faults.lock(), &record);
    let verb = record.verb;
    let number = shared.log.lock().add(record);
    shared.notify();
    shared.until_answering().await;
    let mut refused = None;
    let (mut is_cut, mut is_ended) = (false, false);
    for effect in &effects {
        match effect {
            Effect::Wait(by) => tokio::time::sleep(*by).await,
            Effect::Hang => pending::<()>().await,
            Effect::Cut => is_cut = true,
            Effect::End => is_ended = true,
            Effect::Answer(..) => refused = effect.refusal(),
        }
    }
    let answered = match (refused, query) {
        (Some(refusal), _) | (None, Err(refusal)) => Err(refusal),
        (None, Ok(query)) => dispatch(&shared, &parts, path.as_ref(), query, verb, &body),
    };
    let wants_metadata = wants_metadata(&parts.headers);
    let (code, has_changed, body) = match answered {
        Ok(Answer::Watch(_)) if is_ended => (StatusCode::OK, false, Either::Left(Full::default())),
        Ok(Answer::Watch(watch)) => (StatusCode::OK, false, Either::Right(watch.start(&shared))),
        Ok(Answer::Object(code, object, has_changed)) => {
            let is_object = object.is_object() && object["kind"] != "Status";
            let object = if wants_metadata && is_object {
                list::metadata_only(&object)
            } else {
                object
            };
            (code, has_changed, Either::Left(full(&object)))
        }
        Err(refusal) => (refusal.code, false, Either::Left(full(&refusal.body))),
    };
    shared.log.lock().answered(number, code.as_u16(), has_changed);
    shared.notify();
    if is_cut {
        return Err(Cut);
    }
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// A plain text stays one.
fn full(value: &Value) -> Full<Bytes> {
    match value {
        Value::String(text) => Full::new(text.clone().into()),
        other => Full::new(other.to_string().into()),
    }
}

fn wants_metadata(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("as=PartialObjectMetadata"))
}

fn record(parts: &Parts, path: Option<&ObjectPath>, query: &Query, body: &Bytes) -> RequestRecord {
    let user_agent = parts
        .headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    let of = |read: fn(&ObjectPath) -> Option<&String>| path.and_then(read).cloned().unwrap_or_default();
    let verb = Verb::of(&parts.method, path, query);
    let mut name = of(|path| path.name.as_ref());
    if verb == Verb::Create
        && let Ok(object) = parse(body)
    {
        object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut name);
    }
    RequestRecord {
        verb,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        resource: of(|path| Some(&path.plural)),
        namespace: of(|path| Some(&path.namespace)),
        name,
        subresource: of(|path| path.subresource.as_ref()),
        user_agent: user_agent.unwrap_or_default().to_owned(),
        field_manager: query.field_manager.clone().unwrap_or_default(),
        code: 0,
        has_changed: false,
    }
}

fn dispatch(
    shared: &Shared,
    parts: &Parts,
    path: Option<&ObjectPath>,
    query: Query,
    verb: Verb,
    body: &Bytes,
) -> Result<Answer, Refusal> {
    let mut store = shared.store.lock();
    let Some((path, kind)) = path.and_then(|path| store.kind_at(path).map(|kind| (path, kind))) else {
        let found = discovery::answer(store.kinds(), parts.uri.path());
        let found = found.map(|answer| Answer::Object(StatusCode::OK, answer, false));
        return found.ok_or_else(Refusal::unknown_path);
    };
    let subresource = path.subresource.as_deref().unwrap_or_default();
    let is_known = match subresource {
        "" => true,
        "status" => kind.has_status,
        "scale" => kind.has_scale,
        _ => false,
    };
    if !is_known {
        return Err(Refusal::unknown_path());
    }
    if kind.namespaced && path.namespace.is_empty() && (path.name.is_some() || verb == Verb::Create) {
        return Err(Refusal::bad_request("an object of this kind is in a namespace"));
    }
    let name = path.name.as_deref().unwrap_or_default();
    let write = Write {
        kind: &kind,
        namespace: &path.namespace,
        name,
        subresource,
        query: &query,
        manager: &manager(&query, &parts.headers),
    };
    let written = match verb {
        Verb::Get => {
            let object = store.get(&kind, &path.namespace, name);
            let object = object.ok_or_else(|| Refusal::not_found(&kind.plural, name))?;
            return Ok(Answer::Object(
                StatusCode::OK,
                shown(&kind, subresource, &object),
                false,
            ));
        }
        Verb::List => {
            let list = list::list(&store, &kind, &path.namespace, &query)?;
            return Ok(Answer::Object(StatusCode::OK, list, false));
        }
        Verb::Watch => {
            return Ok(Answer::Watch(Box::new(Watch {
                namespace: path.namespace.clone(),
                is_metadata_only: wants_metadata(&parts.headers),
                query,
                kind,
            })));
        }
        Verb::Delete => {
            let preconditions = Preconditions::parse(&parse(body)?, &query);
            let before = store.version();
            let object = store.delete_checked(
                &kind,
                &path.namespace,
                path.name.as_deref(),
                &query,
                &preconditions,
            )?;
            let has_changed = store.version() != before;
            drop(store);
            shared.notify();
            return Ok(Answer::Object(StatusCode::OK, object, has_changed));
        }
        Verb::Create => write.create(&mut store, parse(body)?)?,
        Verb::Update => write.update(&mut store, parse(body)?)?,
        Verb::Patch => {
            let content_type = parts
                .headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok());
            write.patch(&mut store, content_type.unwrap_or_default(), &parse(body)?)?
        }
    };
    drop(store);
    shared.notify();
    let Written {
        code,
        object,
        has_changed,
    } = written;
    Ok(Answer::Object(
        code,
        shown(&kind, subresource, &object),
        has_changed,
    ))
}

fn shown(kind: &Kind, subresource: &str, object: &Value) -> Value {
    if subresource == "scale" {
        scale::of(object)
    } else {
        list::in_version(kind, object)
    }
}

fn parse(body: &Bytes) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn manager(query: &Query, headers: &HeaderMap) -> String {
    let agent = headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok());
    let first = agent
        .and_then(|agent| agent.split('/').next())
        .filter(|first| !first.is_empty());
    query
        .field_manager
        .clone()
        .unwrap_or_else(|| first.unwrap_or("unknown").to_owned())
}
