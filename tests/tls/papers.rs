//! Authorities, and the certificates that they give, made anew for each test.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use std::fs;
use std::path::PathBuf;

/// Everything that is shown and believed, in files: `NAME.crt` and `NAME.key`.
///
/// | name | what |
/// |---|---|
/// | ca | the authority of all |
/// | server, again | two for servers |
/// | client | one for clients only |
/// | old | was for both, until it expired |
/// | other, stranger | another authority, and one of its |
/// | single | an authority that is its own server and client |
pub struct Papers {
    dir: tempfile::TempDir,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Papers {
    pub fn new() -> Papers {
        let papers = Papers {
            dir: tempfile::tempdir().unwrap(),
        };
        let ca = papers.authority("ca");
        let both = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
        };
        papers.give(&ca, "server", both);
        papers.give(&ca, "again", both);
        papers.give(&ca, "client", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        papers.give(&ca, "old", |params| {
            both(params);
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        });
        let other = papers.authority("other");
        papers.give(&other, "stranger", both);
        papers.authority("single");
        papers
    }

    fn authority(&self, name: &str) -> Authority {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.keep(name, &certificate.pem(), &key.serialize_pem());
        Authority {
            issuer: Issuer::new(params, key),
        }
    }

    fn give(&self, by: &Authority, name: &str, like: impl FnOnce(&mut CertificateParams)) {
        let mut params = params(name);
        like(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &by.issuer).unwrap();
        self.keep(name, &certificate.pem(), &key.serialize_pem());
    }

    fn keep(&self, name: &str, certificate: &str, key: &str) {
        fs::write(self.path(&format!("{name}.crt")), certificate).unwrap();
        fs::write(self.path(&format!("{name}.key")), key).unwrap();
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub fn name(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// The options of a server that shows `server`, and believes whom `ca` does.
    pub fn options(&self, tls_port: u16) -> Vec<String> {
        let mut options = vec!["--tls-port".to_owned(), tls_port.to_string()];
        options.extend(self.shown("server"));
        options
    }

    /// The options that make a server show a certificate.
    pub fn shown(&self, name: &str) -> Vec<String> {
        [
            ("--tls-cert-file", format!("{name}.crt")),
            ("--tls-key-file", format!("{name}.key")),
            ("--tls-ca-cert-file", "ca.crt".to_owned()),
        ]
        .into_iter()
        .flat_map(|(option, file)| [option.to_owned(), self.name(&file)])
        .collect()
    }

    /// The options of redis-cli, and of our own commands, for who shows a certificate or none.
    pub fn client(&self, ca: &str, shown: Option<&str>) -> Vec<String> {
        let mut options = vec!["--tls".to_owned(), "--cacert".to_owned(), self.name(ca)];
        if let Some(name) = shown {
            for (option, end) in [("--cert", "crt"), ("--key", "key")] {
                options.extend([option.to_owned(), self.name(&format!("{name}.{end}"))]);
            }
        }
        options
    }
}
