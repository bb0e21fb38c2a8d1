//! The archive: an OCI image layout, and in the same file the `manifest.json` of `docker save`, so that everything that loads
//! images takes it. `docker save` itself writes both.

use std::{collections::BTreeSet, io};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::layer::append;

/// One image of the archive. All share the one layer.
#[derive(Debug)]
pub(super) struct Image {
    /// Repository and tag.
    pub(super) name: String,
    pub(super) entrypoint: Vec<String>,
    pub(super) command: Vec<String>,
    pub(super) ports: Vec<u16>,
    pub(super) version: String,
}

/// The archive's bytes.
#[derive(Debug)]
pub(super) struct Archive {
    bytes: Vec<u8>,
}

/// Nobody, by number: the kubelet cannot check a name against `runAsNonRoot`, and the root has no list of names.
const USER: &str = "65532:65532";

const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

impl Archive {
    /// An archive of `images` over one uncompressed layer.
    pub(super) fn new(layer: Vec<u8>, images: &[Image]) -> anyhow::Result<Self> {
        let mut writer = Writer {
            tar: tar::Builder::new(Vec::with_capacity(layer.len() + (64 << 10))),
            written: BTreeSet::new(),
        };
        writer.file("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        let layer_size = layer.len();
        let layer_digest = writer.blob(&layer)?;
        drop(layer);

        let (mut manifests, mut docker) = (Vec::new(), Vec::new());
        for image in images {
            let config = serde_json::to_vec(&image.config(&layer_digest))?;
            let config_digest = writer.blob(&config)?;
            let manifest = serde_json::to_vec(&json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": descriptor(CONFIG_TYPE, &config_digest, config.len()),
                "layers": [descriptor(LAYER_TYPE, &layer_digest, layer_size)],
            }))?;
            let manifest_digest = writer.blob(&manifest)?;
            let mut entry = descriptor(MANIFEST_TYPE, &manifest_digest, manifest.len());
            let tag = image.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
            if let Some(entry) = entry.as_object_mut() {
                entry.insert("platform".to_owned(), platform());
                // containerd takes the whole name from the first, the specification has only the second.
                entry.insert(
                    "annotations".to_owned(),
                    json!({
                        "io.containerd.image.name": image.name,
                        "org.opencontainers.image.ref.name": tag,
                    }),
                );
            }
            manifests.push(entry);
            docker.push(json!({
                "Config": blob_path(&config_digest),
                "RepoTags": [image.name],
                "Layers": [blob_path(&layer_digest)],
            }));
        }
        writer.file(
            "index.json",
            &json!({ "schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests }),
        )?;
        writer.file("manifest.json", &Value::from(docker))?;
        Ok(Self {
            bytes: writer.tar.into_inner()?,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Image {
    fn config(&self, layer: &str) -> Value {
        let ports: serde_json::Map<String, Value> = self
            .ports
            .iter()
            .map(|port| (format!("{port}/tcp"), json!({})))
            .collect();
        let mut config = platform();
        if let Some(config) = config.as_object_mut() {
            // No date: the same program gives the same image.
            config.insert("created".to_owned(), json!("1970-01-01T00:00:00Z"));
            config.insert(
                "config".to_owned(),
                json!({
                    "User": USER,
                    "Entrypoint": self.entrypoint,
                    "Cmd": self.command,
                    "ExposedPorts": ports,
                    "Env": ["PATH=/"],
                    "WorkingDir": "/",
                    "Labels": {
                        "org.opencontainers.image.title": "rouse",
                        "org.opencontainers.image.version": self.version,
                        "org.opencontainers.image.licenses": "Apache-2.0",
                    },
                }),
            );
            config.insert(
                "rootfs".to_owned(),
                json!({ "type": "layers", "diff_ids": [layer] }),
            );
            config.insert(
                "history".to_owned(),
                json!([{ "created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image" }]),
            );
        }
        config
    }
}

/// This machine's platform, in the words of the specification.
fn platform() -> Value {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({ "architecture": architecture, "os": "linux" })
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

struct Writer {
    tar: tar::Builder<Vec<u8>>,
    written: BTreeSet<String>,
}

impl Writer {
    /// Writes bytes under their digest, once, and gives the digest.
    fn blob(&mut self, bytes: &[u8]) -> io::Result<String> {
        let digest = format!("sha256:{}", hex(&Sha256::digest(bytes)));
        if self.written.insert(digest.clone()) {
            append(&mut self.tar, &blob_path(&digest), bytes, 0o644)?;
        }
        Ok(digest)
    }

    fn file(&mut self, path: &str, value: &Value) -> anyhow::Result<()> {
        append(&mut self.tar, path, &serde_json::to_vec(value)?, 0o644)?;
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use super::{super::layer, *};

    fn image(name: &str) -> Image {
        Image {
            name: name.to_owned(),
            entrypoint: vec!["/rouse".to_owned()],
            command: Vec::new(),
            ports: vec![8080],
            version: "1".to_owned(),
        }
    }

    fn files(archive: &Archive) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive.bytes()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            assert!(files.insert(path, bytes).is_none(), "a file is there twice");
        }
        files
    }

    fn json_at(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
        serde_json::from_slice(files.get(path).expect(path)).expect(path)
    }

    #[test]
    fn every_descriptor_of_both_formats_names_bytes_that_are_there() {
        let layer = layer::of_program("rouse", b"a program").unwrap();
        let archive = Archive::new(layer, &[image("a/b:1"), image("c/d:2")]).unwrap();
        let files = files(&archive);
        let check = |descriptor: &Value| -> Value {
            let digest = descriptor["digest"].as_str().unwrap();
            let bytes = files.get(&blob_path(digest)).expect(digest);
            assert_eq!(format!("sha256:{}", hex(&Sha256::digest(bytes))), digest);
            assert_eq!(descriptor["size"], bytes.len());
            serde_json::from_slice(bytes).unwrap_or_default()
        };
        let index = json_at(&files, "index.json");
        let docker = json_at(&files, "manifest.json");
        for (place, name) in [(0, "a/b:1"), (1, "c/d:2")] {
            let entry = &index["manifests"][place];
            assert_eq!(entry["annotations"]["io.containerd.image.name"], name);
            let manifest = check(entry);
            let config = check(&manifest["config"]);
            check(&manifest["layers"][0]);
            assert_eq!(config["config"]["User"], "65532:65532");
            // The layer is not compressed, so both of its digests are the same.
            assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
            assert_eq!(docker[place]["RepoTags"][0], name);
            for path in [&docker[place]["Config"], &docker[place]["Layers"][0]] {
                assert!(files.contains_key(path.as_str().unwrap()), "{path}");
            }
        }
    }

    #[test]
    fn the_layer_holds_one_program_that_anybody_may_run() {
        let layer = layer::of_program("rouse", b"a program").unwrap();
        let mut archive = tar::Archive::new(layer.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (
                    entry.path().unwrap().to_string_lossy().into_owned(),
                    header.mode().unwrap(),
                    header.mtime().unwrap(),
                )
            })
            .collect();
        assert_eq!(entries, [("rouse".to_owned(), 0o755, 0)]);
    }

    #[test]
    fn the_same_program_gives_the_same_archive() {
        let make = || {
            let layer = layer::of_program("rouse", b"a program").unwrap();
            Archive::new(layer, &[image("a/b:1")]).unwrap().bytes
        };
        assert_eq!(make(), make());
    }
}
