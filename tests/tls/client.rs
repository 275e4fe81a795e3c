//! A client that talks TLS.

use super::common::Reply;
use super::common::client::encode;
use super::papers::Papers;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// No answer takes nearly as long.
const LIMIT: Duration = Duration::from_secs(60);

/// What a client believes and shows.
pub fn config(
    papers: &Papers,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(papers.path("ca.crt")).unwrap())
        .unwrap();
    let shown = CertificateDer::from_pem_file(papers.path("client.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(papers.path("client.key")).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![shown], key)
        .unwrap();
    Arc::new(config)
}

pub struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    heard: Vec<u8>,
    at: usize,
}

impl Client {
    /// Connects, and shakes hands.
    pub fn connect(port: u16, config: &Arc<ClientConfig>) -> io::Result<Client> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.set_write_timeout(Some(LIMIT))?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Client {
            stream: StreamOwned::new(session, socket),
            heard: Vec::new(),
            at: 0,
        })
    }

    /// The usual one.
    pub fn of(papers: &Papers, port: u16) -> Client {
        Client::connect(port, &config(papers, rustls::ALL_VERSIONS)).unwrap()
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub fn reply(&mut self) -> io::Result<Reply> {
        let mut chunk = [0; 64 * 1024];
        loop {
            let parsed = Reply::parse(&self.heard[self.at..]).map_err(io::Error::other)?;
            if let Some((reply, len)) = parsed {
                self.at += len;
                if self.at == self.heard.len() {
                    self.heard.clear();
                    self.at = 0;
                }
                return Ok(reply);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::ConnectionAborted.into()),
                n => self.heard.extend_from_slice(&chunk[..n]),
            }
        }
    }

    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        let mut out = Vec::new();
        encode(args, &mut out);
        self.stream.write_all(&out)?;
        self.stream.flush()?;
        self.reply()
    }

    pub fn run(&mut self, line: &str) -> Reply {
        let words: Vec<_> = line.split(' ').collect();
        self.call(&words).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// The certificate that the server has shown.
    pub fn shown(&self) -> CertificateDer<'static> {
        let chain = self.stream.conn.peer_certificates().unwrap();
        chain[0].clone().into_owned()
    }

    pub fn version(&self) -> rustls::ProtocolVersion {
        self.stream.conn.protocol_version().unwrap()
    }

    /// Whether the server has said that it says nothing more.
    pub fn ends_well(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 16]), Ok(0))
    }
}
