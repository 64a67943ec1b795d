//! Where a server listens, as the program says it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use tokio_tungstenite::tungstenite::http::Uri;

use crate::endpoint::token::TokenSource;
use crate::error::{Error, Result};
use crate::process::environment::ChildEnvironment;

/// Where a server listens. A client with an endpoint connects to that server and starts no runtime of its own; see
/// [`CodexConfig::connect`](crate::CodexConfig::connect) and [`guide::endpoints`](crate::guide::endpoints).
///
/// ```no_run
/// # fn main() -> openai_codex::Result<()> {
/// use openai_codex::{Codex, CodexConfig, Endpoint};
///
/// let endpoint = Endpoint::websocket("ws://127.0.0.1:4500").bearer(|| std::fs::read_to_string("/run/codex/token"));
/// let codex = Codex::with_config(CodexConfig::new().connect(endpoint))?;
/// # codex.close() }
/// ```
#[derive(Clone)]
pub struct Endpoint {
    address: Address,
    token: Option<TokenSource>,
    sends_token_in_plain: bool,
    starts_server: bool,
    #[cfg(feature = "tls")]
    certificates: Vec<crate::endpoint::tls::Certificate>,
}

#[derive(Clone)]
enum Address {
    #[cfg(unix)]
    ControlSocket,
    #[cfg(unix)]
    Unix(PathBuf),
    Url(String),
    Proxy(Vec<OsString>),
}

