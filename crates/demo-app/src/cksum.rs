//! The checksum of POSIX `cksum`, so that a body can be checked against a file with a tool that every machine has.

/// The running checksum of a stream of bytes.
///
/// ```
/// let mut cksum = rouse_demo_app::Cksum::new();
/// cksum.update(b"hello ");
/// cksum.update(b"world\n");
/// assert_eq!((cksum.bytes(), cksum.finish()), (12, 3_733_384_285)); // printf 'hello world\n' | cksum
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cksum {
    crc: u32,
    bytes: u64,
}

impl Cksum {
    /// The checksum of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what follows.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc = bytes.iter().fold(self.crc, |crc, byte| step(crc, *byte));
        self.bytes += bytes.len() as u64;
    }

    /// How many bytes were taken in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The checksum of everything taken in, as `cksum` prints it.
    pub fn finish(&self) -> u32 {
        let mut crc = self.crc;
        let mut length = self.bytes;
        while length > 0 {
            crc = step(crc, (length & 0xff) as u8);
            length >>= 8;
        }
        !crc
    }
}

fn step(crc: u32, byte: u8) -> u32 {
    (crc << 8) ^ TABLE[usize::from((crc >> 24) as u8 ^ byte)]
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x04c1_1db7
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};
