//! TLS, by rustls: what a server shows and believes, as `tls-*` of its configuration say.
//!
//! All of that is put together at once, or not at all, and exchanged as a whole: connections begin with what is there at
//! that moment, and go on with it.

mod ciphers;
mod material;
mod options;
mod sessions;
mod verify;

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, WantsServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

pub(super) use options::{Secure, TlsOptions};

use self::material::Pem;
use self::sessions::Sessions;
use self::verify::{Authorities, Clients, Servers};
use crate::service::config::{Config, TlsAuth};

/// Why TLS cannot be had as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A server needs a certificate.
    #[error("No tls-cert-file configured!")]
    NoCertificate,
    /// A certificate needs its key.
    #[error("No tls-key-file configured!")]
    NoKey,
    /// Nobody can be believed.
    #[error(
        "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, tls-replication or \
         tls-auth-clients are enabled!"
    )]
    NoAuthorities,
    /// A certificate cannot be used.
    #[error("Failed to load certificate: {path}: {why}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A key cannot be used.
    #[error("Failed to load private key: {path}: {why}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The certificates of the authorities cannot be used.
    #[error("Failed to configure CA certificate(s) file/directory: {0}")]
    Authorities(String),
    /// A list of ciphers chooses none that is known here.
    #[error("Failed to configure ciphers: {0}")]
    Ciphers(String),
    /// The same, for TLS 1.3.
    #[error("Failed to configure ciphersuites: {0}")]
    Suites(String),
    /// No version that is spoken here.
    #[error("Invalid tls-protocols specified: use 'TLSv1.2', 'TLSv1.3' or both")]
    Protocols,
    /// What else rustls refuses.
    #[error("{0}")]
    Other(String),
}

impl TlsError {
    fn other(error: impl Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// Certificates and keys that are in no file: each stands in for the files of the configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct InMemory {
    /// A certificate, with those behind it, and its key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Those who vouch for others.
    pub(super) authorities: Option<Vec<u8>>,
}

/// TLS of one server, which may be off.
#[derive(Debug, Default)]
pub(super) struct Tls {
    given: InMemory,
    current: RwLock<Option<Arc<Both>>>,
}

/// What connections begin with.
#[derive(Debug)]
pub(super) struct Both {
    server: Arc<ServerConfig>,
    /// None where nobody could be believed.
    client: Option<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(given: InMemory) -> Self {
        Self {
            given,
            current: RwLock::default(),
        }
    }

    /// What a configuration wants; nothing where it does not want TLS.
    pub(super) fn prepare(&self, config: &Config) -> Result<Option<Arc<Both>>, TlsError> {
        let wanted = config.tls_port != 0 || config.tls_replication || config.tls_cluster;
        let both = wanted.then(|| Wanted::new(config, &self.given)?.both());
        Ok(both.transpose()?.map(Arc::new))
    }

    /// From now on connections begin with this.
    pub(super) fn install(&self, both: Option<Arc<Both>>) {
        *self.current.write() = both;
    }

    fn current(&self) -> io::Result<Arc<Both>> {
        let current = self.current.read().clone();
        current.ok_or_else(|| io::Error::other("TLS is not configured"))
    }

    /// Shakes hands with a client.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let server = Arc::clone(&self.current()?.server);
        TlsAcceptor::from(server).accept(stream).await
    }

    /// Shakes hands with a server that was connected to under this name.
    pub(super) async fn connect<S>(
        &self,
        host: &str,
        peer: IpAddr,
        stream: S,
    ) -> io::Result<client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let client = self.current()?.client.clone();
        let client = client.ok_or_else(|| io::Error::other(TlsError::NoAuthorities))?;
        let name = server_name(host, peer);
        TlsConnector::from(client).connect(name, stream).await
    }
}

/// What a server is told that it was connected to as: nothing, unless it is a name.
fn server_name(host: &str, peer: IpAddr) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).unwrap_or_else(|_| peer.into())
}

/// What a configuration wants, as far as it is the same for both ends.
struct Wanted<'a> {
    config: &'a Config,
    given: &'a InMemory,
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    authorities: Option<Arc<Authorities>>,
}

