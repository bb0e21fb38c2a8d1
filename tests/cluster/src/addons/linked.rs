//! Images of programs that need shared libraries: the program, its libraries and its loader, each where it is here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use tokio::process::Command;

use crate::{
    command,
    images::{File, Image},
};

const LOOK_BOUND: Duration = Duration::from_secs(20);

/// An image of one program with what `ldd` says that it loads.
pub(super) async fn image(name: &str, program: &Path, place: &str) -> anyhow::Result<Image> {
    let mut ldd = Command::new("ldd");
    ldd.arg(program);
    let listed = command::run(&mut ldd, LOOK_BOUND)
        .await
        .context("list shared libraries")?;
    let mut image = Image::of_program(name, program, place);
    for library in libraries(&listed)? {
        let place = library
            .strip_prefix('/')
            .context("a library is at an absolute path")?
            .to_owned();
        // A link here, `libc.so.6` for instance, is the file itself in the image.
        image.files.push(File {
            source: PathBuf::from(library),
            place,
        });
    }
    Ok(image)
}

/// The absolute paths in what `ldd` writes: `libc.so.6 => /lib/…/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`. What
/// the kernel provides itself has no path.
fn libraries(listed: &str) -> anyhow::Result<Vec<&str>> {
    let mut libraries = Vec::new();
    for line in listed.lines() {
        anyhow::ensure!(
            !line.contains("not found"),
            "a shared library is missing: {}",
            line.trim()
        );
        let found = line.split_once("=>").map_or(line, |(_, path)| path);
        libraries.extend(
            found
                .split_whitespace()
                .next()
                .filter(|path| path.starts_with('/')),
        );
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_loader_are_taken_and_the_kernels_is_not() {
        let listed = "\tlinux-vdso.so.1 (0x00007efc71ac3000)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007efc6b61e000)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007efc71ac5000)\n";
        assert_eq!(
            libraries(listed).unwrap(),
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = libraries("\tlibzip.so.4 => not found\n").unwrap_err().to_string();
        assert!(error.contains("libzip.so.4"), "{error}");
    }

    #[tokio::test]
    async fn this_program_comes_with_its_c_library() {
        let program = std::env::current_exe().unwrap();
        let image = image("example.test/this:1", &program, "usr/bin/this")
            .await
            .unwrap();
        assert_eq!(image.files[0].place, "usr/bin/this");
        assert!(
            image.files.iter().any(|file| file.place.ends_with("libc.so.6")),
            "{image:?}"
        );
    }
}