/// Shows neither arguments nor queries, which can hold secrets.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match &self.address {
            #[cfg(unix)]
            Address::ControlSocket => "the control socket".into(),
            #[cfg(unix)]
            Address::Unix(path) => path.display().to_string(),
            Address::Url(url) => {
                Url::parse(url).map_or_else(|_| "an unusable URL".into(), |url| url.to_string())
            }
            Address::Proxy(words) => proxy_name(words),
        };
        f.debug_struct("Endpoint")
            .field("address", &address)
            .field("bearer", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    fn new(address: Address) -> Self {
        Self {
            address,
            token: None,
            sends_token_in_plain: false,
            starts_server: false,
            #[cfg(feature = "tls")]
            certificates: Vec::new(),
        }
    }

    /// The control socket of a runtime's home: `app-server-control/app-server-control.sock` below `CODEX_HOME`, else below
    /// `.codex` in `HOME`. The variables are those of [`CodexConfig::env`](crate::CodexConfig::env). A server listens there if
    /// it was started with `codex app-server --listen unix://`, or by [`or_start`](Self::or_start). Only the user of the home
    /// can connect.
    #[cfg(unix)]
    pub fn control_socket() -> Self {
        Self::new(Address::ControlSocket)
    }

    /// A Unix socket. A server listens there if it was started with `codex app-server --listen unix://PATH`, or by
    /// [`or_start`](Self::or_start).
    #[cfg(unix)]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Address::Unix(path.into()))
    }

    /// A WebSocket URL: `ws://HOST:PORT`, or `wss://HOST` with the feature `tls`. A server listens there if it was started with
    /// `codex app-server --listen ws://IP:PORT`. The runtime itself offers no TLS, so `wss` needs a TLS proxy in front of it.
    pub fn websocket(url: impl Into<String>) -> Self {
        Self::new(Address::Url(url.into()))
    }

    /// A command whose standard input and output are connected to a server, with the program first. The runtime has such a command: `codex
    /// app-server proxy` connects to the control socket. Over `ssh` it reaches another machine without an open port.
    ///
    /// The client starts the command in the environment of [`CodexConfig::env`](crate::CodexConfig::env), and ends it with the
    /// connection. The command cannot ask for a password.
    ///
    /// ```
    /// use openai_codex::Endpoint;
    ///
    /// let endpoint = Endpoint::proxy(["ssh", "-o", "BatchMode=yes", "build-host", "codex", "app-server", "proxy"]);
    /// # let _ = endpoint;
    /// ```
    pub fn proxy<A: Into<OsString>>(command: impl IntoIterator<Item = A>) -> Self {
        Self::new(Address::Proxy(command.into_iter().map(Into::into).collect()))
    }

    /// Sets the source of a bearer token. The client calls the closure for each attempt to connect, on a thread of its own, and
    /// sends the token as `Authorization: Bearer`. It removes spaces and line ends around the token. A server compares the token
    /// with the one that it was started with (`--ws-auth capability-token`), or checks its signature (`--ws-auth
    /// signed-bearer-token`: a JWT with HS256 and `exp`).
    ///
    /// A server checks the token when the client connects. A connection outlives its token.
    ///
    /// The client refuses to send a token to another machine in plain text, as `ws` does; see
    /// [`send_token_in_plain`](Self::send_token_in_plain).
    pub fn bearer(mut self, token: impl Fn() -> io::Result<String> + Send + Sync + 'static) -> Self {
        self.token = Some(TokenSource::new(token));
        self
    }

    /// Allows to send the token over plain `ws` to another machine. Everybody on the way can read it, and use it. Only for networks that
    /// encrypt by themselves, such as a VPN.
    pub fn send_token_in_plain(mut self) -> Self {
        self.sends_token_in_plain = true;
        self
    }

    /// Starts a server at this Unix socket if none listens there. The server outlives the client and the program.
    ///
    /// The client starts it as it would start a runtime of its own: with [`codex_bin`](crate::CodexConfig::codex_bin),
    /// [`config_overrides`](crate::CodexConfig::config_overrides), [`cwd`](crate::CodexConfig::cwd), [`env`](crate::CodexConfig::env)
    /// and [`before_spawn`](crate::CodexConfig::before_spawn). A server that listens already keeps its own. The server writes its log to
    /// a file beside the socket, with the suffix `.log`. It ends when it receives SIGTERM, after the turns that it runs.
    ///
    /// Several programs can do this at once: one server starts, and all connect to it.
    #[cfg(unix)]
    pub fn or_start(mut self) -> Self {
        self.starts_server = true;
        self
    }

    /// Adds root certificates in PEM, for a server whose certificate is signed by an authority that the system does not trust.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) if the text holds no certificate, or an unusable one.
    #[cfg(feature = "tls")]
    pub fn root_certificates(mut self, pem: impl AsRef<[u8]>) -> Result<Self> {
        self.certificates.extend(crate::endpoint::tls::certificates(pem.as_ref())?);
        Ok(self)
    }

    /// Whether the client may start the server.
    pub(crate) fn starts_server(&self) -> bool {
        self.starts_server
    }

    /// Whether the server is on this machine, so that its files are the program's.
    pub(crate) fn is_local(&self) -> bool {
        match &self.address {
            #[cfg(unix)]
            Address::ControlSocket | Address::Unix(_) => true,
            Address::Url(url) => Url::parse(url).is_ok_and(|url| url.is_loopback()),
            Address::Proxy(_) => false,
        }
    }

    /// Where to connect to. `env` is the environment of the runtime. Fails for an endpoint that cannot be used.
    pub(crate) fn target(&self, env: &ChildEnvironment) -> Result<Target> {
        let place = match &self.address {
            #[cfg(unix)]
            Address::ControlSocket => Place::Unix { path: control_socket(env)?, listen: "unix://".into() },
            #[cfg(unix)]
            Address::Unix(path) => {
                let absolute = std::path::absolute(path).map_err(|error| {
                    Error::invalid_config(format!("the endpoint's path {path:?} is unusable: {error}"))
                })?;
                let mut listen = OsString::from("unix://");
                listen.push(&absolute);
                Place::Unix { path: absolute, listen }
            }
            Address::Url(text) => Place::Url(self.checked_url(text)?),
            Address::Proxy(words) => match &words[..] {
                [program, ..] if !program.is_empty() => Place::Proxy(words.clone()),
                _ => {
                    return Err(Error::invalid_config(
                        "the endpoint's proxy command is empty; pass the program as its first entry",
                    ));
                }
            },
        };
        #[cfg(unix)]
        let can_start = matches!(place, Place::Unix { .. });
        #[cfg(not(unix))]
        let (can_start, _) = (false, env);
        if self.starts_server && !can_start {
            return Err(Error::invalid_config(
                "`or_start` needs an endpoint that is a Unix socket; start the server yourself, or use \
                 `Endpoint::control_socket` or `Endpoint::unix`",
            ));
        }
        Ok(Target {
            place,
            token: self.token.clone(),
            #[cfg(feature = "tls")]
            certificates: self.certificates.clone(),
        })
    }

    fn checked_url(&self, text: &str) -> Result<Url> {
        let mut url = Url::parse(text)?;
        if url.is_tls && cfg!(not(feature = "tls")) {
            return Err(Error::invalid_config(format!(
                "the endpoint {url} needs TLS; enable the feature `tls` of the crate `openai-codex`"
            )));
        }
        if self.token.is_some() && !url.is_tls && !url.is_loopback() && !self.sends_token_in_plain {
            return Err(Error::invalid_config(format!(
                "the endpoint {url} is on another machine, and the client would send the token there in plain text; use `wss` \
                 or `Endpoint::proxy` with ssh, or allow it with `send_token_in_plain`"
            )));
        }
        url.stays_here = self.token.is_some() && !url.is_tls && !self.sends_token_in_plain;
        Ok(url)
    }
}

