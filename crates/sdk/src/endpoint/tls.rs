//! TLS to a server, with the certificates that the system trusts.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, Result};

pub(crate) type Certificate = CertificateDer<'static>;

/// Reads certificates in PEM.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<Certificate>> {
    let bad =
        |why: &str| Error::invalid_config(format!("the endpoint's root certificates are unusable: {why}"));
    let certificates: Vec<_> = Certificate::pem_slice_iter(pem)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| bad(&error.to_string()))?;
    if certificates.is_empty() {
        return Err(bad("the text holds no certificate in PEM"));
    }
    let mut store = RootCertStore::empty();
    for certificate in &certificates {
        store.add(certificate.clone()).map_err(|error| bad(&error.to_string()))?;
    }
    Ok(certificates)
}

/// Does the TLS handshake. Trusts the system's certificates and these.
pub(crate) async fn connect(
    certificates: &[Certificate],
    host: &str,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    // Unusable certificates of the system do not matter: those that are left decide.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    store.add_parsable_certificates(certificates.iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(store)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_certificates_is_refused() {
        for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(certificates(pem.as_bytes()).is_err(), "{pem}");
        }
    }
}
