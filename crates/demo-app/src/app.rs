//! Listens, accepts, and stops.

#[cfg(test)]
mod tests;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::{Either, select};
use hyper::{rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    pin,
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Args, Executed, Timing, connection::Connection, service::Service, starts};

/// Connections that the kernel completes before the application accepts them.
const BACKLOG: u32 = 1024;
/// Pause after a failed accept, which as a rule means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// How long a keep-alive connection may be silent. Longer than any proxy keeps its own, so that the proxy's choice counts.
const IDLE_TIMEOUT: Duration = Duration::from_hours(2);

/// Why the application did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The file of `--record-executed`.
    #[error("open the record of executed requests")]
    OpenRecord(#[source] io::Error),
    /// The address could not be taken.
    #[error("listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A running application. Dropping it closes its listener and its connections.
#[derive(Debug)]
pub struct DemoApp {
    addr: SocketAddr,
    service: Arc<Service>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
    drain_timeout: Duration,
}

impl DemoApp {
    /// Starts the application: waits for `listen_delay`, listens, and accepts in tasks of the current runtime.
    ///
    /// `exit_after`, `exit_code`, `fail_starts` and `record_starts` concern [`run`] only.
    pub async fn start(args: Args) -> Result<Self, StartError> {
        let timing = Timing::start();
        let executed = match &args.record_executed {
            Some(path) => Executed::recorded(path).map_err(StartError::OpenRecord)?,
            None => Executed::default(),
        };
        if !args.listen_delay.is_zero() {
            sleep(args.listen_delay).await;
        }
        let addr = SocketAddr::new(args.host, args.port);
        let listener = listen(addr).map_err(|source| StartError::Listen { addr, source })?;
        timing.listened();
        let addr = listener
            .local_addr()
            .map_err(|source| StartError::Listen { addr, source })?;

        let app = Self {
            addr,
            service: Arc::new(Service::new(&args, executed, timing)),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            drain_timeout: args.drain_timeout,
        };
        let accept = app.acceptor().run(listener);
        app.tasks.spawn(accept);
        Ok(app)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has executed.
    pub fn executed(&self) -> &Executed {
        &self.service.executed
    }

    /// When it listened, and when its first request came.
    pub fn timing(&self) -> &Timing {
        &self.service.timing
    }

    /// Stops accepting, lets requests in flight end for at most `drain_timeout`, then closes what is left.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(self.drain_timeout, self.tasks.wait()).await.is_err() {
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }

    fn acceptor(&self) -> Acceptor {
        Acceptor {
            service: Arc::clone(&self.service),
            stop: self.stop.clone(),
            abort: self.abort.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

impl Drop for DemoApp {
    fn drop(&mut self) {
        self.stop.cancel();
        self.abort.cancel();
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A replica takes its port again while connections of the one before linger.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Owns the listener until `stop`, and every connection until `abort`.
#[derive(Debug, Clone)]
struct Acceptor {
    service: Arc<Service>,
    stop: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let accept = async {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let abort = self.abort.clone();
                        let serve = self.clone().serve(stream);
                        self.tasks
                            .spawn(async move { abort.run_until_cancelled(serve).await });
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
        };
        self.stop.run_until_cancelled(accept).await;
    }

    /// Serves one connection to its end; a connection's failure concerns its client only.
    async fn serve(self, stream: TcpStream) {
        // Without it answers are late; failing means that the connection is gone already.
        drop(stream.set_nodelay(true));
        let (connection, first_byte) = Connection::new(stream);
        let mut builder = auto::Builder::new(TrackedExecutor {
            tasks: self.tasks,
            abort: self.abort,
        });
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).adaptive_window(true);
        let service = service_fn(move |request| {
            let (service, first_byte) = (Arc::clone(&self.service), first_byte.clone());
            async move { service.answer(request, &first_byte).await }
        });
        let connection = builder.serve_connection(TokioIo::new(connection), service);
        pin!(connection);
        let stop = self.stop.cancelled();
        pin!(stop);
        if let Either::Right(((), mut connection)) = select(connection, stop).await {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

/// Runs the streams of HTTP/2 connections, so that they end with the application too.
#[derive(Debug, Clone)]
struct TrackedExecutor {
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for TrackedExecutor {
    fn execute(&self, stream: F) {
        let abort = self.abort.clone();
        self.tasks
            .spawn(async move { abort.run_until_cancelled(stream).await });
    }
}

/// Runs the application until SIGTERM or SIGINT, or until `exit_after`; one of the first `fail_starts` times not at all.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(record) = &args.record_starts {
        let starts =
            starts::record(record).with_context(|| format!("record the start in {}", record.display()))?;
        if starts <= args.fail_starts {
            return Ok(ExitCode::from(args.exit_code));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .context("start the runtime")?;
    let exit_after = args.exit_after;
    let exit_code = args.exit_code;
    runtime.block_on(async move {
        // Before anything that takes time, so that a stop during --listen-delay is seen.
        let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let exit = async {
            match exit_after {
                Some(after) => sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = serve(args, stop) => result.map(|()| ExitCode::SUCCESS),
            () = exit => Ok(ExitCode::from(exit_code)),
        }
    })
}

async fn serve(args: Args, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    pin!(stop);
    let app = tokio::select! {
        app = DemoApp::start(args) => app?,
        () = &mut stop => return Ok(()),
    };
    // Whoever started this may have closed its end; serving matters more.
    drop(writeln!(io::stdout(), "listening on http://{}", app.addr()));
    stop.await;
    app.shutdown().await;
    Ok(())
}
