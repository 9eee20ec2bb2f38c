//! The URL of a lock on etcd, and what the environment adds to it, as for etcdctl:
//! `etcd://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/PREFIX[?cacert=FILE&cert=FILE&key=FILE]`.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

/// The port of etcd's clients.
const PORT: u16 = 2379;

/// etcd's limit for a request is 1.5 MiB, and a prefix is no place for data.
const LONGEST_PREFIX: usize = 1024;

/// Where a lock is, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As `http://host:2379`. There is at least one.
    pub endpoints: Vec<String>,
    /// The keys of the claimants are below it. It ends with a slash, as etcd's own recipe has it.
    pub prefix: String,
    pub user: Option<(String, String)>,
    pub ca: Option<PathBuf>,
    pub certificate: Option<(PathBuf, PathBuf)>,
    pub skip_verify: bool,
    /// The URL without the secrets, for messages.
    pub shown: String,
}

impl Target {
    /// `environment` gives the value of a variable.
    pub fn parse(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Target> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has no scheme"))?;
        let transport = match scheme {
            "etcd" => "http",
            "etcds" => "https",
            _ => return Err(invalid("its scheme is neither etcd nor etcds")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, prefix) =
            rest.split_once('/').ok_or_else(|| invalid("it has no prefix: etcd://host:2379/PREFIX"))?;
        let prefix = decoded(prefix)?;
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Err(invalid("its prefix is empty: etcd://host:2379/PREFIX"));
        }
        if prefix.len() > LONGEST_PREFIX {
            return Err(invalid("its prefix is longer than 1,024 bytes"));
        }
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let user = match user {
            Some(user) => Some(credentials(user, decoded, set)?),
            None => set("ETCDCTL_USER").map(|user| credentials(&user, |text| Ok(text.to_owned()), set)).transpose()?,
        };
        let hosts = match hosts {
            "" => set("ETCDCTL_ENDPOINTS").unwrap_or_else(|| "127.0.0.1".to_owned()),
            hosts => hosts.to_owned(),
        };
        let endpoints: Vec<String> = hosts.split(',').map(|host| endpoint(transport, host)).collect::<Result<_>>()?;
        let mut files = ["ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"].map(|name| set(name).map(PathBuf::from));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let at = ["cacert", "cert", "key"].iter().position(|known| *known == name);
            let at = at.ok_or_else(|| invalid("after ? it may have cacert=, cert= and key= alone"))?;
            files[at] = Some(PathBuf::from(decoded(value)?));
        }
        let [ca, certificate, key] = files;
        let certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(invalid("a client certificate needs both cert and key (or ETCDCTL_CERT and ETCDCTL_KEY)")),
        };
        let shown_hosts: Vec<_> =
            endpoints.iter().filter_map(|it| it.split_once("://")).map(|(_, host)| host).collect();
        Ok(Target {
            shown: format!("{scheme}://{}/{prefix}", shown_hosts.join(",")),
            endpoints,
            prefix: format!("{prefix}/"),
            user,
            ca,
            certificate,
            skip_verify: set("ETCDCTL_INSECURE_SKIP_TLS_VERIFY").is_some_and(|value| value != "false" && value != "0"),
        })
    }
}

/// `text` is not repeated, because it may contain a password.
fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the URL of the lock is not valid: {why}"))
}

/// `USER:PASSWORD`, or `USER` with the password of the environment.
fn credentials(
    text: &str,
    read: impl Fn(&str) -> Result<String>,
    set: impl Fn(&str) -> Option<String>,
) -> Result<(String, String)> {
    let no_password = || invalid("it names a user, and neither it nor ETCDCTL_PASSWORD has the password");
    match text.split_once(':') {
        Some((user, password)) => Ok((read(user)?, read(password)?)),
        None => Ok((read(text)?, set("ETCDCTL_PASSWORD").ok_or_else(no_password)?)),
    }
}

