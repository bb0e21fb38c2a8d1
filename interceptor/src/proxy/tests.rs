//! The size of a request.

use super::*;

/// Just above today's size. Every request in progress takes it, held ones too: what is added shows here.
const FUTURE_BYTES: usize = 2_640;

/// The bytes of what `handle` returns, without a connection to make a request from.
fn size_of_output<A, B, F>(_: impl FnOnce(A, B) -> F) -> usize {
    size_of::<F>()
}

#[test]
#[expect(clippy::print_stdout, reason = "the size is told with the test")]
fn the_request_future_stays_small() {
    let size = size_of_output(Proxy::handle);
    println!("a request's future takes {size} bytes");
    assert!(size <= FUTURE_BYTES, "{size} bytes");
}
