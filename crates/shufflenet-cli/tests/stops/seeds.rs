//! Tests of `train --seeds`: each run has the bits of a single run, also after a kill. Also, which arguments are
//! refused, and the report of the runs.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::{assert_success, end, names, one_line, start, train, workplace};

/// Arguments that train two epochs from each of three seeds.
const SEEDS: [&str; 4] = ["--set", "train.epochs=2", "--seeds", "5,1,9"];

fn finished(folder: &Path, out: &str, extra: &[&str]) -> String {
    let mut command = train(folder, out, extra);
    let output = command.stdout(Stdio::piped()).output().unwrap();
    assert_success(&output);
    String::from_utf8(output.stdout).unwrap()
}

fn shufflenet(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shufflenet"));
    command
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn each_seed_has_the_bits_of_a_single_run_also_after_a_kill() {
    let folder = workplace();
    let (all, killed) = (folder.path().join("all"), folder.path().join("killed"));
    let said = finished(folder.path(), "all", &SEEDS);
    for part in [
        "seed       5, 1 of 3",
        "seed       9, 3 of 3",
        "\n3 seeds    test top-1 ",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }

    let second = killed.join("seed-1");
    let begun = || names(&second.join("checkpoints")).len() > 4;
    let mut process = start(train(folder.path(), "killed", &SEEDS), begun);
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!killed.join("seed-9").exists(), "the kill came too late");
    let first = fs::read(killed.join("seed-5/metrics.jsonl")).unwrap();
    // The folder has the experiment and the seeds, so `--resume` needs no others.
    let output = shufflenet(folder.path(), &["train", "--resume", "killed"]);
    assert_success(&output);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("finished   at step "), "{said}");
    assert!(said.contains("resume     at step "), "{said}");
    assert_eq!(
        first,
        fs::read(killed.join("seed-5/metrics.jsonl")).unwrap()
    );

    for seed in ["5", "1", "9"] {
        let set = format!("train.seed={seed}");
        let alone = [&SEEDS[..2], &["--set", &set]].concat();
        finished(folder.path(), &format!("alone-{seed}"), &alone);
        let run = format!("seed-{seed}");
        let alone = end(&folder.path().join(format!("alone-{seed}")));
        assert_eq!(alone.0.len(), 3);
        assert!(alone == end(&all.join(&run)), "seed {seed} differs");
        assert!(
            alone == end(&killed.join(&run)),
            "seed {seed} differs after a kill"
        );
    }

    // A second `--resume` finds all runs finished. `--seeds` may then add seeds.
    let said = finished(
        folder.path(),
        "all",
        &["--resume", "--set", "train.epochs=2"],
    );
    assert_eq!(said.matches("finished   at step ").count(), 3, "{said}");
    let more = [&SEEDS[..2], &["--seeds", "5,1,9,2", "--resume"]].concat();
    assert!(finished(folder.path(), "all", &more).contains("\n4 seeds    "));

    let other = [&SEEDS[..2], &["--seeds", "9,7", "--force"]].concat();
    finished(folder.path(), "all", &other);
    let place = |seed: u64| folder.path().join(format!("all/seed-{seed}"));
    assert!([9, 7].into_iter().all(|seed| place(seed).exists()));
    assert!(![5, 1, 2].into_iter().any(|seed| place(seed).exists()));
}

#[cfg(unix)]
#[test]
fn a_signal_stops_all_seeds_and_a_second_process_is_refused() {
    let folder = workplace();
    let run = folder.path().join("run");
    let long = ["--set", "train.epochs=10000", "--seeds", "1,2"];
    let process = start(train(folder.path(), "run", &long), || {
        run.join("seed-1/checkpoints/last").exists()
    });
    for extra in ["--resume", "--force"] {
        let again = [&long[..], &[extra]].concat();
        let line = one_line(&train(folder.path(), "run", &again).output().unwrap(), 1);
        assert!(line.contains("run is in use by another"), "{line}");
    }
    let id = process.id().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status();
    assert!(kill.unwrap().success());
    assert_eq!(process.wait_with_output().unwrap().status.code(), Some(130));
    assert!(!run.join("seed-2").exists());
}

