//! Versions and ciphers, in the words that OpenSSL has for them.
//!
//! A list of ciphers is a program: each word adds to what was chosen, takes away from it (`-`), takes away for good (`!`) or
//! moves to the end (`+`). A word is the name of a cipher or of a property; `AES128+aRSA` has both. What rustls does not know
//! is chosen by no word, so that most lists that were written for OpenSSL mean what is left of them.

use rustls::crypto::ring::cipher_suite as ring;
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::TlsError;

/// A cipher of TLS 1.2: its name and its properties in the words of OpenSSL. All are ECDHE and authenticate what they encrypt.
struct Cipher {
    suite: SupportedCipherSuite,
    name: &'static str,
    properties: &'static [&'static str],
}

/// What holds for every cipher here.
const ALL: &[&str] = &[
    "ALL",
    "DEFAULT",
    "COMPLEMENTOFALL",
    "HIGH",
    "TLSv1.2",
    "ECDHE",
    "EECDH",
    "kECDHE",
    "kEECDH",
];

/// In the order of the server's preference.
static CIPHERS: [Cipher; 6] = [
    Cipher {
        suite: ring::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        properties: &["aECDSA", "ECDSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Cipher {
        suite: ring::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        properties: &["aECDSA", "ECDSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
    Cipher {
        suite: ring::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        properties: &["aECDSA", "ECDSA", "CHACHA20"],
    },
    Cipher {
        suite: ring::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        properties: &["aRSA", "RSA", "AES", "AES256", "AESGCM", "SHA384"],
    },
    Cipher {
        suite: ring::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        properties: &["aRSA", "RSA", "AES", "AES128", "AESGCM", "SHA256"],
    },
    Cipher {
        suite: ring::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        properties: &["aRSA", "RSA", "CHACHA20"],
    },
];

impl Cipher {
    /// Whether this part of a word says it.
    fn is(&self, part: &str) -> bool {
        let iana = self.suite.suite().as_str();
        part == self.name
            || Some(part) == iana
            || ALL.contains(&part)
            || self.properties.contains(&part)
    }
}

/// The suites of TLS 1.2 that a list chooses, in its order; all for an empty one.
pub(super) fn ciphers(list: &str) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut chosen: Vec<&Cipher> = Vec::new();
    let mut banned: Vec<&Cipher> = Vec::new();
    let list = if list.is_empty() { "ALL" } else { list };
    let words = list
        .split([':', ',', ' ', ';'])
        .filter(|word| !word.is_empty());
    for word in words {
        if word.starts_with('@') {
            // An order by strength, or a level of security: this is how it is.
            continue;
        }
        let (sign, name) = match word.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), name)) => (sign, name),
            _ => ("", word),
        };
        let named: Vec<&Cipher> = CIPHERS
            .iter()
            .filter(|cipher| name.split('+').all(|part| cipher.is(part)))
            .collect();
        let is_named = |cipher: &&Cipher| named.iter().any(|other| other.name == cipher.name);
        match sign {
            "!" | "-" => chosen.retain(|cipher| !is_named(cipher)),
            "+" => chosen.sort_by_key(is_named),
            _ => {
                for cipher in &named {
                    let known = |list: &[&Cipher]| list.iter().any(|c| c.name == cipher.name);
                    if !known(&chosen) && !known(&banned) {
                        chosen.push(cipher);
                    }
                }
            }
        }
        if sign == "!" {
            banned.extend(named);
        }
    }
    match chosen.is_empty() {
        true => Err(TlsError::Ciphers(list.to_owned())),
        false => Ok(chosen.iter().map(|cipher| cipher.suite).collect()),
    }
}

