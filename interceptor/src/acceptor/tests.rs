//! Accepting under limits and errors.

use super::*;
use crate::downstream::{DownstreamSettings, testing::*};

#[test]
fn back_off_doubles_up_to_its_limit() {
    let mut backoff = Backoff::default();
    let pauses: Vec<_> = (0..10).map(|_| backoff.next().as_millis()).collect();
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
}

#[test]
fn want_of_resources_is_no_error_of_a_connection() {
    for errno in [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::NOBUFS,
        Errno::INVAL,
    ] {
        assert!(!is_of_the_connection(&errno.into()), "{errno:?}");
    }
    for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO] {
        assert!(is_of_the_connection(&errno.into()), "{errno:?}");
    }
}

#[tokio::test]
async fn the_port_cannot_be_taken_by_another() {
    let server = Server::start(1, DownstreamSettings::default());
    assert!(Acceptor::bind(server.addr).is_err());
}

#[tokio::test(start_paused = true)]
async fn connections_that_wait_too_long_for_the_routes_are_closed() {
    let acceptor = Acceptor::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut client = TcpStream::connect(acceptor.local_addr()).unwrap();
    client.set_nonblocking(true).unwrap();
    let is_open = |client: &mut TcpStream| io::Read::read(client, &mut [0]).is_err();
    let waiting = acceptor.turn_away_until(std::future::pending());
    assert!(
        time::timeout(MAX_EARLY_WAIT.saturating_sub(Duration::from_millis(1)), waiting)
            .await
            .is_err()
    );
    assert!(is_open(&mut client), "it may still be answered");
    let waiting = acceptor.turn_away_until(std::future::pending());
    assert!(
        time::timeout(MAX_EARLY_WAIT + Duration::from_millis(1), waiting)
            .await
            .is_err()
    );
    assert!(!is_open(&mut client));
    acceptor.turn_away_until(std::future::ready(())).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn accepted_sockets_inherit_their_options() {
    let acceptor = Acceptor::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let _client = TcpStream::connect(acceptor.local_addr()).unwrap();
    let (socket, _) = within(acceptor.listener.async_io(Interest::READABLE, accept))
        .await
        .unwrap();
    let socket = socket2::SockRef::from(&socket);
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
}

#[tokio::test]
async fn an_ipv4_client_of_a_dual_stack_listener_has_an_ipv4_address() {
    let mut server = Server::start_at("[::]:0", 1, DownstreamSettings::default());
    server.addr.set_ip([127, 0, 0, 1].into());
    let mut client = server.connect().await;
    client.get("/").await;
    let connection = server.arrival().await;
    assert_eq!(connection.peer_addr(), client.stream.local_addr().unwrap());
    assert_eq!(connection.local_addr().unwrap(), server.addr);
}

#[tokio::test]
async fn accepting_pauses_at_the_limit_of_connections() {
    let mut server = Server::start(
        2,
        DownstreamSettings {
            max_connections: 3,
            ..DownstreamSettings::default()
        },
    );
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.get("/").await;
        server.arrival().await;
        server.event().await;
        clients.push(client);
    }
    let mut waiting = server.connect().await;
    waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(clients[0].get("/").await.ends_with("hello"));
    server.arrival().await;
    server.event().await;
    assert!(server.has_no_event() && server.workers.open_connections() == 3);
    clients.remove(0).leave();
    assert!(waiting.response().await.ends_with("hello"));
}

#[tokio::test]
async fn stopping_serves_the_backlog_and_closes_the_listener() {
    let server = Server::start(1, DownstreamSettings::default());
    // Neither has been accepted when the acceptor, on this thread, hears of the stop.
    let connect = || Client {
        stream: tokio_stream(server.addr),
    };
    let (mut first, mut second) = (connect(), connect());
    server.stop_accepting.cancel();
    within(server.accepting).await.unwrap();
    assert!(first.get("/").await.ends_with("hello"));
    assert!(second.get("/").await.ends_with("hello"));
    assert!(TcpStream::connect(server.addr).is_err());
}

fn tokio_stream(addr: SocketAddr) -> tokio::net::TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}
