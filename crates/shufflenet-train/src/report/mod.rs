//! One HTML file about a run, about several runs, or about the runs of several seeds: curves, schedule, the results and the
//! mistakes of the best checkpoint, configuration, environment.
//!
//! The file is self-contained: it contains style sheet, charts (`display/svg/`) and pictures, loads no other files and
//! runs no script. The style sheet has light and dark colours, and one for print. The run's folder has the history
//! (`history.rs`). The mistakes are evaluated again (`mistakes.rs`), if the data is available.

mod compare;
mod history;
mod mistakes;
mod one;
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};

use shufflenet_data::UnknownClasses;

use crate::data::trained_on::split;
use crate::device;
use crate::display::html::escape;
use crate::error::TrainError;
use crate::evaluation::{Evaluated, EvaluationRequest, evaluate};
use crate::files::{replace, require_folder, write_new};
use crate::run;
use crate::run::folder::REPORT;
use crate::run::seeds::{Measured, Seeds, is_finished};
use history::History;
use seeds::Member;

/// First bytes of every report. Only a file that begins with them is replaced.
const MARK: &str = "<!doctype html><!-- a report of shufflenet -->\n";

/// What to report, and where.
pub struct ReportRequest {
    /// Run folders, or one folder with the runs of several seeds; several are compared.
    pub runs: Vec<PathBuf>,
    /// The file. `None`: `report.html` in the run's folder.
    pub out: Option<PathBuf>,
    /// Where the data is. `None`: where the run had it.
    pub data: Option<PathBuf>,
    /// `test`, `validation`, `train` or `all`. `None`: the test part, else the validation part, else all.
    pub split: Option<String>,
    /// What to do about images of classes that the network does not know.
    pub unknown: UnknownClasses,
    /// Device name.
    pub device: String,
}

/// A run with the evaluation of its best checkpoint, or the reason why there is none.
struct Part {
    history: History,
    evaluated: Result<Evaluated, TrainError>,
}

/// Writes a report. Returns its path, and notes on what is missing in it.
///
/// # Errors
/// Runs that cannot be read; a part, data or a device of the request that is refused; [`TrainError::Value`] if the file
/// would replace one that is not a report.
pub fn report(reported: &ReportRequest) -> Result<(PathBuf, Vec<String>), TrainError> {
    let out = place(reported)?;
    reported.split.as_deref().map(split::named).transpose()?;
    device::open(&reported.device)?;
    let mut notes = Vec::new();
    let page = match reported.runs.as_slice() {
        [run] => match Seeds::read(run)? {
            Some(of) => of_seeds(reported, run, &of, &mut notes)?,
            None => one::page(&part(reported, run, &mut notes)?),
        },
        several => {
            let parts = several.iter().map(|run| part(reported, run, &mut notes));
            compare::page(&parts.collect::<Result<Vec<Part>, TrainError>>()?)
        }
    };
    match out.exists() {
        true => replace(&out, page.as_bytes())?,
        false => write_new(&out, page.as_bytes())?,
    }
    Ok((out, notes))
}

/// Reads and evaluates the run in the folder `run`.
fn part(reported: &ReportRequest, run: &Path, notes: &mut Vec<String>) -> Result<Part, TrainError> {
    if Seeds::read(run)?.is_some() {
        return Err(TrainError::Value {
            key: "a run to compare".into(),
            found: format!(
                "{}, which holds a run for each of several seeds",
                run.display()
            ),
            accepted: "a folder of one run, as its seed-N, or this folder alone".into(),
        });
    }
    let history = History::read(run)?;
    let evaluated = evaluate(&EvaluationRequest {
        data: reported.data.clone(),
        split: reported.split.clone(),
        unknown: reported.unknown,
        device: reported.device.clone(),
        ..EvaluationRequest::new(run)
    });
    match evaluated {
        Err(error) if is_of_request(&error, reported) => Err(error),
        evaluated => {
            if let Err(error) = &evaluated {
                notes.push(format!("{}: not evaluated: {error}", run.display()));
            }
            Ok(Part { history, evaluated })
        }
    }
}

