//! The front door: takes connections, so many at once, and none that dawdles.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::tls::Tls;

/// How long somebody may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long somebody may take over a request's headers, and be silent between two requests.
const HEADERS: Duration = Duration::from_secs(30);

/// The most headers of a request.
const MOST_HEADERS: usize = 100;

/// The most of a request's head that is kept in memory, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

/// How long requests that are being answered may take once the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Where nothing can be accepted (no file descriptors, above all) it is tried again after this.
const BREATH: Duration = Duration::from_millis(100);

/// How connections are taken.
#[derive(Debug)]
pub struct Door {
    /// Without it there is no TLS.
    pub tls: Option<Tls>,
    /// Connections at once; who comes then is turned away.
    pub connections: usize,
}

impl Door {
    /// Answers by `router` until it is told to stop.
    pub async fn serve(
        self,
        listener: TcpListener,
        router: Router,
        mut stopped: watch::Receiver<bool>,
    ) {
        let Self { tls, connections } = self;
        let tls = tls.map(Arc::new);
        let places = Arc::new(Semaphore::new(connections));
        let mut all = JoinSet::new();
        let mut full = false;
        loop {
            let stream = tokio::select! {
                () = told(&mut stopped) => break,
                Some(_) = all.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be accepted");
                        tokio::time::sleep(BREATH).await;
                        continue;
                    }
                },
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                if !full {
                    tracing::warn!(
                        connections,
                        "as many connections as there may be: the next are turned away"
                    );
                }
                full = true;
                continue;
            };
            full = false;
            let (tls, router, stopped) = (tls.clone(), router.clone(), stopped.clone());
            all.spawn(async move {
                connected(stream, tls, router, stopped).await;
                drop(place);
            });
        }
        drop(listener);
        // Who does not come to an end is left behind.
        let _ = timeout(LAST_ANSWERS, async { while all.join_next().await.is_some() {} }).await;
    }
}

async fn connected(
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    router: Router,
    stopped: watch::Receiver<bool>,
) {
    // Answers are short; it only saves time.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return answer(stream, router, stopped).await };
    match timeout(HANDSHAKE, TlsAcceptor::from(tls.config()).accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, router, stopped).await,
        Ok(Err(error)) => tracing::debug!(%error, "somebody did not come to agree on TLS"),
        Err(_) => tracing::debug!("somebody took too long to agree on TLS"),
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = told(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn told(stopped: &mut watch::Receiver<bool>) {
    // It fails where nobody is left who could say so, which says so too.
    let _ = stopped.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests;
