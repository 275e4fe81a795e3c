//! Certificates and keys, as they are found in files or in memory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfo;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::TlsError;
use super::verify::Authorities;
use crate::util::system::reason;

/// The longest file that is read.
const LONGEST: u64 = 16 << 20;

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY-----";
const PLAIN: &str = "PRIVATE KEY-----";

/// How OpenSSL encrypted keys before there was PKCS#8.
const OLD_ENCRYPTION: &str = "Proc-Type: 4,ENCRYPTED";

/// What rustls calls it, and what it means: OpenSSL made such certificates where no extensions were asked for.
const OLD_VERSION: &str = "UnsupportedCertVersion";
const NOT_VERSION_3: &str = "only certificates of X.509 version 3 are supported";

/// PEM, and what it is called in complaints.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pem<'a> {
    File(&'a str),
    Memory(&'a [u8]),
}

impl Pem<'_> {
    fn read(self) -> Result<Vec<u8>, String> {
        match self {
            Pem::File(path) => read(Path::new(path)).map_err(|e| reason(&e)),
            Pem::Memory(bytes) => Ok(bytes.to_vec()),
        }
    }

    fn name(self) -> String {
        match self {
            Pem::File(path) => path.to_owned(),
            Pem::Memory(_) => "in memory".to_owned(),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening anything else may take for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate is in it".to_owned()),
        Ok(found) => Ok(found),
        Err(e) => Err(e.to_string()),
    }
}

/// A certificate with those behind it, and its key.
pub(super) fn identity(
    certificate: Pem<'_>,
    key: Pem<'_>,
    password: &str,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = certificate.read().and_then(|pem| certificates(&pem));
    let chain = chain.map_err(|why| TlsError::Certificate {
        path: certificate.name(),
        why,
    })?;
    let refused = |why: String| TlsError::Key {
        path: key.name(),
        why,
    };
    let read = key.read().and_then(|pem| private_key(&pem, password));
    let private = provider
        .key_provider
        .load_private_key(read.map_err(refused)?)
        .map_err(|e| refused(e.to_string()))?;
    let identity = CertifiedKey::new(chain, private);
    match identity.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(identity),
        Err(Error::InconsistentKeys(_)) => {
            Err(refused("it is not the key of the certificate".to_owned()))
        }
        Err(e) => Err(TlsError::Certificate {
            path: certificate.name(),
            why: match e.to_string() {
                old if old.contains(OLD_VERSION) => NOT_VERSION_3.to_owned(),
                other => other,
            },
        }),
    }
}

fn private_key(pem: &[u8], password: &str) -> Result<PrivateKeyDer<'static>, String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains(ENCRYPTED) {
        return decrypted(&text.replace(ENCRYPTED, PLAIN), password);
    }
    if text.contains(OLD_ENCRYPTION) {
        return Err(
            "it is encrypted in a way that is not supported: `openssl pkcs8 -topk8` encrypts it in one that is"
                .to_owned(),
        );
    }
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| e.to_string())
}

/// The key of PKCS#8 that is in an encrypted one.
fn decrypted(pem: &str, password: &str) -> Result<PrivateKeyDer<'static>, String> {
    if password.is_empty() {
        return Err("it is encrypted, and no password is set".to_owned());
    }
    let outer = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
    let info = EncryptedPrivateKeyInfo::try_from(outer.secret_pkcs8_der());
    let inner = info.and_then(|info| info.decrypt(password));
    let inner = inner.map_err(|e| format!("it cannot be decrypted: {e}"))?;
    Ok(PrivatePkcs8KeyDer::from(inner.as_bytes().to_vec()).into())
}

/// Those who vouch for others: the certificates of a file, and those of all files of a directory.
pub(super) fn authorities(file: Option<Pem<'_>>, dir: &str) -> Result<Arc<Authorities>, TlsError> {
    let refused = |why: String| TlsError::Authorities(why);
    let mut roots = RootCertStore::empty();
    let mut all = Vec::new();
    if let Some(file) = file {
        let found = file.read().and_then(|pem| certificates(&pem));
        for certificate in found.map_err(|why| refused(format!("{}: {why}", file.name())))? {
            let added = roots.add(certificate.clone());
            added.map_err(|e| refused(format!("{}: {e}", file.name())))?;
            all.push(certificate);
        }
    }
    if !dir.is_empty() {
        let entries = fs::read_dir(dir).map_err(|e| refused(format!("{dir}: {}", reason(&e))))?;
        for entry in entries.flatten() {
            // There may be other things in it, keys say.
            let found = read(&entry.path()).map_err(|e| reason(&e));
            for certificate in found.and_then(|pem| certificates(&pem)).unwrap_or_default() {
                if roots.add(certificate.clone()).is_ok() {
                    all.push(certificate);
                }
            }
        }
    }
    if all.is_empty() {
        return Err(refused("there are none".to_owned()));
    }
    Ok(Arc::new(Authorities::new(roots, all)))
}
