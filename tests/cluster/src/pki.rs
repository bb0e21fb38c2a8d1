//! The cluster's own certificate authority, and what it signs. All of it is made anew by each `up` and gone with it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, string::Ia5String,
};

/// A certificate authority in a directory.
#[derive(Debug, Clone)]
pub struct Pki {
    directory: PathBuf,
}

/// Whom a certificate is for.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    /// The user's name, or the server's.
    pub name: &'a str,
    /// The user's group.
    pub group: Option<&'a str>,
    /// Names that the server is reached by.
    pub dns_names: Vec<String>,
    /// Addresses that the server is reached at.
    pub addresses: Vec<Ipv4Addr>,
}

impl Pki {
    /// The authority whose files are in `directory`.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Makes the authority, and the key pair that signs service account tokens.
    pub fn found(&self) -> anyhow::Result<()> {
        fs::create_dir_all(&self.directory).with_context(|| format!("make {}", self.directory.display()))?;
        let key = KeyPair::generate().context("make the authority's key")?;
        let certificate = authority()
            .self_signed(&key)
            .context("sign the authority's certificate")?;
        self.write("ca.crt", &certificate.pem())?;
        self.write("ca.key", &key.serialize_pem())?;
        let tokens = KeyPair::generate().context("make the key of service accounts")?;
        self.write("service-accounts.key", &tokens.serialize_pem())?;
        self.write("service-accounts.pub", &tokens.public_key_pem())
    }

    /// Makes `FILE.crt` and `FILE.key`, good for clients and servers alike.
    pub fn issue(&self, file: &str, subject: &Subject<'_>) -> anyhow::Result<()> {
        let signer = KeyPair::from_pem(&self.read("ca.key")?).context("read the authority's key")?;
        let issuer = Issuer::new(authority(), signer);
        let key = KeyPair::generate().with_context(|| format!("make the key of {file}"))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject.name);
        if let Some(group) = subject.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        for name in &subject.dns_names {
            let name = Ia5String::try_from(name.as_str()).with_context(|| format!("{name} as a DNS name"))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let addresses = subject
            .addresses
            .iter()
            .map(|address| SanType::IpAddress(IpAddr::V4(*address)));
        params.subject_alt_names.extend(addresses);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let certificate = params
            .signed_by(&key, &issuer)
            .with_context(|| format!("sign {file}"))?;
        self.write(&format!("{file}.crt"), &certificate.pem())?;
        self.write(&format!("{file}.key"), &key.serialize_pem())
    }

    /// Writes `FILE.kubeconfig` for what [`Pki::issue`] made.
    pub fn kubeconfig(&self, file: &str, server: &str) -> anyhow::Result<()> {
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "rouse",
                "cluster": { "server": server, "certificate-authority": self.certificate("ca") },
            }],
            "users": [{
                "name": file,
                "user": { "client-certificate": self.certificate(file), "client-key": self.key(file) },
            }],
            "contexts": [{ "name": "rouse", "context": { "cluster": "rouse", "user": file } }],
            "current-context": "rouse",
        });
        self.write(&format!("{file}.kubeconfig"), &config.to_string())
    }

    /// The path of a certificate.
    pub fn certificate(&self, file: &str) -> PathBuf {
        self.path(&format!("{file}.crt"))
    }

    /// The path of a key.
    pub fn key(&self, file: &str) -> PathBuf {
        self.path(&format!("{file}.key"))
    }

    /// The path of a file of the authority.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = self.path(file);
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        write_private(&self.path(file), text)
    }
}

/// What the authority says of itself; with its key this is all that its certificate is made of.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "rouse test cluster");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("make {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("write {}", path.display()))
}