#[test]
fn wrong_seeds_are_refused_in_one_line() {
    let folder = workplace();
    let refused = |out: &str, extra: &[&str], code: i32, parts: &[&str]| {
        let line = one_line(&train(folder.path(), out, extra).output().unwrap(), code);
        for part in parts {
            assert!(line.contains(part), "{extra:?}: {part} is not in: {line}");
        }
    };
    let accepted = "accepted: different whole numbers from 0, as in 1,2,3";
    for seeds in ["", "1,,2", "1,two", "1.5", "-1", "2,3,2"] {
        refused(
            "run",
            &[&format!("--seeds={seeds}")],
            2,
            &["--seeds is ", accepted],
        );
    }
    let both = ["--seeds", "1,2", "--set", "train.seed=4"];
    refused("run", &both, 2, &["train.seed is 4, beside the seeds 1,2"]);
    refused(
        "run",
        &["--seeds", "1,2", "--tui"],
        2,
        &["--seeds is 1,2, with --tui"],
    );
    let bad = ["--seeds", "1,2", "--set", "data.validation=0.0001"];
    refused(
        "run",
        &bad,
        2,
        &["error: seed 1: data.validation is 0.0001"],
    );
    // An error that is found only after the folder was made.
    let start = ["--seeds", "1,2", "--set", "fine_tune.from=trial.toml"];
    refused(
        "run",
        &start,
        1,
        &["error: seed 1: fine_tune.from: trial.toml: "],
    );
    assert_eq!(
        names(folder.path()),
        ["trial.toml"],
        "a refused run left a folder"
    );
    // A folder as a start leaves it that was killed before its first run.
    let cut_off = folder.path().join("cut-off");
    fs::create_dir_all(cut_off.join("seed-7")).unwrap();
    fs::write(cut_off.join("seeds.toml"), "seeds = [7, 8]").unwrap();
    finished(
        folder.path(),
        "cut-off",
        &["--set", "train.max_steps=1", "--seeds", "1,2"],
    );

    let short = ["--set", "train.max_steps=1"];
    let two = [&short[..], &["--seeds", "1,2"]].concat();
    finished(folder.path(), "one", &short);
    refused("one", &two, 2, &["one holds a single run", "--out DIR"]);
    finished(folder.path(), "two", &two);
    refused(
        "two",
        &two,
        2,
        &["two holds a run already", "--resume", "--force"],
    );
    refused(
        "two",
        &short,
        2,
        &["two, which holds a run for each of several seeds"],
    );
    let fewer = [&short[..], &["--seeds", "2", "--resume"]].concat();
    refused(
        "two",
        &fewer,
        2,
        &["--seeds is 2, and two has runs of 1,2; accepted: those and more"],
    );
    let other = [&two[..], &["--resume", "--set", "optimizer.momentum=0.5"]].concat();
    refused(
        "two",
        &other,
        2,
        &[
            "seed 1: two/seed-1",
            "optimizer.momentum = 0.9, now it is 0.5",
        ],
    );

    // --force starts all runs again.
    let forced = [&two[..], &["--force", "--set", "optimizer.momentum=0.5"]].concat();
    finished(folder.path(), "two", &forced);
    for seed in ["two/seed-1/config.toml", "two/seed-2/config.toml"] {
        let config = fs::read_to_string(folder.path().join(seed)).unwrap();
        assert!(config.contains("momentum = 0.5"), "{config}");
    }

    for (arguments, part) in [
        (&["train", "--resume"][..], "--resume is without a folder"),
        (
            &["train", "--config", "trial.toml", "--seeds", "-1"],
            "--seeds is `-1`",
        ),
        (
            &["train", "--resume", "nowhere"],
            "nowhere, where no run was started",
        ),
        (
            &["train", "--resume", "two", "--out", "x"],
            "--out is x, beside --resume two",
        ),
    ] {
        let line = one_line(&shufflenet(folder.path(), arguments), 2);
        assert!(line.contains(part), "{line}");
    }
    let line = one_line(
        &shufflenet(folder.path(), &["eval", "--checkpoint", "two"]),
        1,
    );
    assert!(
        line.contains("two: holds a run for each of several seeds"),
        "{line}"
    );
}

