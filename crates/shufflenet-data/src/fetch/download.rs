//! Downloads one complete file over HTTP, despite dropped connections and stalled servers.
//!
//! Received bytes stay in the partial file, and the next attempt requests the rest (RFC 9110, range
//! requests), even in another process. An attempt ends after a fixed time, whatever it has received: that
//! ends a stalled connection, and a slow one only makes another request. Attempts that receive nothing are
//! counted, and several in a row end the download.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};

use crate::DataError;

/// The largest number of bytes accepted from a server.
const MOST_BYTES: u64 = 1 << 30;

/// Time limits and number of retries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Number of consecutive attempts without progress after which the download fails.
    pub attempts: u32,
    /// Time limit of one attempt.
    pub attempt: Duration,
    /// Pause after the first attempt without progress; doubled after each further one.
    pub pause: Duration,
}

pub(super) const PATIENCE: Patience = Patience {
    attempts: 5,
    attempt: Duration::from_secs(60),
    pause: Duration::from_secs(1),
};

/// Downloads `url` to `partial`, continuing after the bytes that the file already has. `progress` receives
/// the number of bytes so far and the total, if known.
///
/// # Errors
/// [`DataError::Fetch`] after too many attempts without progress, or for an answer that another attempt
/// will not change; [`DataError::Io`] if the partial file cannot be written.
pub(super) fn download(
    url: &str,
    partial: &Path,
    patience: Patience,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), DataError> {
    let config = Agent::config_builder()
        .timeout_resolve(Some(patience.attempt))
        .timeout_connect(Some(patience.attempt))
        .timeout_recv_response(Some(patience.attempt))
        .timeout_recv_body(Some(patience.attempt))
        .http_status_as_error(false)
        .build();
    let agent: Agent = config.into();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(partial)
        .map_err(|error| DataError::io(partial, error))?;
    let mut failures = 0;
    loop {
        let before = length(&file, partial)?;
        let problem = match attempt(&agent, url, &mut file, partial, progress)? {
            Attempt::Whole => {
                return file
                    .sync_all()
                    .map_err(|error| DataError::io(partial, error));
            }
            Attempt::Hopeless(problem) => return Err(DataError::fetch(url, problem)),
            Attempt::Broken(problem) => problem,
        };
        if length(&file, partial)? > before {
            failures = 0;
            continue;
        }
        failures += 1;
        if failures >= patience.attempts {
            let problem = format!("{problem} ({failures} attempts in a row received nothing)");
            return Err(DataError::fetch(url, problem));
        }
        sleep(patience.pause * 2u32.pow(failures - 1));
    }
}

enum Attempt {
    Whole,
    /// Another attempt may continue.
    Broken(String),
    /// Another attempt would fail in the same way.
    Hopeless(String),
}

fn attempt(
    agent: &Agent,
    url: &str,
    file: &mut File,
    partial: &Path,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<Attempt, DataError> {
    let io = |error| DataError::io(partial, error);
    let have = length(file, partial)?;
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(error) => return Ok(Attempt::Broken(error.to_string())),
    };
    let status = response.status();
    let headers = response.headers();
    let (start, total) = match status {
        StatusCode::OK => (0, number(headers, "content-length")),
        StatusCode::PARTIAL_CONTENT => match content_range(headers) {
            Some((start, total)) if start == have => (start, total),
            _ => {
                // The answer does not continue where the file ends, so the download starts again.
                file.set_len(0).map_err(io)?;
                return Ok(Attempt::Broken("an answer to another range".into()));
            }
        },
        StatusCode::RANGE_NOT_SATISFIABLE => {
            // A complete file has an empty rest. Otherwise the partial file is not a start of this file.
            let whole = headers
                .get("content-range")
                .and_then(|value| value.to_str().ok());
            if have > 0 && whole == Some(format!("bytes */{have}").as_str()) {
                return Ok(Attempt::Whole);
            }
            file.set_len(0).map_err(io)?;
            return Ok(Attempt::Broken(format!("status {status}")));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            return Ok(Attempt::Broken(format!("status {status}")));
        }
        _ if status.is_server_error() => return Ok(Attempt::Broken(format!("status {status}"))),
        _ => return Ok(Attempt::Hopeless(format!("status {status}"))),
    };
    file.set_len(start).map_err(io)?;
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut body = response.into_body().into_reader();
    let mut have = start;
    let mut buffer = vec![0; 1 << 16];
    loop {
        progress(have, total);
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Ok(Attempt::Broken(error.to_string())),
        };
        have += count as u64;
        if have > MOST_BYTES {
            return Ok(Attempt::Hopeless(format!("more than {MOST_BYTES} bytes")));
        }
        file.write_all(buffer.get(..count).unwrap_or_default())
            .map_err(io)?;
    }
    Ok(match total {
        Some(total) if have < total => Attempt::Broken(format!("{have} of {total} bytes")),
        _ => Attempt::Whole,
    })
}

fn length(file: &File, partial: &Path) -> Result<u64, DataError> {
    let metadata = file.metadata();
    metadata
        .map(|metadata| metadata.len())
        .map_err(|error| DataError::io(partial, error))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// First byte and total of `bytes 5-9/10`; the total may be `*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get("content-range")?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
