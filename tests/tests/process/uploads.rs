//! A large body for a target at zero: never gathered in memory.

use std::{
    io::Write as _,
    sync::mpsc,
    time::{Duration, Instant},
};

use rouse_tests::{PATIENCE, Rouse, eventually, http, manifest::Tenant, process};

const SIZE: usize = 64 * 1024 * 1024;

#[test]
fn an_upload_to_a_target_at_zero_arrives_byte_for_byte_and_is_not_gathered_in_memory() {
    let rouse = Rouse::start(&Tenant::new("upload").yaml(), &["--node-delay", "3s"]);
    // Not a constant: a block in the wrong place has to show.
    let body: Vec<u8> = (0..SIZE as u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    let expected = cksum(&body);
    let before = process::resident_bytes(rouse.pid());

    let mut stream = http::connect(rouse.proxy()).expect("the proxy listens");
    let started = Instant::now();
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: upload.test\r\ncontent-length: {SIZE}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the proxy reads");
    let mut writer = stream.try_clone().expect("a second handle");
    let (written, all_written) = mpsc::channel();
    let sender = std::thread::spawn(move || {
        let result = writer.write_all(&body);
        // The receiver is alive until the thread is joined.
        let _told = written.send(());
        result
    });

    eventually("the request is held", PATIENCE, || {
        (rouse.queued("upload") == 1).then_some(())
    });
    let mut most = before;
    // While held and while it passes: the highest that a look every 20 ms sees.
    while let Err(mpsc::RecvTimeoutError::Timeout) = all_written.recv_timeout(Duration::from_millis(20)) {
        most = most.max(process::resident_bytes(rouse.pid()));
    }
    sender
        .join()
        .expect("it only writes")
        .expect("all of the body is taken");
    let answer = http::read_answer(&mut stream, started).expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.took >= Duration::from_secs(3), "it was held");
    let report = answer.json();
    assert_eq!(report["bytes"], SIZE);
    assert_eq!(report["cksum"], expected);
    let grown = most.saturating_sub(before);
    assert!(
        grown < 16 * 1024 * 1024,
        "resident memory grew by {grown} bytes for a body of {SIZE}"
    );
}

/// POSIX `cksum`: CRC-32 with the polynomial 0x04C11DB7, the length appended, inverted. Written here once more so that
/// the test does not trust the application's own.
fn cksum(bytes: &[u8]) -> u32 {
    let mut table = [0_u32; 256];
    for (n, entry) in (0_u32..).zip(table.iter_mut()) {
        *entry = (0..8).fold(n << 24, |crc, _| (crc << 1) ^ (0x04c1_1db7 * (crc >> 31)));
    }
    let step = |crc: u32, byte: u8| (crc << 8) ^ table[((crc >> 24) as u8 ^ byte) as usize];
    let crc = bytes.iter().fold(0, |crc, byte| step(crc, *byte));
    let mut length = bytes.len();
    let mut crc = crc;
    while length > 0 {
        crc = step(crc, (length & 0xff) as u8);
        length >>= 8;
    }
    !crc
}
