//! Writes images as an archive that container runtimes import: the form of `docker save`.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::json;

use crate::checksum;

/// Nobody in particular, by number, so that `runAsNonRoot` can be checked.
const USER: &str = "65532:65532";

/// A file of an image.
#[derive(Debug, Clone)]
pub struct File {
    /// Where it is here.
    pub source: PathBuf,
    /// Where it is in the image, without a leading slash.
    pub place: String,
}

/// An image: programs on an empty root.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its full name, with a tag.
    pub name: String,
    /// What is in it.
    pub files: Vec<File>,
    /// What is run.
    pub entrypoint: Vec<String>,
    /// What is in its environment, as `NAME=value`.
    pub env: Vec<String>,
    /// The numbers of user and group.
    pub user: String,
}

impl Image {
    /// An image of one program, which is run without arguments of its own.
    pub fn of_program(name: &str, source: &Path, place: &str) -> Self {
        Self {
            name: name.to_owned(),
            files: vec![File {
                source: source.to_owned(),
                place: place.to_owned(),
            }],
            entrypoint: vec![format!("/{place}")],
            env: Vec::new(),
            user: USER.to_owned(),
        }
    }

    /// With one more file, and an environment variable that says where it is.
    #[must_use]
    pub fn with_file(mut self, source: &Path, place: &str, variable: &str) -> Self {
        self.files.push(File {
            source: source.to_owned(),
            place: place.to_owned(),
        });
        self.env.push(format!("{variable}=/{place}"));
        self
    }

    /// Names what the image is made of, as long as the same source path holds the same file.
    pub(super) fn key(&self) -> String {
        checksum::short(format!("{self:?}").as_bytes())
    }

    /// The one layer, a tar archive.
    fn layer(&self) -> anyhow::Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        for file in &self.files {
            let content =
                fs::read(&file.source).with_context(|| format!("read {}", file.source.display()))?;
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            layer.append_data(&mut header, &file.place, content.as_slice())?;
        }
        let mut temporary = tar::Header::new_gnu();
        temporary.set_entry_type(tar::EntryType::Directory);
        temporary.set_mode(0o1777);
        temporary.set_size(0);
        layer.append_data(&mut temporary, "tmp/", std::io::empty())?;
        layer.into_inner().context("end the layer")
    }
}

/// Writes the images into one archive; a layer that several have is in it once.
pub fn write(archive: &Path, images: &[Image]) -> anyhow::Result<()> {
    let unfinished = archive.with_added_extension(format!("{}.part", std::process::id()));
    let file = fs::File::create(&unfinished).with_context(|| format!("make {}", unfinished.display()))?;
    write_to(file, images).with_context(|| format!("write {}", unfinished.display()))?;
    fs::rename(&unfinished, archive).with_context(|| format!("make {}", archive.display()))
}

fn write_to(output: impl Write, images: &[Image]) -> anyhow::Result<()> {
    let mut archive = tar::Builder::new(output);
    let mut layers = BTreeSet::new();
    let mut manifest = Vec::new();
    for image in images {
        let content = image.layer()?;
        let layer = checksum::of(&content);
        let layer_path = format!("{layer}/layer.tar");
        if layers.insert(layer.clone()) {
            append(&mut archive, &layer_path, &content)?;
        }
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Entrypoint": image.entrypoint, "Env": image.env, "User": image.user, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
        })
        .to_string();
        let config_path = format!("{}.json", checksum::of(config.as_bytes()));
        append(&mut archive, &config_path, config.as_bytes())?;
        manifest.push(json!({ "Config": config_path, "RepoTags": [image.name], "Layers": [layer_path] }));
    }
    append(
        &mut archive,
        "manifest.json",
        json!(manifest).to_string().as_bytes(),
    )?;
    archive.into_inner()?.flush().context("write the end")
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, content: &[u8]) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive
        .append_data(&mut header, path, content)
        .with_context(|| format!("add {path}"))
}

/// As container images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use super::*;

    /// Path and content of every file.
    fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(path, content);
        }
        files
    }

    #[test]
    fn images_with_the_same_program_share_its_layer() {
        let program = std::env::current_exe().unwrap();
        let mut images =
            ["example.test/a:1", "example.test/b:1"].map(|name| Image::of_program(name, &program, "a"));
        images[1].entrypoint.push("serve".to_owned());
        let mut archive = Vec::new();
        write_to(&mut archive, &images).unwrap();

        let files = unpack(&archive);
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], "example.test/a:1");
        assert_eq!(manifest[1]["RepoTags"][0], "example.test/b:1");
        assert_eq!(manifest[0]["Layers"], manifest[1]["Layers"]);
        assert_eq!(files.len(), 4, "{:?}", files.keys());

        let config = manifest[1]["Config"].as_str().unwrap();
        let config: serde_json::Value = serde_json::from_slice(&files[config]).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/a", "serve"]));
        let layer = &files[manifest[1]["Layers"][0].as_str().unwrap()];
        assert_eq!(
            config["rootfs"]["diff_ids"][0],
            format!("sha256:{}", checksum::of(layer))
        );
        let layer = unpack(layer);
        assert_eq!(layer["a"], fs::read(&program).unwrap());
        assert!(layer.contains_key("tmp/"), "{:?}", layer.keys());
    }
}
