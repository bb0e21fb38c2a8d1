//! Bodies pass through: whole, in their order, when their turn has come, and not gathered on the way.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;

use crate::support::{Interceptor, Origin, Route, eventually, soon, streamed, text};

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|place| (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

#[tokio::test]
async fn a_post_of_16_mib_is_held_and_arrives_byte_for_byte() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let arrived: Arc<Mutex<Bytes>> = Arc::default();
    let origin = Origin::start({
        let arrived = Arc::clone(&arrived);
        move |request| {
            let arrived = Arc::clone(&arrived);
            async move {
                let body = request.into_body().collect().await.expect("the whole body");
                let body = body.to_bytes();
                let length = body.len();
                *arrived.lock() = body;
                Response::new(text(length.to_string()))
            }
        }
    });
    let sent = pattern(16 << 20);
    let mut client = interceptor.client().await;
    let body = sent.clone();
    let answer = tokio::spawn(async move { client.post("/", body).await });
    interceptor.has_requests("app", 1).await;
    interceptor.endpoints("app", &[origin.addr]);

    let response = answer.await.expect("no panic");
    assert_eq!((response.status, response.text()), (200, "16777216"));
    assert!(*arrived.lock() == sent, "byte for byte");
    assert_eq!(origin.only_request().headers["content-length"], "16777216");
    interceptor.stop().await;
}

#[tokio::test]
async fn a_client_is_told_to_continue_only_when_the_endpoints_turn_comes() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::echo();
    let mut client = interceptor.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
        .await;
    interceptor.has_requests("app", 1).await;
    let early = client.bytes_within(Duration::from_millis(100)).await;
    assert_eq!(early, "", "nothing while it is held");

    interceptor.endpoints("app", &[origin.addr]);
    assert_eq!(client.head().await.status, 100);
    client.send("hello").await;
    let response = client.response().await;
    assert_eq!((response.status, response.text()), (200, "hello"));
    interceptor.stop().await;
}

#[tokio::test]
async fn both_directions_stream_at_the_same_time() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::echo();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: app.example.com\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    client.send("3\r\none\r\n").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await.as_deref(), Some(b"one".as_slice()));
    for word in ["two", "six"] {
        client.send(format!("3\r\n{word}\r\n")).await;
        assert_eq!(client.chunk().await.as_deref(), Some(word.as_bytes()));
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);
    interceptor.has_requests("app", 0).await;
    assert_eq!(client.get("/again").await.status, 200, "the connection goes on");
    interceptor.stop().await;
}

#[tokio::test]
async fn a_response_reaches_its_client_chunk_by_chunk_and_counts_to_its_last_byte() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let (frames, body) = streamed();
    let body = Mutex::new(Some(body));
    let origin = Origin::start(move |_| {
        let body = body.lock().take().expect("one request");
        async { Response::new(body) }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    assert_eq!(client.head().await.status, 200);
    for word in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        frames.send(Frame::data(word.into())).expect("it streams");
        assert_eq!(client.chunk().await.as_deref(), Some(word.as_bytes()));
        interceptor.has_requests("app", 1).await;
    }
    drop(frames);
    assert_eq!(client.chunk().await, None);
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_not_taken_for_a_whole_one() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let (outcome, outcome_told) = tokio::sync::oneshot::channel();
    let outcome = Mutex::new(Some(outcome));
    let origin = Origin::start(move |request| {
        let outcome = outcome.lock().take().expect("one request");
        async move {
            // Told or not, the test goes on.
            let _told = outcome.send(request.into_body().collect().await.is_err());
            Response::new(text("done"))
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 10\r\n\r\nhello")
        .await;
    eventually("the request is at the application", async || {
        origin.request_count() == 1
    })
    .await;
    client.leave();
    // The application sees an error, or it is cancelled: in no case a body of five bytes.
    let broke = soon("the end of the upload", outcome_told).await;
    assert!(broke.unwrap_or(true));
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn an_answer_to_half_an_upload_reaches_the_client_and_poisons_no_connection() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    // It reads nothing of a body.
    let origin = Origin::hello();
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client
        .send("POST /early HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 1000000\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        .await;
    let early = client.response().await;
    assert_eq!((early.status, early.text()), (200, "hello"));
    drop(client);

    let mut client = interceptor.client().await;
    for number in 0..5 {
        assert_eq!(client.get(&format!("/{number}")).await.status, 200);
    }
    assert_eq!(origin.targets(), ["/early", "/0", "/1", "/2", "/3", "/4"]);
    let seen = origin.seen();
    assert_ne!(
        seen[0].connection, seen[1].connection,
        "not the half-used connection"
    );
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}

#[tokio::test]
async fn a_slow_reader_does_not_make_the_proxy_gather_the_response() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let taken = Arc::new(Mutex::new(0_usize));
    let origin = Origin::start({
        let taken = Arc::clone(&taken);
        move |_| {
            let taken = Arc::clone(&taken);
            async move {
                let chunks = futures_util::stream::iter(0..4096).map(move |_| {
                    *taken.lock() += 64 << 10;
                    Ok::<_, io::Error>(Frame::data(Bytes::from(vec![b'x'; 64 << 10])))
                });
                Response::new(StreamBody::new(chunks).boxed_unsync())
            }
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    client.begin_get("/").await;
    assert_eq!(client.head().await.status, 200);
    // 256 MiB are there to be had; without a reader they stay there, but for what sockets take.
    let mut last = 0;
    eventually("the stream comes to a stop", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = *taken.lock();
        std::mem::replace(&mut last, now) == now && now > 0
    })
    .await;
    println!(
        "measured: {} KiB taken from the application without a reader",
        last >> 10
    );
    assert!(last < 64 << 20, "{last}");
    client.reset();
    interceptor.has_requests("app", 0).await;
    interceptor.stop().await;
}