/// The suites of TLS 1.3 that a list names, in its order; all for an empty one.
pub(super) fn suites(list: &str) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let all = [
        ring::TLS13_AES_256_GCM_SHA384,
        ring::TLS13_AES_128_GCM_SHA256,
        ring::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    if list.is_empty() {
        return Ok(all.to_vec());
    }
    let refused = || TlsError::Suites(list.to_owned());
    let mut chosen = Vec::new();
    for name in list.split(':').filter(|name| !name.is_empty()) {
        // Known to OpenSSL, and not to rustls.
        if ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"].contains(&name) {
            continue;
        }
        let named = all.iter().find(|suite| iana(suite.suite()) == name);
        chosen.push(*named.ok_or_else(refused)?);
    }
    match chosen.is_empty() {
        true => Err(refused()),
        false => Ok(chosen),
    }
}

/// The name of a suite of TLS 1.3, where that of rustls has the version in it.
fn iana(suite: CipherSuite) -> String {
    suite
        .as_str()
        .unwrap_or_default()
        .replacen("TLS13_", "TLS_", 1)
}

/// The versions that are named; both for an empty list.
pub(super) fn versions(list: &str) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    if list.is_empty() {
        return Ok(vec![&version::TLS13, &version::TLS12]);
    }
    let mut versions = Vec::new();
    for word in list.split_whitespace() {
        match word.to_ascii_lowercase().as_str() {
            "tlsv1.3" => versions.push(&version::TLS13),
            "tlsv1.2" => versions.push(&version::TLS12),
            old @ ("tlsv1" | "tlsv1.1") => {
                tracing::warn!("{old} of tls-protocols is never spoken: it is not secure");
            }
            _ => return Err(TlsError::Protocols),
        }
    }
    match versions.is_empty() {
        true => Err(TlsError::Protocols),
        false => Ok(versions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(list: &str) -> Vec<&'static str> {
        let suites = ciphers(list).unwrap_or_default();
        let name = |suite: &SupportedCipherSuite| {
            let cipher = CIPHERS.iter().find(|c| c.suite.suite() == suite.suite());
            cipher.map_or("", |cipher| cipher.name)
        };
        suites.iter().map(name).collect()
    }

    #[test]
    fn a_list_of_ciphers_is_worked_off_word_by_word() {
        let all: Vec<_> = CIPHERS.iter().map(|cipher| cipher.name).collect();
        assert_eq!(chosen(""), all);
        assert_eq!(chosen("DEFAULT:-AES128-SHA256"), all);
        assert_eq!(chosen("DEFAULT:!MEDIUM"), all);
        assert_eq!(
            chosen("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
            ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        assert_eq!(chosen("aRSA+CHACHA20"), ["ECDHE-RSA-CHACHA20-POLY1305"]);
        assert_eq!(
            chosen("HIGH:!aECDSA:-AES128 @SECLEVEL=1"),
            ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"]
        );
        // What is banned does not come back; what was taken away may.
        assert_eq!(chosen("CHACHA20:!aRSA:ALL:-ALL:CHACHA20").len(), 1);
        assert_eq!(
            chosen("ALL:+AES").first(),
            Some(&"ECDHE-ECDSA-CHACHA20-POLY1305")
        );
        for none in ["AES128-SHA256", "ALL:-ALL", "nonsense", ":"] {
            assert!(ciphers(none).is_err(), "{none}");
        }
    }

    #[test]
    fn suites_and_versions_are_named() {
        assert_eq!(suites("").map(|s| s.len()), Ok(3));
        let one = suites("TLS_AES_128_CCM_SHA256:TLS_AES_128_GCM_SHA256");
        assert_eq!(
            one.map(|s| s.iter().map(|s| iana(s.suite())).collect::<Vec<_>>()),
            Ok(vec!["TLS_AES_128_GCM_SHA256".to_owned()])
        );
        assert!(suites("TLS_AES_1").is_err() && suites("TLS_AES_128_CCM_SHA256").is_err());
        assert_eq!(versions("").map(|v| v.len()), Ok(2));
        assert_eq!(versions("tlsv1.3 TLSv1.2").map(|v| v.len()), Ok(2));
        assert_eq!(versions("TLSv1.1 TLSv1.2").map(|v| v.len()), Ok(1));
        for none in ["TLSv1.1", "TLSv1.4", " "] {
            assert_eq!(versions(none).map(|v| v.len()), Err(TlsError::Protocols));
        }
    }
}