#[test]
fn the_failure_of_a_seed_names_it_and_keeps_the_earlier_runs() {
    let folder = workplace();
    let two = ["--set", "train.max_steps=1", "--seeds", "1,2"];
    fs::create_dir(folder.path().join("run")).unwrap();
    finished(folder.path(), "run", &two);
    fs::remove_dir_all(folder.path().join("run/seed-2/checkpoints")).unwrap();
    fs::write(folder.path().join("run/seed-2/checkpoints"), "in the way").unwrap();
    let again = [&two[..], &["--resume"]].concat();
    let line = one_line(&train(folder.path(), "run", &again).output().unwrap(), 1);
    assert!(line.starts_with("error: seed 2: cannot "), "{line}");
    assert!(folder.path().join("run/seed-1/checkpoints/best").exists());
}

/// The report has the mean and the sample's standard deviation of the runs' figures, and a band around each curve.
#[test]
fn a_report_of_several_seeds_has_mean_deviation_and_bands() {
    let folder = workplace();
    finished(folder.path(), "run", &SEEDS);
    let top1 = ["5", "1", "9"].map(|seed| {
        let (_, metrics) = end(&folder.path().join(format!("run/seed-{seed}")));
        let last = metrics.last().unwrap();
        assert_eq!(last["event"], "test");
        last["top1"].as_f64().unwrap()
    });
    let mean = top1.iter().sum::<f64>() / 3.0;
    let deviation = (top1.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    let expected = format!("{:.2} ± {:.2} %", mean * 100.0, deviation * 100.0);

    let output = shufflenet(folder.path(), &["report", "run"]);
    assert_success(&output);
    let page = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    for part in [
        "<h1>run, 3 seeds</h1>",
        &format!("<td>mean ± deviation</td><td>{expected}</td>"),
        &format!("<b>{expected}</b><span>top-1</span>"),
        "<td>train.seed</td><td>5</td><td>1</td><td>9</td>",
        "bands reach from the lowest to the highest",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    for top1 in top1 {
        assert!(page.contains(&format!("<td>{:.2} %</td>", top1 * 100.0)));
    }
    assert_eq!(page.matches("<polygon class=\"band").count(), 6);

    // An unfinished run is left out.
    fs::remove_dir_all(folder.path().join("run/seed-1/checkpoints")).unwrap();
    assert_success(&shufflenet(folder.path(), &["report", "run"]));
    let page = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(page.contains("<h1>run, 2 seeds</h1>") && page.contains("Seed 1 is left out"));
    let both = ["report", "run", "run/seed-5", "--out", "x.html"];
    let line = one_line(&shufflenet(folder.path(), &both), 2);
    assert!(
        line.contains("run, which holds a run for each of several seeds"),
        "{line}"
    );
}

#[test]
fn replacing_seeds_deletes_their_report() {
    let folder = workplace();
    let seeds = ["--set", "train.max_steps=2", "--seeds", "1,2"];
    finished(folder.path(), "all", &seeds);
    assert_success(&shufflenet(folder.path(), &["report", "all"]));
    let all = folder.path().join("all");
    fs::write(all.join("notes.txt"), "mine").unwrap();
    let other = ["--set", "train.max_steps=2", "--seeds", "3", "--force"];
    finished(folder.path(), "all", &other);
    assert!(!all.join("report.html").exists() && !all.join("seed-1").exists());
    assert!(all.join("notes.txt").is_file());
}

#[test]
fn resuming_seeds_in_a_folder_without_runs_reports_a_new_start() {
    let folder = workplace();
    let extra = ["--seeds", "3", "--resume", "--set", "train.epochs=1"];
    let text = finished(folder.path(), "misspelt", &extra);
    let line = "resume     nothing is saved in misspelt: starting a new run\n";
    assert!(text.starts_with(line), "{text}");
}

#[test]
fn a_dry_run_of_several_seeds_takes_the_first() {
    let folder = workplace();
    let text = finished(folder.path(), "run", &["--seeds", "3,1", "--dry-run"]);
    assert!(text.starts_with("seed       3, 1 of 2\n"), "{text}");
    assert!(!folder.path().join("run").exists());
}
