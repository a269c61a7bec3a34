//! TLS of the front door: a certificate that can be exchanged while the server runs.
//!
//! The files are looked at whenever somebody connects, by their stat data, so that what a certificate
//! manager writes is shown to the next who comes. New files that are no use change nothing: a server
//! that was reachable stays so, and says in its log what is wrong.

mod validity;

use std::{
    fs,
    io::{self, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};

use crate::config::TlsSettings;

/// Why files make no TLS.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's fields are its sentence's words")]
pub enum TlsError {
    #[error("{}: it cannot be read; the settings name it under tls.{what}", path.display())]
    Unreadable { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{}: it holds no certificate in PEM; the settings name it under tls.{what}", path.display())]
    NoCertificate { what: &'static str, path: PathBuf },
    #[error("{}: it holds no private key in PEM; the settings name it under tls.key", .0.display())]
    NoKey(PathBuf),
    #[error("{} and {}: the key is not the certificate's; give both of one", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("{}: nobody's certificate could be checked against it", path.display())]
    ClientCa { path: PathBuf, source: VerifierBuilderError },
}

/// What tells one state of a file from another: its time, its length and its place on the disk.
type Mark = Option<(i64, i64, u64, u64)>;

/// A certificate with its key, read again when the files change.
#[derive(Debug)]
pub struct Tls {
    files: TlsSettings,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    marks: [Mark; 3],
}

impl Tls {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// Names the file that is no use, and why.
    pub fn read(files: TlsSettings) -> Result<Self, TlsError> {
        // The marks are taken first: what changes in between is read again the next time.
        let marks = marks(&files);
        let config = Arc::new(load(&files)?);
        Ok(Self { files, current: Mutex::new(Current { config, marks }) })
    }

    /// What the next who connects is shown.
    pub fn config(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = marks(&self.files);
        if now != current.marks {
            // What is no use is told once, and not with every connection.
            current.marks = now;
            match load(&self.files) {
                Ok(config) => {
                    current.config = Arc::new(config);
                    let certificate = self.files.certificate.display();
                    tracing::info!(%certificate, "the certificate was read again");
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "the last certificate stays");
                }
            }
        }
        current.config.clone()
    }
}

/// Until when what is shown to those who connect is good: the first end in the chain, as far as it can be read.
///
/// # Errors
/// There is no certificate.
pub fn ends(files: &TlsSettings) -> Result<Option<Timestamp>, TlsError> {
    let chain = certificates("certificate", &files.certificate)?;
    Ok(chain.iter().filter_map(|certificate| validity::ends(certificate)).min())
}

fn marks(files: &TlsSettings) -> [Mark; 3] {
    let mark = |path: &Path| {
        let meta = fs::metadata(path).ok()?;
        Some((meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino()))
    };
    [mark(&files.certificate), mark(&files.key), files.client_ca.as_deref().and_then(mark)]
}

fn load(files: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let TlsSettings { certificate, key, client_ca } = files;
    let chain = certificates("certificate", certificate)?;
    let private = PrivateKeyDer::from_pem_reader(open("key", key)?);
    let private = private.map_err(|_| TlsError::NoKey(key.clone()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pair =
        |source| TlsError::Pair { certificate: certificate.clone(), key: key.clone(), source };
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates("clientCa", path)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let verifier =
                verifier.map_err(|source| TlsError::ClientCa { path: path.clone(), source })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, private).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn open(what: &'static str, path: &Path) -> Result<BufReader<fs::File>, TlsError> {
    let file = fs::File::open(path);
    let unreadable = |source| TlsError::Unreadable { what, path: path.into(), source };
    file.map(BufReader::new).map_err(unreadable)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_reader_iter(open(what, path)?).collect::<Result<Vec<_>, _>>();
    let read = read.ok().filter(|chain| !chain.is_empty());
    read.ok_or_else(|| TlsError::NoCertificate { what, path: path.into() })
}