/// Whether the request is at fault: it names data or a part that is refused. A report without figures would then replace a
/// good one by mistake. An error of the run's own data or checkpoint is only noted.
fn is_of_request(error: &TrainError, reported: &ReportRequest) -> bool {
    match error {
        TrainError::Checkpoint { .. }
        | TrainError::NewerFormat { .. }
        | TrainError::Weights { .. } => false,
        TrainError::Value { key, .. } if key == "--data" => reported.data.is_some(),
        _ => reported.data.is_some() || reported.split.is_some(),
    }
}

/// The page of the finished runs in `folder`.
fn of_seeds(
    reported: &ReportRequest,
    folder: &Path,
    of: &Seeds,
    notes: &mut Vec<String>,
) -> Result<String, TrainError> {
    let is_whole = |seed: &u64| is_finished(&run::seeds::place(folder, *seed));
    let (finished, unfinished): (Vec<u64>, Vec<u64>) = of.iter().partition(is_whole);
    if finished.is_empty() {
        let message = "no run of its seeds is finished; report one of its seed-N instead";
        return Err(TrainError::checkpoint(folder, message));
    }
    for seed in &unfinished {
        notes.push(format!("seed {seed}: left out, not at its end yet"));
    }
    let mut members = Vec::new();
    for seed in finished {
        let run = run::seeds::place(folder, seed);
        members.push(Member {
            seed,
            part: part(reported, &run, notes)?,
            measured: Measured::read(&run),
        });
    }
    Ok(seeds::page(&history::name(folder), &members, &unfinished))
}

/// What `--out` accepts.
const ACCEPTED: &str = "a file to be made in a folder that exists, or an earlier report";

/// Path of the report. A file that is not a report is never replaced.
fn place(reported: &ReportRequest) -> Result<PathBuf, TrainError> {
    let out = match (&reported.out, reported.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) => run.join(REPORT),
        (None, _) => {
            return Err(TrainError::Value {
                key: "--out".into(),
                found: "not given".into(),
                accepted: "a file, where several runs are compared".into(),
            });
        }
    };
    if out.exists() && !is_report(&out) {
        return Err(TrainError::Value {
            key: "--out".into(),
            found: format!("{}, which exists and is not a report", out.display()),
            accepted: ACCEPTED.into(),
        });
    }
    require_folder(&out, "--out", ACCEPTED)?;
    Ok(out)
}

fn is_report(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(MARK.as_bytes()))
}

/// A complete page.
fn page(title: &str, body: &str) -> String {
    format!(
        "{MARK}<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{}</style></head>\n<body>\n{body}\
         <footer>Made by shufflenet {}. Nothing on this page is loaded from elsewhere.</footer>\n</body></html>\n",
        escape(title),
        include_str!("style.css"),
        env!("CARGO_PKG_VERSION"),
    )
}

/// A table; the first row is its head.
fn table(rows: &[Vec<String>]) -> String {
    let row = |(index, cells): (usize, &Vec<String>)| {
        let kind = if index == 0 { "th" } else { "td" };
        let cell = |cell: &String| format!("<{kind}>{}</{kind}>", escape(cell));
        format!("<tr>{}</tr>\n", cells.iter().map(cell).collect::<String>())
    };
    let rows: String = rows.iter().enumerate().map(row).collect();
    format!("<div class=\"wide\"><table>\n{rows}</table></div>\n")
}

/// Figures with their names, large.
fn tiles(tiles: &[(String, String)]) -> String {
    let tile = |(value, name): &(String, String)| {
        format!(
            "<div class=\"tile\"><b>{}</b><span>{}</span></div>\n",
            escape(value),
            escape(name)
        )
    };
    let tiles: String = tiles.iter().map(tile).collect();
    format!("<div class=\"tiles\">\n{tiles}</div>\n")
}

