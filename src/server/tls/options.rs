//! TLS of the commands of the program that talk to servers: redis-cli's options.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use clap::Args as Arguments;
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, StreamOwned};
use tokio::net::TcpStream as AsyncStream;
use tokio_rustls::{TlsConnector, client};

use super::material::{self, Pem};
use super::verify::{Anybody, Servers};
use super::{TlsError, server_name};

/// Where systems keep the certificates of the authorities that all programs believe.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How servers are reached over TLS.
#[derive(Debug, Clone, Default, Arguments)]
#[command(next_help_heading = "TLS")]
pub(in crate::server) struct TlsOptions {
    /// Talk to servers and sentinels over TLS
    #[arg(long)]
    tls: bool,
    /// The name of the server to ask for (SNI) [default: the host, if it is a name]
    #[arg(long, value_name = "HOST", requires = "tls")]
    sni: Option<String>,
    /// Certificates of the authorities that vouch for servers [default: those of the system, and the name must be right]
    #[arg(long, value_name = "FILE", requires = "tls")]
    cacert: Option<String>,
    /// A directory of such files
    #[arg(long, value_name = "DIR", requires = "tls")]
    cacertdir: Option<String>,
    /// Believe every server
    #[arg(long, requires = "tls")]
    insecure: bool,
    /// The certificate to show
    #[arg(long, value_name = "FILE", requires = "tls", requires = "key")]
    cert: Option<String>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "tls", requires = "cert")]
    key: Option<String>,
    /// What came of them, once somebody asked.
    #[arg(skip)]
    secure: OnceLock<Result<Option<Secure>, TlsError>>,
}

impl TlsOptions {
    /// What is asked for; nothing without `--tls`.
    pub(in crate::server) fn secure(&self) -> Result<Option<Secure>, TlsError> {
        let make = || self.tls.then(|| self.make()).transpose();
        self.secure.get_or_init(make).clone()
    }

    fn make(&self) -> Result<Secure, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = self.believing(&provider)?;
        let config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let identity = material::identity(Pem::File(cert), Pem::File(key), "", &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Secure {
            config: Arc::new(config),
            sni: self.sni.clone(),
        })
    }

    fn believing(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::other)?
            .dangerous();
        if self.insecure {
            let anybody = Anybody(provider.signature_verification_algorithms);
            return Ok(builder.with_custom_certificate_verifier(Arc::new(anybody)));
        }
        let dir = self.cacertdir.as_deref().unwrap_or_default();
        let file = self.cacert.as_deref().map(Pem::File);
        if file.is_some() || !dir.is_empty() {
            let authorities = material::authorities(file, dir)?;
            let servers = Servers::new(&authorities, provider)?;
            return Ok(builder.with_custom_certificate_verifier(Arc::new(servers)));
        }
        // These vouch for everybody: then it matters who it is.
        let environment = std::env::var("SSL_CERT_FILE").ok();
        let known = SYSTEM.iter().map(|path| (*path).to_owned());
        let file = environment
            .into_iter()
            .chain(known)
            .find(|path| Path::new(path).is_file())
            .unwrap_or_default();
        let roots = material::authorities(Some(Pem::File(&file)), "")?.roots();
        let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
        let servers = servers.build().map_err(TlsError::other)?;
        Ok(builder.with_custom_certificate_verifier(servers))
    }
}

/// What connections of a client are made secure with.
#[derive(Debug, Clone)]
pub(in crate::server) struct Secure {
    config: Arc<ClientConfig>,
    sni: Option<String>,
}

impl PartialEq for Secure {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for Secure {}

impl Secure {
    fn name<'a>(&'a self, host: &'a str) -> &'a str {
        self.sni.as_deref().unwrap_or(host)
    }

    /// Shakes hands over a connection to a host. The connection has time limits of its own; all must be done by then.
    pub(in crate::server) fn shake(
        &self,
        host: &str,
        mut socket: TcpStream,
        until: Instant,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = server_name(self.name(host), socket.peer_addr()?.ip());
        let made = ClientConnection::new(Arc::clone(&self.config), name);
        let mut session = made.map_err(io::Error::other)?;
        while session.is_handshaking() {
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if session.wants_write() {
                session.write_tls(&mut socket)?;
            } else if session.read_tls(&mut socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            } else if let Err(error) = session.process_new_packets() {
                // It is told why, if it listens.
                let _ = session.write_tls(&mut socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(StreamOwned::new(session, socket))
    }

    /// The same for those who do not wait.
    pub(in crate::server) async fn shake_async(
        &self,
        host: &str,
        stream: AsyncStream,
    ) -> io::Result<client::TlsStream<AsyncStream>> {
        let peer: IpAddr = stream.peer_addr()?.ip();
        let name = server_name(self.name(host), peer);
        TlsConnector::from(Arc::clone(&self.config))
            .connect(name, stream)
            .await
    }
}
