//! The application of these tests: `app PORT DIRECTORY`. It answers every connection with 200, or with 503 while the
//! directory holds a file `sick`, and writes a file `term` when it is told to end; with a file `stubborn` it stays.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

pub(crate) fn serve(words: &[String]) -> ExitCode {
    let [_, port, directory] = words else {
        return ExitCode::FAILURE;
    };
    let directory = PathBuf::from(directory);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap())).unwrap();
    let sick = directory.join("sick");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let status = if sick.exists() {
                "503 Service Unavailable"
            } else {
                "200 OK"
            };
            let mut head = [0; 1024];
            // A tcpSocket probe says nothing and leaves.
            if matches!(stream.read(&mut head), Ok(read) if read > 0) {
                let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                drop(stream.write_all(response.as_bytes()));
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).unwrap();
        loop {
            terminate.recv().await;
            std::fs::write(directory.join("term"), "").unwrap();
            if !directory.join("stubborn").exists() {
                return ExitCode::SUCCESS;
            }
        }
    })
}
