//! `/metrics`, `/healthz` and `/readyz` on one port.
//!
//! Whoever reaches this port may ask three questions and nothing else. Headers, time and the
//! number of connections are bounded, so a scraper that hangs costs nothing that a client needs.

use super::Metrics;
use crate::net::Shutdown;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of one request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// How long a request's head may take, and how long a kept connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one connection may live.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// What Prometheus calls its text format.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Tells whether this process can do its work at the moment.
pub trait Health: Send + Sync + 'static {
    /// Whether clients should be sent here.
    ///
    /// # Errors
    /// Why not, in a line for people.
    fn ready(&self) -> Result<(), String>;
}

/// The HTTP port of a process.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
}

impl HttpServer {
    /// Takes the port. Port 0 is any free one.
    ///
    /// # Errors
    /// When it is taken, or the address is not of this host.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is requested at once. While clients are drained it goes on, so that
    /// the drain can be watched; whoever owns it drops it at the end.
    pub async fn serve(self, metrics: Arc<Metrics>, health: Arc<dyn Health>, stop: Shutdown) {
        let pages = Arc::new(Pages { metrics, health });
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let slot = slots.clone().acquire_owned().await.expect("it is never closed");
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.at_once() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (pages, stop) = (pages.clone(), stop.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = converse(stream, pages) => {}
                            () = stop.at_once() => {}
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// One connection, from its first request to its last.
async fn converse(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = pages.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection ended"),
        Err(_) => tracing::debug!("an HTTP connection was open for too long"),
    }
}

struct Pages {
    metrics: Arc<Metrics>,
    health: Arc<dyn Health>,
}

impl Pages {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.text());
                let kind = HeaderValue::from_static(PROMETHEUS_TEXT);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            "/healthz" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => match self.health.ready() {
                Ok(()) => text(StatusCode::OK, "ready\n".into()),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            },
            "/" => text(StatusCode::OK, "keyway: /metrics /healthz /readyz\n".into()),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".into()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct NotYet;

    impl Health for NotYet {
        fn ready(&self) -> Result<(), String> {
            Err("no topology is known yet".into())
        }
    }

    /// Sends bytes to a server and returns all that it answers before it closes.
    async fn ask(request: &[u8]) -> String {
        let server = HttpServer::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = server.local_addr().expect("it is bound");
        let stop = Shutdown::new();
        let serving =
            tokio::spawn(server.serve(Arc::new(Metrics::new()), Arc::new(NotYet), stop.clone()));
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(request).await.expect("it reads");
        let mut answer = Vec::new();
        // A refused request may end in a reset; what came before it counts.
        let reading = client.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("it closes");
        stop.request_at_once();
        serving.await.expect("it ends");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn every_path_and_method_has_its_answer() {
        for (method, path, status, part) in [
            ("GET", "/metrics", "200 OK", "keyway_build_info"),
            ("GET", "/healthz", "200 OK", "ok\n"),
            ("GET", "/readyz", "503 Service Unavailable", "no topology is known yet"),
            ("GET", "/readyz?verbose", "503 Service Unavailable", "no topology"),
            ("GET", "/else", "404 Not Found", "/readyz"),
            ("POST", "/metrics", "405 Method Not Allowed", "allow: GET, HEAD"),
            ("DELETE", "/", "405 Method Not Allowed", "allow"),
        ] {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = ask(request.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{path}: {answer}");
            assert!(answer.contains(part), "{path}: {answer}");
        }
    }

    #[tokio::test]
    async fn head_answers_without_a_body() {
        let answer = ask(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_head_without_end_is_cut_off() {
        let mut request = b"GET /metrics HTTP/1.1\r\n".to_vec();
        for n in 0..2000 {
            request.extend_from_slice(format!("X-{n}: aaaaaaaaaaaaaaaaaaaaaaaa\r\n").as_bytes());
        }
        let answer = ask(&request).await;
        assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
    }
}
