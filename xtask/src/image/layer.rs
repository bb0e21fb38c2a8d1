//! The image's one layer: a tar of one file, the same bytes for the same program whenever it is made.

use std::io;

use tar::{EntryType, Header};

/// A tar with `program` at the root under `name`, owned by root and run by anybody.
pub(super) fn of_program(name: &str, program: &[u8]) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::with_capacity(program.len() + 4096));
    append(&mut tar, name, program, 0o755)?;
    tar.into_inner()
}

/// Adds a file without a date or an owner's name.
pub(super) fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
}
