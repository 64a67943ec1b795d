//! The virtual object under another name: one for each home.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::service::Service;
use hyper::{Request, Response, Uri};
use restate_sdk::endpoint::{Endpoint, HandleOptions, ProtocolMode, ResponseBody};
use serde_json::Value;

/// The name in the code. The engine's SDK has no way to set it when the worker starts.
const NAME: &str = "CodexThread";

/// An endpoint whose service has the name of the configuration: in what the engine reads and in what it sends.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) endpoint: Endpoint,
    pub(crate) name: String,
}

impl Named {
    /// The request with the name in the code.
    fn inner(&self, mut request: Request<Incoming>) -> Request<Incoming> {
        if self.name != NAME {
            let path =
                request.uri().path().replace(&format!("/invoke/{}/", self.name), &format!("/invoke/{NAME}/"));
            if let Ok(uri) = path.parse::<Uri>() {
                *request.uri_mut() = uri;
            }
        }
        request
    }
}

impl Service<Request<Incoming>> for Named {
    type Response = Response<Either<ResponseBody, Full<Bytes>>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let is_discovery = request.uri().path().ends_with("/discover");
        let options = HandleOptions { protocol_mode: ProtocolMode::BidiStream };
        let response = self.endpoint.handle_with_options(self.inner(request), options);
        let name = self.name.clone();
        Box::pin(async move {
            if !is_discovery || name == NAME {
                return Ok(response.map(Either::Left));
            }
            let (mut parts, body) = response.into_parts();
            let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            parts.headers.remove(CONTENT_LENGTH);
            Ok(Response::from_parts(parts, Either::Right(Full::from(renamed(bytes, &name)))))
        })
    }
}

/// A manifest with another name of the service. What is not a manifest stays.
fn renamed(manifest: Bytes, name: &str) -> Bytes {
    let Ok(mut manifest_json) = serde_json::from_slice::<Value>(&manifest) else { return manifest };
    for service in manifest_json["services"].as_array_mut().into_iter().flatten() {
        service["name"] = name.into();
    }
    Bytes::from(manifest_json.to_string())
}
