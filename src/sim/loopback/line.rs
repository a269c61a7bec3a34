//! Connections that can be cut: what an unreachable cluster looks like to those who ask it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Router, serve::Listener};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A server on a port of its own, whose line can be cut and mended. Dropping it ends the server.
pub(super) struct Line {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

impl Line {
    /// Serves `router` on a free loopback port.
    pub(super) async fn open(router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (cut, hear) = watch::channel(false);
        let server = tokio::spawn(async move {
            // It ends only with its task: accepting never fails for good.
            let _ = axum::serve(Cuttable { listener, cut: hear }, router).await;
        });
        Ok(Self { address, cut, server })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Drops every connection, and each new one at once, until it is mended.
    pub(super) fn set_cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Cuttable {
    listener: TcpListener,
    cut: watch::Receiver<bool>,
}

impl Listener for Cuttable {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if *self.cut.borrow() {
                continue;
            }
            // Answers are small and waited for. Without it they only come later.
            let _ = stream.set_nodelay(true);
            let mut cut = self.cut.clone();
            // The line's end cuts it as well.
            let cut = Box::pin(async move { drop(cut.wait_for(|cut| *cut).await) });
            return (Connection { stream, cut: Some(cut) }, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once its line is cut.
struct Connection {
    stream: TcpStream,
    /// Nothing once it was cut.
    cut: Option<BoxFuture<'static, ()>>,
}

impl Connection {
    /// The stream, while the line is whole.
    fn whole(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(context).is_ready()
        {
            self.cut = None;
        }
        match &self.cut {
            Some(_) => Ok(Pin::new(&mut self.stream)),
            None => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.whole(context) {
            Ok(stream) => stream.poll_read(context, buffer),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.whole(context) {
            Ok(stream) => stream.poll_write(context, bytes),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.whole(context) {
            Ok(stream) => stream.poll_flush(context),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