/// An endpoint that was checked, with everything that is needed to connect.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) token: Option<TokenSource>,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Vec<crate::endpoint::tls::Certificate>,
}

#[derive(Clone)]
pub(crate) enum Place {
    #[cfg(unix)]
    Unix {
        path: PathBuf,
        /// The `--listen` argument of a server here.
        listen: OsString,
    },
    Url(Url),
    Proxy(Vec<OsString>),
}

/// For messages.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(unix)]
            Self::Unix { path, .. } => write!(f, "{}", path.display()),
            Self::Url(url) => write!(f, "{url}"),
            Self::Proxy(words) => f.write_str(&proxy_name(words)),
        }
    }
}

impl Place {
    /// The program of a proxy, for messages.
    pub(crate) fn program(&self) -> PathBuf {
        match self {
            Self::Proxy(words) => words.first().map(PathBuf::from).unwrap_or_default(),
            _ => PathBuf::new(),
        }
    }
}

fn proxy_name(words: &[OsString]) -> String {
    let program = words.first().map(OsString::as_os_str).unwrap_or_default();
    format!("the command `{}`", program.display())
}

#[cfg(unix)]
fn control_socket(env: &ChildEnvironment) -> Result<PathBuf> {
    let variable = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("CODEX_HOME").or_else(|| Some(variable("HOME")?.join(".codex")));
    let home = home.ok_or_else(|| {
        Error::invalid_config("the control socket has no place: neither CODEX_HOME nor HOME is set")
    })?;
    Ok(home.join("app-server-control").join("app-server-control.sock"))
}

/// A checked `ws` or `wss` URL.
#[derive(Clone)]
pub(crate) struct Url {
    pub(crate) uri: Uri,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    /// Whether the client connects only to an address of this machine, because it sends a token in plain text.
    stays_here: bool,
}