impl<'a> Wanted<'a> {
    fn new(config: &'a Config, given: &'a InMemory) -> Result<Self, TlsError> {
        let mut cipher_suites = ciphers::suites(&config.tls_ciphersuites)?;
        cipher_suites.extend(ciphers::ciphers(&config.tls_ciphers)?);
        let provider = CryptoProvider {
            cipher_suites,
            ..ring::default_provider()
        };
        let dir = config.tls_ca_cert_dir.as_str();
        let file = match (config.tls_ca_cert_file.as_str(), &given.authorities) {
            ("", Some(pem)) => Some(Pem::Memory(pem)),
            ("", None) => None,
            (path, _) => Some(Pem::File(path)),
        };
        let is_any = file.is_some() || !dir.is_empty();
        Ok(Self {
            config,
            given,
            provider: Arc::new(provider),
            versions: ciphers::versions(&config.tls_protocols)?,
            authorities: is_any
                .then(|| material::authorities(file, dir))
                .transpose()?,
        })
    }

    fn both(&self) -> Result<Both, TlsError> {
        let identity = self.identity()?;
        Ok(Both {
            server: Arc::new(self.server(&identity)?),
            client: match &self.authorities {
                Some(authorities) => Some(Arc::new(self.client(&identity, authorities)?)),
                None if self.config.tls_replication || self.config.tls_cluster => {
                    return Err(TlsError::NoAuthorities);
                }
                None => None,
            },
        })
    }

    fn identity(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let config = self.config;
        let (certificate, key) = match (&*config.tls_cert_file, &*config.tls_key_file) {
            ("", _) => match &self.given.identity {
                Some((certificate, key)) => (Pem::Memory(certificate), Pem::Memory(key)),
                None => return Err(TlsError::NoCertificate),
            },
            (_, "") => return Err(TlsError::NoKey),
            (certificate, key) => (Pem::File(certificate), Pem::File(key)),
        };
        let password = &config.tls_key_file_pass;
        material::identity(certificate, key, password, &self.provider).map(Arc::new)
    }

    /// What is shown to servers, if that is something else than what is shown to clients.
    fn client_identity(&self) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
        let config = self.config;
        let (certificate, key) = (&config.tls_client_cert_file, &config.tls_client_key_file);
        if certificate.is_empty() || key.is_empty() {
            return Ok(None);
        }
        let password = &config.tls_client_key_file_pass;
        let (certificate, key) = (Pem::File(certificate), Pem::File(key));
        let identity = material::identity(certificate, key, password, &self.provider)?;
        Ok(Some(Arc::new(identity)))
    }

    fn server(&self, identity: &Arc<CertifiedKey>) -> Result<ServerConfig, TlsError> {
        let config = self.config;
        let mut server = self
            .believing_clients()?
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity))));
        server.ignore_client_order = config.tls_prefer_server_ciphers;
        server.session_storage = match config.tls_session_caching {
            true => Arc::new(Sessions::new(
                config.tls_session_cache_size,
                config.tls_session_cache_timeout,
            )),
            false => Arc::new(NoServerSessionStorage {}),
        };
        if !config.tls_session_caching {
            server.send_tls13_tickets = 0;
        }
        Ok(server)
    }

    fn believing_clients(&self) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .map_err(TlsError::other)?;
        let optional = match self.config.tls_auth_clients {
            TlsAuth::No => return Ok(builder.with_no_client_auth()),
            TlsAuth::Optional => true,
            TlsAuth::Yes => false,
        };
        let authorities = self.authorities.as_ref().ok_or(TlsError::NoAuthorities)?;
        let clients = Clients::new(authorities, optional, &self.provider)?;
        Ok(builder.with_client_cert_verifier(Arc::new(clients)))
    }

    fn client(
        &self,
        identity: &Arc<CertifiedKey>,
        authorities: &Arc<Authorities>,
    ) -> Result<ClientConfig, TlsError> {
        let shown = self.client_identity()?;
        let shown = shown.unwrap_or_else(|| Arc::clone(identity));
        let servers = Servers::new(authorities, &self.provider)?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&self.versions)
            .map_err(TlsError::other)?;
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(servers))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown))))
    }
}
