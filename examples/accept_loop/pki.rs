//! A certificate authority of its own for every run, and the clients' configurations that trust it.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::output::Failure;

/// A second name for the server, so that a client can come back under another one than its session is for.
const OTHER_NAME: &str = "other.localhost";

/// A CA and one certificate of it, for `localhost`, [`OTHER_NAME`] and 127.0.0.1. ECDSA with P-256.
pub(crate) struct Pki {
    ca: CertificateDer<'static>,
    ca_pem: String,
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) leaf_key: PrivatePkcs8KeyDer<'static>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl Pki {
    /// Makes fresh keys and certificates.
    pub(crate) fn generate() -> Result<Self, Failure> {
        Self::try_generate()
            .map_err(|error| Failure::broken(format!("could not make certificates: {error}")))
    }

    fn try_generate() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "accept_loop CA");
        let ca_key = KeyPair::generate()?;
        let ca = params.self_signed(&ca_key)?;
        let issuer = Issuer::new(params, ca_key);

        let names = ["localhost", OTHER_NAME, "127.0.0.1"].map(String::from);
        let mut params = CertificateParams::new(names)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        let leaf_key = KeyPair::generate()?;
        let leaf = params.signed_by(&leaf_key, &issuer)?;

        Ok(Self {
            ca: ca.der().clone(),
            ca_pem: ca.pem(),
            leaf: leaf.der().clone(),
            leaf_key: PrivatePkcs8KeyDer::from(leaf_key.serialize_der()),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        })
    }

    /// The CA's certificate, for `--ca-out`.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A client of one version that trusts the CA. It remembers nothing until [`newcomer`] gives it a memory.
    pub(crate) fn client(
        &self,
        version: &'static SupportedProtocolVersion,
    ) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}

/// A copy of `config` with an empty session memory of its own: a client that was never here before.
pub(crate) fn newcomer(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    // One server's sessions are all it needs. rustls keeps up to eight TLS 1.3 sessions per server.
    config.resumption = Resumption::in_memory_sessions(1);
    Arc::new(config)
}