impl Url {
    /// The error does not repeat the text, which can hold secrets.
    fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::invalid_config(format!(
                "the endpoint's URL {why}; write for example `ws://127.0.0.1:4500` or `wss://codex.example.com`"
            ))
        };
        let uri: Uri = text.trim().parse().map_err(|error| bad(&format!("is not one: {error}")))?;
        let is_tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(bad("does not begin with `ws://` or `wss://`")),
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(bad("names a user; use `bearer` for a token"));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        if host.is_empty() {
            return Err(bad("names no host"));
        }
        let names_port =
            uri.authority().zip(uri.host()).is_some_and(|(authority, host)| authority.as_str() != host);
        let port = match uri.port_u16() {
            Some(0) => return Err(bad("has the port 0")),
            Some(port) => port,
            None if names_port => return Err(bad("has a port that is not a number up to 65535")),
            None if is_tls => 443,
            None => 80,
        };
        Ok(Self { uri, host, port, is_tls, stays_here: false })
    }

    /// The addresses of the host to which the client may connect. A name server can resolve `localhost` to another machine.
    pub(crate) fn permitted(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> io::Result<Vec<SocketAddr>> {
        let is_permitted =
            |address: &SocketAddr| !self.stays_here || address.ip().to_canonical().is_loopback();
        let permitted: Vec<_> = addresses.filter(is_permitted).collect();
        if permitted.is_empty() && self.stays_here {
            return Err(io::Error::other(
                "its name does not resolve to this machine, and the client sends the token in plain text to this machine only",
            ));
        }
        Ok(permitted)
    }

    fn is_loopback(&self) -> bool {
        let name = self.host.to_ascii_lowercase();
        match name.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

/// Without the query, which can hold a secret.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let path = self.uri.path().trim_end_matches('/');
        write!(f, "{}://{authority}{path}", if self.is_tls { "wss" } else { "ws" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn error_of(endpoint: &Endpoint) -> String {
        let error = endpoint.target(&ChildEnvironment::default()).err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        error.to_string()
    }

    fn token() -> io::Result<String> {
        Ok("capability".into())
    }

    #[test]
    fn a_token_goes_in_plain_text_to_this_machine_only() {
        for url in [
            "ws://127.0.0.1:4500",
            "ws://127.9.9.9:1",
            "ws://[::1]:4500/path",
            "ws://LocalHost:4500",
            "ws://a.localhost:4500",
            "ws://[::ffff:127.0.0.1]:4500",
        ] {
            Endpoint::websocket(url).bearer(token).target(&ChildEnvironment::default()).unwrap();
        }
        for url in
            ["ws://192.168.1.2:4500", "ws://example.com:4500", "ws://localhost.example.com", "ws://[::2]:1"]
        {
            let endpoint = Endpoint::websocket(url);
            endpoint.target(&ChildEnvironment::default()).unwrap();
            let endpoint = endpoint.bearer(token);
            let text = error_of(&endpoint);
            assert!(text.contains("another machine") && text.contains("send_token_in_plain"), "{text}");
            endpoint.send_token_in_plain().target(&ChildEnvironment::default()).unwrap();
        }
    }

    #[test]
    fn a_token_goes_nowhere_if_localhost_resolves_to_another_machine() {
        let url = |endpoint: Endpoint| match endpoint.target(&ChildEnvironment::default()).unwrap().place {
            Place::Url(url) => url,
            place => panic!("{place}"),
        };
        let [other, here]: [SocketAddr; 2] = ["192.0.2.1:80", "[::1]:80"].map(|text| text.parse().unwrap());
        let endpoint = Endpoint::websocket("ws://a.localhost");
        assert_eq!(url(endpoint.clone()).permitted([other].into_iter()).unwrap(), [other]);
        let with_token = url(endpoint.clone().bearer(token));
        assert_eq!(with_token.permitted([other, here].into_iter()).unwrap(), [here]);
        let error = with_token.permitted([other].into_iter()).unwrap_err();
        assert!(error.to_string().contains("does not resolve to this machine"), "{error}");
        let allowed = url(endpoint.bearer(token).send_token_in_plain());
        assert_eq!(allowed.permitted([other].into_iter()).unwrap(), [other]);
    }

    #[test]
    fn an_unusable_endpoint_is_refused_without_its_secrets() {
        for (url, why) in [
            ("http://127.0.0.1:4500", "does not begin with"),
            ("127.0.0.1:4500", "does not begin with"),
            ("ws:///path", "endpoint's URL"),
            ("ws://user:secret@127.0.0.1:4500", "names a user"),
            ("ws://127.0.0.1:4500/?token=a secret", "endpoint's URL"),
            ("ws://127.0.0.1:99999", "port"),
            ("wss://[::1]:70000/path", "port"),
            ("ws://127.0.0.1:", "port"),
            ("ws://127.0.0.1:0", "port"),
            ("", "endpoint's URL"),
        ] {
            let text = error_of(&Endpoint::websocket(url));
            assert!(text.contains(why) && !text.contains("secret"), "{url}: {text}");
        }
        assert!(error_of(&Endpoint::proxy([] as [&str; 0])).contains("is empty"));
        #[cfg(unix)]
        assert!(error_of(&Endpoint::websocket("ws://127.0.0.1:1").or_start()).contains("or_start"));
        #[cfg(not(feature = "tls"))]
        assert!(error_of(&Endpoint::websocket("wss://127.0.0.1:1")).contains("feature `tls`"));
    }

    #[test]
    fn debug_and_messages_show_no_secrets() {
        let endpoint = Endpoint::websocket("ws://127.0.0.1:4500/a?key=secret").bearer(|| Ok("secret".into()));
        let text = format!("{endpoint:?} {}", endpoint.target(&ChildEnvironment::default()).unwrap().place);
        assert!(text.contains("ws://127.0.0.1:4500/a") && !text.contains("secret"), "{text}");
        assert!(!format!("{:?}", Endpoint::proxy(["ssh", "secret"])).contains("secret"));
        assert!(!format!("{:?}", Endpoint::websocket("http://secret")).contains("secret"));
    }

    #[test]
    fn the_port_of_a_url_has_a_default() {
        for (url, port) in [("ws://a", 80), ("wss://a", 443), ("ws://a:9", 9), ("wss://[::1]:9/x", 9)] {
            assert_eq!(Url::parse(url).unwrap().port, port);
        }
        assert_eq!(Url::parse("ws://[::1]:9").unwrap().host, "::1");
    }

    #[cfg(unix)]
    #[test]
    fn the_control_socket_is_below_the_home_of_the_runtimes_environment() {
        let mut env = ChildEnvironment::default();
        env.clear();
        assert!(Endpoint::control_socket().target(&env).is_err());
        let place =
            |env: &ChildEnvironment| Endpoint::control_socket().target(env).unwrap().place.to_string();
        env.set("HOME".into(), "/user".into());
        assert_eq!(place(&env), "/user/.codex/app-server-control/app-server-control.sock");
        env.set("CODEX_HOME".into(), "/codex".into());
        assert_eq!(place(&env), "/codex/app-server-control/app-server-control.sock");
    }
}
