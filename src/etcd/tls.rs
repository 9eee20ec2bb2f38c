//! The certificates and the key that the URL names, as ureq wants them.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::tls::{parse_pem, Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

use crate::error::{Error, ErrorKind, Result};
use crate::etcd::url::Target;
use crate::sys;

pub(super) fn config(target: &Target) -> Result<TlsConfig> {
    let roots = match &target.ca {
        Some(path) => RootCerts::Specific(Arc::new(certificates(path)?)),
        None => RootCerts::WebPki,
    };
    let client = match &target.certificate {
        Some((certificate, key)) => Some(client(certificate, key)?),
        None => None,
    };
    Ok(TlsConfig::builder().root_certs(roots).client_cert(client).disable_verification(target.skip_verify).build())
}

fn client(certificate: &Path, key: &Path) -> Result<ClientCert> {
    let private = PrivateKey::from_pem(&read(key)?).map_err(|_| no_pem(key))?;
    let chain = certificates(certificate)?;
    check(&chain, &private).map_err(|why| {
        let (certificate, key) = (certificate.display(), key.display());
        let text =
            format!("the client certificate in {certificate} and the private key in {key} do not work together: {why}");
        let advice = "ETCDCTL_CERT (or ?cert=) and ETCDCTL_KEY (or &key=) must name a certificate and its own key";
        Error::new(ErrorKind::Invalid, text).advising(Some(advice))
    })?;
    Ok(ClientCert::new_with_certs(&chain, private))
}

/// Does what ureq will do with them when it connects first. There a failure is a panic (ureq 3.2, `tls/rustls.rs`).
fn check(chain: &[Certificate<'static>], key: &PrivateKey<'static>) -> std::result::Result<(), String> {
    let provider = CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(ring::default_provider()));
    let chain = chain.iter().map(|one| CertificateDer::from(one.der()).into_owned()).collect();
    let key = PrivateKeyDer::try_from(key.der())?.clone_key();
    CertifiedKey::from_der(chain, key, &provider).map(drop).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => "the key is that of another certificate".to_owned(),
        e => e.to_string(),
    })
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let bytes = read(path)?;
    let found: Vec<_> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match found.is_empty() {
        true => Err(no_pem(path)),
        false => Ok(found),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    sys::read_file(path).map_err(|e| Error::io("read the certificates or the key in", path, e))
}

fn no_pem(path: &Path) -> Error {
    Error::new(ErrorKind::Invalid, format!("{} has no PEM text of the kind that is needed there", path.display()))
}
