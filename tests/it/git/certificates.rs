//! Certificates for tests, made in the test: good ones, and one for each fault.

use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

const DAY: i64 = 86_400;
/// Large enough for the security level of the library.
const BITS: u32 = 2_048;

/// A certificate and its key.
pub struct Identity {
    pub certificate: X509,
    key: PKey<Private>,
}

/// What a certificate says of its host.
pub enum Host<'a> {
    Address(&'a str),
    Name(&'a str),
}

/// What is wrong with it, if anything.
#[derive(Clone, Copy)]
pub struct Validity {
    pub from_days: i64,
    pub to_days: i64,
    pub bits: u32,
}

impl Default for Validity {
    fn default() -> Self {
        Self { from_days: -1, to_days: 30, bits: BITS }
    }
}

impl Identity {
    pub fn authority(name: &str) -> Self {
        let key = key(BITS);
        let mut builder = builder(name, &key, Validity::default());
        let subject = subject(name);
        builder.set_issuer_name(&subject).expect("set");
        builder.append_extension(BasicConstraints::new().critical().ca().build().expect("made")).expect("set");
        builder.append_extension(KeyUsage::new().key_cert_sign().build().expect("made")).expect("set");
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        Self { certificate: builder.build(), key }
    }

    /// A server's certificate of this authority.
    pub fn issue(&self, host: &Host<'_>, validity: Validity) -> Self {
        let key = key(validity.bits);
        let mut builder = builder("server", &key, validity);
        builder.set_issuer_name(self.certificate.subject_name()).expect("set");
        names(&mut builder, host);
        builder.sign(&self.key, MessageDigest::sha256()).expect("signed");
        Self { certificate: builder.build(), key }
    }

    /// One that vouches for itself.
    pub fn self_signed(host: &Host<'_>) -> Self {
        let key = key(BITS);
        let mut builder = builder("self", &key, Validity::default());
        builder.set_issuer_name(&subject("self")).expect("set");
        names(&mut builder, host);
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        Self { certificate: builder.build(), key }
    }

    pub fn copy(&self) -> Self {
        Self { certificate: self.certificate.clone(), key: self.key.clone() }
    }

    pub fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().expect("PEM")).expect("UTF-8")
    }

    pub fn acceptor(&self) -> Arc<SslAcceptor> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("made");
        // A server may have a key that a client should not take.
        builder.set_security_level(0);
        builder.set_private_key(&self.key).expect("set");
        builder.set_certificate(&self.certificate).expect("set");
        Arc::new(builder.build())
    }
}

fn key(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).expect("generated")).expect("a key")
}

fn subject(name: &str) -> X509Name {
    let mut builder = X509Name::builder().expect("made");
    builder.append_entry_by_text("CN", name).expect("set");
    builder.build()
}

fn builder(name: &str, key: &PKey<Private>, validity: Validity) -> X509Builder {
    let mut builder = X509::builder().expect("made");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("a time");
    let at = |days: i64| Asn1Time::from_unix(now + days * DAY).expect("a time");
    builder.set_version(2).expect("set");
    let serial = BigNum::from_u32(7).and_then(|number| number.to_asn1_integer()).expect("a number");
    builder.set_serial_number(&serial).expect("set");
    builder.set_subject_name(&subject(name)).expect("set");
    builder.set_pubkey(key).expect("set");
    builder.set_not_before(&at(validity.from_days)).expect("set");
    builder.set_not_after(&at(validity.to_days)).expect("set");
    builder
}

fn names(builder: &mut X509Builder, host: &Host<'_>) {
    let mut names = SubjectAlternativeName::new();
    match host {
        Host::Address(address) => names.ip(address),
        Host::Name(name) => names.dns(name),
    };
    let names = names.build(&builder.x509v3_context(None, None)).expect("made");
    builder.append_extension(names).expect("set");
}
