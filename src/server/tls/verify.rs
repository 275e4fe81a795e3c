//! Who is believed to be whom.
//!
//! As with Redis, what counts is that an authority of ours vouches for a certificate; the name in it is not compared with
//! the one that was connected to, for servers are known by addresses that change hands. A certificate that stands among those
//! of the authorities is vouched for by itself, even if it says that it is an authority's: many make just one for everything.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::TlsError;

/// What rustls calls it when an authority's certificate is shown as somebody's own. By then it has been found to be in force.
const CA_USED: &str = "CaUsedAsEndEntity";

/// Those who vouch for others.
#[derive(Debug)]
pub(super) struct Authorities {
    roots: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    pub(super) fn new(roots: RootCertStore, certificates: Vec<CertificateDer<'static>>) -> Self {
        Self {
            roots: Arc::new(roots),
            certificates,
        }
    }

    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// Whether a certificate is refused only because it is that of an authority, and it is one of ours.
    fn vouches_for_itself(&self, certificate: &CertificateDer<'_>, error: &Error) -> bool {
        let is_that = matches!(error, Error::InvalidCertificate(CertificateError::Other(why))
            if why.to_string() == CA_USED);
        is_that && self.certificates.iter().any(|ours| ours == certificate)
    }
}

/// Signatures are judged by the verifier that `inner` is.
macro_rules! signatures_as_within {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.inner.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.inner.supported_verify_schemes()
        }
    };
}

/// Looks at the certificates of clients.
#[derive(Debug)]
pub(super) struct Clients {
    inner: Arc<dyn ClientCertVerifier>,
    authorities: Arc<Authorities>,
}

impl Clients {
    pub(super) fn new(
        authorities: &Arc<Authorities>,
        optional: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let builder =
            WebPkiClientVerifier::builder_with_provider(authorities.roots(), Arc::clone(provider));
        let builder = match optional {
            true => builder.allow_unauthenticated(),
            false => builder,
        };
        Ok(Self {
            inner: builder.build().map_err(TlsError::other)?,
            authorities: Arc::clone(authorities),
        })
    }
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .inner
            .verify_client_cert(end_entity, intermediates, now);
        verified.or_else(
            |error| match self.authorities.vouches_for_itself(end_entity, &error) {
                true => Ok(ClientCertVerified::assertion()),
                false => Err(error),
            },
        )
    }

    signatures_as_within!();
}

/// Looks at the certificates of servers.
#[derive(Debug)]
pub(super) struct Servers {
    inner: Arc<WebPkiServerVerifier>,
    authorities: Arc<Authorities>,
}

impl Servers {
    pub(super) fn new(
        authorities: &Arc<Authorities>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(authorities.roots(), Arc::clone(provider));
        Ok(Self {
            inner: builder.build().map_err(TlsError::other)?,
            authorities: Arc::clone(authorities),
        })
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // Names come last: everything else is as it should be.
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            Err(error) if self.authorities.vouches_for_itself(end_entity, &error) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    signatures_as_within!();
}

/// Takes every certificate, as `--insecure` asks; whoever shows one must have its key all the same.
#[derive(Debug)]
pub(super) struct Anybody(pub(super) WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
