//! Writes of the engine that fail.
//!
//! chDB does not look whether a write has failed, and goes on as if all had been written. A merge on a full disk then ends with a
//! part of empty files, the parts that it was made of are removed, and what they held is gone. So `write` is replaced in the whole
//! process: one into the engine's data that finds the disk full waits until there is space. Any other failure ends the process,
//! before the engine takes for stored what is not: the log still has it.

use std::io;
use std::path::Path;

/// Watches writes below a folder. `Err`: the program was linked in a way that leaves the engine its own `write`.
#[cfg(target_os = "linux")]
pub(crate) fn watch(data_path: &Path) -> io::Result<()> {
    watched::watch(data_path)
}

/// Elsewhere nothing is known of it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn watch(_: &Path) -> io::Result<()> {
    Ok(())
}

/// How many writes of the engine wait for disk space.
pub fn writes_that_wait() -> usize {
    #[cfg(target_os = "linux")]
    return watched::WAITING.load(std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(target_os = "linux"))]
    0
}

/// From now on a write that finds the disk full ends the process: whoever stops it would wait for ever.
pub fn wait_for_space_no_more() {
    #[cfg(target_os = "linux")]
    watched::ENDS.store(true, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
mod watched {
    use std::ffi::{c_int, c_void};
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use hyperbytedb_domain::error::EXIT_FAILED;
    use parking_lot::RwLock;

    const PAUSE: Duration = Duration::from_millis(100);

    static DATA_PATH: RwLock<Option<PathBuf>> = RwLock::new(None);
    pub(super) static WAITING: AtomicUsize = AtomicUsize::new(0);
    pub(super) static ENDS: AtomicBool = AtomicBool::new(false);

    pub(super) fn watch(data_path: &Path) -> io::Result<()> {
        // SAFETY: the name is a C string; nothing is called.
        let used = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"write".as_ptr()) };
        if used != write as *mut c_void {
            return Err(io::Error::other(
                "failed writes of the engine would go unnoticed: `write` is not exported",
            ));
        }
        *DATA_PATH.write() = Some(data_path.to_owned());
        Ok(())
    }

    /// The system's `write`, but for what the module says.
    ///
    /// # Safety
    ///
    /// As of the system's.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn write(file: c_int, bytes: *const c_void, count: usize) -> isize {
        let mut waits = None;
        loop {
            // SAFETY: the caller's arguments.
            let written = unsafe { libc::syscall(libc::SYS_write, file, bytes, count) } as isize;
            if written >= 0 {
                return written;
            }
            let error = io::Error::last_os_error();
            let code = error.raw_os_error().unwrap_or_default();
            let path = match code {
                libc::EINTR | libc::EAGAIN => None,
                _ => path_in_data(file),
            };
            let Some(path) = path else {
                // SAFETY: of this thread.
                unsafe { *libc::__errno_location() = code };
                return written;
            };
            let is_full = matches!(code, libc::ENOSPC | libc::EDQUOT);
            if !is_full || ENDS.load(Ordering::Relaxed) {
                end(&path, &error);
            }
            waits.get_or_insert_with(|| Wait::begin(&path));
            std::thread::sleep(PAUSE);
        }
    }

    /// The path of an open file of the engine's.
    fn path_in_data(file: c_int) -> Option<PathBuf> {
        let path = std::fs::read_link(format!("/proc/self/fd/{file}")).ok()?;
        DATA_PATH.read().as_ref().is_some_and(|data_path| path.starts_with(data_path)).then_some(path)
    }

    /// Ends the process with all its threads, none of which may go on as if it had written.
    fn end(path: &Path, error: &io::Error) -> ! {
        tracing::error!(path = %path.display(), %error, "the engine cannot write, and the server ends; its log has what is not stored");
        let text = [b"hyperbytedb: the engine cannot write ".as_slice(), path.as_os_str().as_bytes(), b"\n"]
            .concat();
        // SAFETY: the text is as long as that; the process ends here.
        unsafe {
            libc::syscall(libc::SYS_write, libc::STDERR_FILENO, text.as_ptr(), text.len());
            libc::_exit(EXIT_FAILED)
        }
    }

    struct Wait;

    impl Wait {
        fn begin(path: &Path) -> Self {
            if WAITING.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::error!(path = %path.display(), "the disk is full: the engine waits for space");
            }
            Self
        }
    }

    impl Drop for Wait {
        fn drop(&mut self) {
            if WAITING.fetch_sub(1, Ordering::Relaxed) == 1 {
                tracing::info!("the engine writes again");
            }
        }
    }
}
