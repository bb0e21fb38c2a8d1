//! Endpoints that fail: what is tried again, and what never is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::support::{BlackHole, Interceptor, Origin, Route, UnboundOrigin, eventually};

/// The next request on the connection, its body included; `None` when the proxy has closed.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a length"));
            if body.len() >= length {
                return head.lines().next().map(str::to_owned);
            }
        }
    }
}

async fn answer(stream: &mut TcpStream) {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        .await
        .expect("the proxy reads");
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a socket option");
    drop(stream);
}

/// The request lines that an application saw.
#[derive(Clone, Default)]
struct Requests(Arc<Mutex<Vec<String>>>);

impl Requests {
    fn add(&self, line: String) -> usize {
        let mut lines = self.0.lock();
        lines.push(line);
        lines.len()
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

#[tokio::test]
async fn a_connection_that_the_endpoint_closed_while_idle_is_not_used_again() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let closed = Arc::new(AtomicUsize::new(0));
    let origin = Origin::raw({
        let closed = Arc::clone(&closed);
        move |mut stream, _| {
            let closed = Arc::clone(&closed);
            async move {
                request(&mut stream).await.expect("a request");
                answer(&mut stream).await;
                stream.shutdown().await.expect("open");
                // The proxy closes its side as soon as it has seen ours closed.
                assert_eq!(request(&mut stream).await, None, "no second request");
                closed.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    for round in 1..=5 {
        assert_eq!(client.post("/", "body").await.status, 200);
        eventually("the proxy has seen the connection closed", async || {
            closed.load(Ordering::SeqCst) == round
        })
        .await;
    }
    assert_eq!(origin.connections(), 5);
    interceptor.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_closes_after_each_response_loses_no_get() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let origin = Origin::raw(|mut stream, _| async move {
        if request(&mut stream).await.is_some() {
            answer(&mut stream).await;
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    for _ in 0..50 {
        let response = client.get("/").await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    interceptor.stop().await;
}

#[tokio::test]
async fn a_get_whose_connection_breaks_is_repeated_and_a_post_is_not() {
    for rude in [false, true] {
        let interceptor = Interceptor::serving(Route::to("app")).await;
        let requests = Requests::default();
        // Every other request is read and not answered.
        let origin = Origin::raw({
            let requests = requests.clone();
            move |mut stream, _| {
                let requests = requests.clone();
                async move {
                    while let Some(line) = request(&mut stream).await {
                        if requests.add(line) % 2 == 1 {
                            if rude {
                                reset(stream);
                            }
                            return;
                        }
                        answer(&mut stream).await;
                    }
                }
            }
        });
        interceptor.endpoints("app", &[origin.addr]);

        let get = interceptor.get("/").await;
        assert_eq!(get.status, 200, "{get:?}");
        assert_eq!(requests.all(), ["GET / HTTP/1.1", "GET / HTTP/1.1"]);

        let post = interceptor.client().await.post("/", "body").await;
        assert_eq!((post.status, post.header("rouse-error")), (502, "upstream_reset"));
        assert_eq!(requests.all()[2..], ["POST / HTTP/1.1"], "once");
        interceptor.stop().await;
    }
}

#[tokio::test]
async fn a_request_on_a_used_connection_that_breaks_is_treated_alike() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let requests = Requests::default();
    // The second request on every connection is read and not answered.
    let origin = Origin::raw({
        let requests = requests.clone();
        move |mut stream, _| {
            let requests = requests.clone();
            async move {
                if let Some(line) = request(&mut stream).await {
                    requests.add(line);
                    answer(&mut stream).await;
                }
                if let Some(line) = request(&mut stream).await {
                    requests.add(line);
                }
            }
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let mut client = interceptor.client().await;
    assert_eq!(client.get("/1").await.status, 200);
    assert_eq!(client.get("/2").await.status, 200);
    assert_eq!(
        requests.all(),
        ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /2 HTTP/1.1"]
    );
    let post = client.post("/3", "body").await;
    assert_eq!((post.status, post.header("rouse-error")), (502, "upstream_reset"));
    assert_eq!(requests.all()[3..], ["POST /3 HTTP/1.1"], "once");
    assert_eq!(client.post("/4", "body").await.status, 200, "on a new connection");
    interceptor.stop().await;
}

/// What a pod that is killed does: every kept connection breaks at once, more of them than the retry budget has room for.
#[tokio::test]
async fn kept_connections_that_break_all_at_once_cost_no_get() {
    const CLIENTS: usize = 400;
    let interceptor = Interceptor::start_with(|args| {
        args.max_idle_connections = 1_600;
        args.max_idle_connections_per_endpoint = 1_600;
    })
    .await;
    interceptor.serve(Route::to("app")).await;
    let arrived = Arc::new(tokio::sync::watch::Sender::new(0_usize));
    // Answers the first round together, so that as many connections are kept; breaks off the second round together; and
    // answers whatever comes after.
    let origin = Origin::raw({
        let arrived = Arc::clone(&arrived);
        move |mut stream, _| {
            let arrived = Arc::clone(&arrived);
            async move {
                while request(&mut stream).await.is_some() {
                    let mut number = 0_usize;
                    arrived.send_modify(|arrived| {
                        *arrived += 1;
                        number = *arrived;
                    });
                    let round = number.div_ceil(CLIENTS);
                    if round <= 2 {
                        let mut all = arrived.subscribe();
                        // The sender lives as long as this task.
                        let _all = all.wait_for(|arrived| *arrived >= round * CLIENTS).await;
                    }
                    if round == 2 {
                        return;
                    }
                    answer(&mut stream).await;
                }
            }
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(interceptor.client().await);
    }
    for _ in 0..2 {
        for client in &mut clients {
            client.begin_get("/").await;
        }
        for client in &mut clients {
            let response = client.response().await;
            assert_eq!(response.status, 200, "{response:?}");
        }
    }
    assert_eq!(
        *arrived.borrow(),
        3 * CLIENTS,
        "each of the second round was repeated once"
    );
    interceptor.stop().await;
}

#[tokio::test]
async fn a_get_is_not_repeated_for_ever() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let requests = Requests::default();
    let origin = Origin::raw({
        let requests = requests.clone();
        move |mut stream, _| {
            let requests = requests.clone();
            async move {
                if let Some(line) = request(&mut stream).await {
                    requests.add(line);
                }
            }
        }
    });
    interceptor.endpoints("app", &[origin.addr]);
    let response = interceptor.get("/").await;
    assert_eq!(
        (response.status, response.header("rouse-error")),
        (502, "upstream_reset")
    );
    assert_eq!(requests.all().len(), 3, "once and twice more");
    interceptor.stop().await;
}

#[tokio::test]
async fn a_response_that_breaks_off_is_not_taken_for_a_whole_one() {
    for body in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhel",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n",
    ] {
        let interceptor = Interceptor::serving(Route::to("app")).await;
        let origin = Origin::raw(move |mut stream, _| async move {
            if request(&mut stream).await.is_some() {
                stream.write_all(body.as_bytes()).await.expect("the proxy reads");
                // The proxy has it when it is acknowledged; a reset would throw away what is not.
                stream.flush().await.expect("the proxy reads");
            }
        });
        interceptor.endpoints("app", &[origin.addr]);
        let mut client = interceptor.client().await;
        client.begin_get("/").await;
        let head = client.head().await;
        assert_eq!(head.status, 200);
        let rest = client.closed().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "no regular end: {rest:?}");
        assert!(rest.len() < 10 || head.header("content-length").is_empty());
        assert_eq!(origin.connections(), 1, "not repeated");
        interceptor.has_requests("app", 0).await;
        interceptor.stop().await;
    }
}

#[tokio::test]
async fn requests_go_to_the_other_endpoint_when_one_refuses() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let (alive, dead) = (Origin::hello(), UnboundOrigin::new());
    interceptor.endpoints("app", &[alive.addr, dead.addr]);
    let mut client = interceptor.client().await;
    for number in 0..100 {
        let response = if number % 2 == 0 {
            client.get("/").await
        } else {
            client.post("/", "body").await
        };
        assert_eq!(response.status, 200, "{response:?}");
    }
    assert_eq!(alive.request_count(), 100);
    interceptor.stop().await;
}

#[tokio::test]
async fn held_requests_go_to_the_other_endpoint_when_one_refuses() {
    let interceptor = Interceptor::serving(Route::to("app").concurrency_target(5)).await;
    let mut clients = interceptor.hold("app", 50).await;
    let (alive, dead) = (Origin::hello(), UnboundOrigin::new());
    interceptor.endpoints("app", &[dead.addr, alive.addr]);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(alive.request_count(), 50);
    interceptor.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_closes_at_once_costs_the_other_ones_gets_nothing() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let alive = Origin::hello();
    let closing = Origin::raw(|stream, _| async move { drop(stream) });
    interceptor.endpoints("app", &[alive.addr, closing.addr]);
    let mut client = interceptor.client().await;
    for _ in 0..100 {
        let response = client.get("/").await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    println!(
        "measured: {} connections to the endpoint that closes",
        closing.connections()
    );
    interceptor.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_only_closes_is_not_hammered() {
    let interceptor = Interceptor::serving(Route::to("app").readiness_timeout("500ms")).await;
    let closing = Origin::raw(|stream, _| async move { reset(stream) });
    interceptor.endpoints("app", &[closing.addr]);
    for method in ["GET", "POST"] {
        let mut client = interceptor.client().await;
        client
            .send(format!(
                "{method} / HTTP/1.1\r\nhost: app.example.com\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
        let response = client.response().await;
        assert!([502, 504].contains(&response.status), "{response:?}");
    }
    println!("measured: {} connections within a second", closing.connections());
    assert!(closing.connections() < 1_000, "{}", closing.connections());
    interceptor.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_takes_no_connections_costs_one_connect_timeout() {
    let interceptor = Interceptor::serving(Route::to("app")).await;
    let (alive, dead) = (Origin::hello(), BlackHole::new().await);
    interceptor.endpoints("app", &[alive.addr, dead.addr]);
    let mut client = interceptor.client().await;
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    println!(
        "measured: {:?} for 20 requests, one endpoint without an answer",
        began.elapsed()
    );
    interceptor.stop().await;
}

#[tokio::test]
async fn requests_to_an_endpoint_that_takes_no_connections_do_not_wait_for_one_another() {
    for route in [Route::to("app"), Route::to("app").over_h2c()] {
        let interceptor = Interceptor::serving(route.readiness_timeout("1s")).await;
        let mut held = interceptor.hold("app", 30).await;
        let dead = BlackHole::new().await;
        let began = Instant::now();
        interceptor.endpoints("app", &[dead.addr]);
        for client in &mut held {
            let response = client.response().await;
            assert_eq!(
                (response.status, response.header("rouse-error")),
                (504, "readiness_timeout")
            );
        }
        println!("measured: {:?} until all had their answer", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        interceptor.stop().await;
    }
}
