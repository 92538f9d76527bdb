//! Authorities and certificates that live as long as one test.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509NameRef};

const DAY_S: i64 = 24 * 60 * 60;

/// From and until when a certificate holds, in days from now.
#[derive(Clone, Copy)]
pub struct Valid(pub i64, pub i64);

impl Valid {
    pub const NOW: Self = Self(-1, 1);
}

/// Issues certificates.
pub struct Authority {
    key: PKey<Private>,
    certificate: X509,
}

/// A certificate with its key.
pub struct Identity {
    key: PKey<Private>,
    pub certificate: X509,
    chain: Vec<X509>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = key();
        let subject = subject(name);
        let certificate = certificate(&key, &subject, Valid::NOW, &[], Some((&subject, &key)), true);
        Self { key, certificate }
    }

    /// An authority whose certificate another one has issued.
    pub fn below(&self, name: &str) -> Self {
        let key = key();
        let issuer = Some((self.certificate.subject_name(), &self.key));
        let certificate = certificate(&key, &subject(name), Valid::NOW, &[], issuer, true);
        Self { key, certificate }
    }

    pub fn issue(&self, names: &[&str], valid: Valid) -> Identity {
        let key = key();
        let issuer = Some((self.certificate.subject_name(), &self.key));
        let certificate = certificate(&key, &subject("server"), valid, names, issuer, false);
        Identity { key, certificate, chain: Vec::new() }
    }

    pub fn pem(&self) -> String {
        pem(&self.certificate)
    }
}

impl Identity {
    /// Issued by itself.
    pub fn self_signed(names: &[&str]) -> Self {
        let key = key();
        let certificate = certificate(&key, &subject("self"), Valid::NOW, names, None, false);
        Self { key, certificate, chain: Vec::new() }
    }

    /// What it may not do: issue a certificate.
    pub fn issue(&self, names: &[&str]) -> Self {
        let key = key();
        let issuer = Some((self.certificate.subject_name(), &self.key));
        let certificate = certificate(&key, &subject("forged"), Valid::NOW, names, issuer, false);
        Self { key, certificate, chain: vec![self.certificate.clone()] }
    }

    /// Shows the certificate of this authority along with its own.
    pub fn with(mut self, authority: &Authority) -> Self {
        self.chain.push(authority.certificate.clone());
        self
    }

    pub fn acceptor(&self) -> SslAcceptor {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
        builder.set_private_key(&self.key).expect("a key");
        builder.set_certificate(&self.certificate).expect("a certificate");
        for certificate in &self.chain {
            builder.add_extra_chain_cert(certificate.clone()).expect("a chain");
        }
        builder.build()
    }
}

pub fn pem(certificate: &X509) -> String {
    String::from_utf8(certificate.to_pem().expect("PEM")).expect("ASCII")
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a known curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn subject(name: &str) -> X509Name {
    let mut builder = X509Name::builder().expect("a name");
    builder.append_entry_by_nid(Nid::COMMONNAME, name).expect("a name");
    builder.build()
}

fn certificate(
    key: &PKey<Private>,
    subject: &X509Name,
    valid: Valid,
    names: &[&str],
    issuer: Option<(&X509NameRef, &PKey<Private>)>,
    is_authority: bool,
) -> X509 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let at = |days: i64| Asn1Time::from_unix(i64::try_from(now).expect("small") + days * DAY_S).expect("a time");
    let (issuer, signer) = issuer.unwrap_or((subject, key));
    let mut builder = X509::builder().expect("a builder");
    builder.set_version(2).expect("set");
    let serial = BigNum::from_u32(u32::from(names.is_empty()) + 1).and_then(|n| n.to_asn1_integer());
    builder.set_serial_number(&serial.expect("a number")).expect("set");
    builder.set_subject_name(subject).expect("set");
    builder.set_issuer_name(issuer).expect("set");
    builder.set_pubkey(key).expect("set");
    builder.set_not_before(&at(valid.0)).expect("set");
    builder.set_not_after(&at(valid.1)).expect("set");
    if is_authority {
        builder.append_extension(BasicConstraints::new().critical().ca().build().expect("built")).expect("set");
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().build().expect("built")).expect("set");
    }
    if !names.is_empty() {
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(_) => alternatives.ip(name),
                Err(_) => alternatives.dns(name),
            };
        }
        let extension = alternatives.build(&builder.x509v3_context(None, None)).expect("built");
        builder.append_extension(extension).expect("set");
    }
    builder.sign(signer, MessageDigest::sha256()).expect("signed");
    builder.build()
}
