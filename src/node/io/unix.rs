//! `unixsocket`: clients of this machine, by a socket that is a file.

use super::engine::Engine;
use super::listen::welcome;
use super::stream::Stream;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tokio::net::UnixListener;

/// A socket that is a file, which goes with it.
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixSocket {
    /// Listens there. A socket of that name that was left behind is replaced. `mode` is octal; 0 is
    /// what the system gives.
    pub(super) fn bind(path: &Path, mode: &str) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "Invalid socket permissions");
        let mode = u32::from_str_radix(mode, 8).map_err(|_| invalid())?;
        // CONFIG SET dir does not move it.
        let path = std::path::absolute(path)?;
        if std::fs::symlink_metadata(&path).is_ok_and(|there| there.file_type().is_socket()) {
            std::fs::remove_file(&path)?;
        }
        let socket = Self { listener: UnixListener::bind(&path)?, path };
        if mode != 0 {
            std::fs::set_permissions(&socket.path, Permissions::from_mode(mode))?;
        }
        Ok(socket)
    }

    /// Accepts clients until the node is told to stop.
    pub(super) async fn accept(self, engine: Rc<Engine>) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => welcome(Stream::Unix(stream), &engine),
                    Err(error) => super::listen::rest(&error).await,
                },
                () = engine.stop.requested() => return,
            }
        }
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the unix socket was gone");
        }
    }
}