fn endpoint(transport: &str, host: &str) -> Result<String> {
    // ETCDCTL_ENDPOINTS may have them with a scheme.
    let host = host.trim();
    let host =
        host.strip_prefix("http://").or_else(|| host.strip_prefix("https://")).unwrap_or(host).trim_end_matches('/');
    let after_address = host.rsplit_once(']').map_or(host, |(_, after)| after);
    let (name, port) = match after_address.rsplit_once(':') {
        Some((_, port)) => {
            let number: u16 = port.parse().map_err(|_| invalid("a port is no number from 1 to 65535"))?;
            (&host[..host.len() - port.len() - 1], number)
        }
        None => (host, PORT),
    };
    let is_address = name.starts_with('[') && name.ends_with(']');
    let is_usual = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || is_address && matches!(c, '[' | ']' | ':')
    };
    if name.is_empty() || !name.chars().all(is_usual) || port == 0 {
        return Err(invalid("a host is empty, or has characters that no host has (IPv6 addresses stand in brackets)"));
    }
    Ok(format!("{transport}://{name}:{port}"))
}

/// Resolves `%2F` and its like.
fn decoded(text: &str) -> Result<String> {
    let wrong = || invalid("a % is not followed by two hex digits, or the text is not UTF-8");
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match first {
            b'%' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
                rest = &after[2..];
                u8::from_str_radix(digits, 16).map_err(|_| wrong())?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, environment: &[(&str, &str)]) -> Result<Target> {
        Target::parse(url, |name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_url_names_endpoints_and_a_prefix() {
        let target = parse("etcd://a,b:1,[::1]:23,[::2]/x/y%20z//", &[]).unwrap();
        assert_eq!(target.endpoints, ["http://a:2379", "http://b:1", "http://[::1]:23", "http://[::2]:2379"]);
        assert_eq!(target.prefix, "x/y z/");
        let target = parse("etcds://me:p%40ss@h/x?cacert=/ca.pem&cert=c&key=k", &[]).unwrap();
        assert_eq!((&*target.endpoints[0], target.user), ("https://h:2379", Some(("me".into(), "p@ss".into()))));
        assert_eq!((target.ca, target.certificate), (Some("/ca.pem".into()), Some(("c".into(), "k".into()))));
    }

    #[test]
    fn no_message_contains_a_password() {
        let target = parse("etcd://me:secret@h/x", &[]).unwrap();
        assert_eq!(target.shown, "etcd://h:2379/x");
        for url in ["etcd://me:secret@h:x/p", "etcd://me:secret@/p?q", "etcd://me:secret@h"] {
            assert!(!parse(url, &[]).unwrap_err().to_string().contains("secret"), "{url}");
        }
    }

    #[test]
    fn the_environment_is_that_of_etcdctl_and_the_url_goes_first() {
        let environment = [
            ("ETCDCTL_ENDPOINTS", "http://e1:1,e2"),
            ("ETCDCTL_USER", "root:pw"),
            ("ETCDCTL_CACERT", "/ca"),
            ("ETCDCTL_PASSWORD", "other"),
            ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "true"),
        ];
        let target = parse("etcds:///x", &environment).unwrap();
        assert_eq!(target.endpoints, ["https://e1:1", "https://e2:2379"]);
        assert_eq!((target.user, target.ca), (Some(("root".into(), "pw".into())), Some("/ca".into())));
        assert!(target.skip_verify);
        let target = parse("etcd://you@h/x", &environment).unwrap();
        assert_eq!(target.user, Some(("you".into(), "other".into())));
        assert_eq!(parse("etcd:///x", &[]).unwrap().endpoints, ["http://127.0.0.1:2379"]);
    }

    #[test]
    fn what_is_no_such_url_is_invalid() {
        for url in [
            "etcd://h",
            "etcd://h/",
            "etcd://h//",
            "etcd://h:0/x",
            "etcd://h:99999/x",
            "etcd://,/x",
            "etcd://h/%zz",
            "etcd://h/%f",
            "etcd://h/%ff",
            "etcd://u@h/x",
            "etcd://h/x?color=red",
            "etcd://h/x?cert=c",
            "etcd://h h/x",
            "etcd://::1/x",
            "http://h/x",
        ] {
            assert_eq!(parse(url, &[]).unwrap_err().kind(), ErrorKind::Invalid, "{url}");
        }
    }
}
