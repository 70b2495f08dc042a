//! One file over HTTP that arrives whole, on lines that drop and servers that stall.
//!
//! What has arrived stays in the partial file, and the next attempt asks for the rest (RFC 9110, range
//! requests); so does the next process. An attempt ends after a fixed time whatever it has brought: a
//! stalled line is left that way, a slow one just asks again. Attempts that bring nothing are counted, and
//! some in a row are the end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode};

use crate::DataError;

/// The most bytes that are taken from a server.
const MOST_BYTES: u64 = 1 << 30;

/// How long to wait for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Attempts in a row that may bring nothing.
    pub attempts: u32,
    /// The length of an attempt.
    pub attempt: Duration,
    /// The pause after the first that brought nothing; it doubles.
    pub pause: Duration,
}

pub(super) const PATIENCE: Patience = Patience {
    attempts: 5,
    attempt: Duration::from_secs(60),
    pause: Duration::from_secs(1),
};

/// Fetches `url` into `partial`, on top of what is there. `progress` hears of the bytes that are there and of
/// those that will be, if known.
///
/// # Errors
/// [`DataError::Fetch`] when patience is at its end, or for an answer that another attempt will not change;
/// [`DataError::Io`] where the partial file cannot be written.
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
            let problem = format!("{problem} ({failures} attempts in a row brought nothing)");
            return Err(DataError::fetch(url, problem));
        }
        sleep(patience.pause * 2u32.pow(failures - 1));
    }
}

enum Attempt {
    Whole,
    /// Another attempt may go on.
    Broken(String),
    /// Another attempt would end alike.
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
                // What it sends does not go on where the file ends: from the start, then.
                file.set_len(0).map_err(io)?;
                return Ok(Attempt::Broken("an answer to another range".into()));
            }
        },
        StatusCode::RANGE_NOT_SATISFIABLE => {
            // The rest of a whole file is nothing; of any other, the file is not this one's start.
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