/// A share as a percentage with the given number of decimals.
fn percent(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(runs: &[&Path], out: Option<PathBuf>) -> ReportRequest {
        ReportRequest {
            runs: runs.iter().map(|run| run.to_path_buf()).collect(),
            out,
            data: None,
            split: None,
            unknown: UnknownClasses::Refuse,
            device: "flex".into(),
        }
    }

    /// A run folder whose data does not exist.
    fn run(folder: &Path, name: &str) -> PathBuf {
        let run = folder.join(name);
        fs::create_dir(&run).unwrap();
        fs::write(
            run.join("config.toml"),
            format!("name = \"{name}\" # <b>\n"),
        )
        .unwrap();
        let line = |epoch: usize, split: &str, loss: f64| {
            format!(
                "{{\"event\":\"epoch\",\"epoch\":{epoch},\"step\":{},\"split\":\"{split}\",\"loss\":{loss},\
                 \"top1\":0.5,\"top5\":0.9,\"count\":10,\"lr\":0.1,\"img_per_s\":9.0}}\n",
                epoch * 10
            )
        };
        let lines: String = (1..4)
            .flat_map(|epoch| {
                [
                    line(epoch, "train", 2.0),
                    line(epoch, "test", 1.0 / epoch as f64),
                ]
            })
            .collect();
        fs::write(run.join("metrics.jsonl"), lines + "{\"event\":\"ep").unwrap();
        run
    }

    #[test]
    fn a_page_is_self_contained_and_reports_missing_data() {
        let folder = tempfile::tempdir().unwrap();
        let a = run(folder.path(), "a");
        let (out, notes) = report(&reported(&[&a], None)).unwrap();
        let page = fs::read_to_string(&out).unwrap();
        assert_eq!(out, a.join("report.html"));
        assert!(notes[0].contains("not evaluated"), "{notes:?}");
        assert!(page.contains("not evaluated") && page.contains("# &lt;b&gt;"));
        assert_eq!(
            page.matches("<polyline").count(),
            6,
            "loss and top-1 twice, the rate, the pace"
        );
        for foreign in ["http", "<script", "url(", "@import", "src=\"//"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        // An earlier report is replaced, another file is not.
        report(&reported(&[&a], None)).unwrap();
        fs::write(&out, "mine").unwrap();
        let line = report(&reported(&[&a], None)).unwrap_err().to_string();
        assert!(line.contains("is not a report"), "{line}");
    }

    #[test]
    fn a_run_that_slowed_down_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let a = run(folder.path(), "a");
        let metrics = a.join("metrics.jsonl");
        let page = |text: &str| {
            fs::write(&metrics, text).unwrap();
            let (out, _) = report(&reported(&[&a], None)).unwrap();
            fs::read_to_string(out).unwrap()
        };
        let whole = fs::read_to_string(&metrics).unwrap();
        let whole = &whole[..=whole.rfind('\n').unwrap()];
        assert!(!page(whole).contains("slowed down"));
        let (start, last) = whole.split_at(whole.find("\"epoch\":3").unwrap());
        let slow = last.replace("\"img_per_s\":9.0", "\"img_per_s\":5.0");
        assert!(page(&format!("{start}{slow}")).contains("slowed down: epoch 3 ran at 5"));
        // The earlier epochs had smaller images, which explains the speed.
        let config = "[train]\nprogressive = [{ until_epoch = 2, size = 16 }]\n";
        fs::write(a.join("config.toml"), config).unwrap();
        assert!(!page(&format!("{start}{slow}")).contains("slowed down"));
    }

    #[test]
    fn runs_are_compared_by_curves_and_by_the_keys_that_differ() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (run(folder.path(), "a"), run(folder.path(), "b"));
        let line = report(&reported(&[&a, &b], None)).unwrap_err().to_string();
        assert!(line.contains("--out"), "{line}");
        let out = folder.path().join("both.html");
        report(&reported(&[&a, &b], Some(out.clone()))).unwrap();
        let page = fs::read_to_string(out).unwrap();
        assert_eq!(
            page.matches("<polyline").count(),
            6,
            "three charts of two runs"
        );
        assert!(page.contains("<td>name</td><td>a</td><td>b</td>"), "{page}");
    }

    #[test]
    fn a_folder_that_is_not_a_run_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let line = report(&reported(&[folder.path()], None))
            .unwrap_err()
            .to_string();
        assert!(line.contains("is not a run folder"), "{line}");
        let damaged = run(folder.path(), "damaged");
        fs::write(damaged.join("metrics.jsonl"), "{}\n").unwrap();
        let line = report(&reported(&[&damaged], None))
            .unwrap_err()
            .to_string();
        assert!(
            line.contains("metrics.jsonl") && line.contains("line 1"),
            "{line}"
        );
    }
}
