//! Tests of what a command must not destroy or mix up: a run that `--force` would replace, a folder of images, and the
//! division into training images and held-out images after the folder has moved.

use std::fs;
use std::path::Path;

use crate::unconfigured::{TINY, weights};
use crate::{json, paint, printed, refusal};

fn photographs(at: &Path) {
    paint(&at.join("photos"), &[("blue", 2), ("red", 0)], 20);
}

#[test]
fn force_deletes_nothing_before_the_new_run_can_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    photographs(at);
    printed(at, &format!("train --data photos {TINY}"));
    let before = weights(&at.join("runs/photos"));
    let train = format!("train --data photos {TINY} --force");
    for (more, answer) in [
        (
            "--from runs/photos",
            "fine_tune.from is runs/photos, inside the run folder runs/photos; accepted: a place outside",
        ),
        ("--set fine_tune.freeze=[\"nope\"]", "nope"),
        (
            "--set fine_tune.from=photos",
            "is neither a checkpoint nor a run folder",
        ),
    ] {
        let line = refusal(at, &format!("{train} {more}"));
        assert!(line.contains(answer), "{line}");
        assert_eq!(weights(&at.join("runs/photos")), before, "{more}");
    }
    printed(at, &format!("{train} --set train.seed=1"));
    assert_ne!(weights(&at.join("runs/photos")), before);
}

#[test]
fn a_run_folder_inside_its_own_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    photographs(at);
    let photos = at.join("photos");
    let line = refusal(&photos, &format!("train --data . {TINY}"));
    let answer = "the run folder is runs/photos, inside the data .; accepted: a place outside of it; --out DIR";
    assert!(line.contains(answer), "{line}");
    assert!(!photos.join("runs").exists());
    printed(&photos, &format!("train --data . {TINY} --out ../run"));
}

#[test]
fn held_out_images_stay_held_out_after_the_folder_has_moved() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    photographs(at);
    printed(at, &format!("train --data photos {TINY}"));
    let own = json(at, "eval --checkpoint runs/photos --json");
    assert_eq!(
        (&own["split"], &own["count"]),
        (&"validation".into(), &8.into())
    );
    let absolute = at.join("photos").display().to_string();
    for data in ["photos/", "./photos", &absolute] {
        let met = json(
            at,
            &format!("eval --checkpoint runs/photos --data {data} --json"),
        );
        assert_eq!(
            (&met["top1"], &met["count"]),
            (&own["top1"], &8.into()),
            "{data}"
        );
    }
    fs::rename(at.join("photos"), at.join("moved")).unwrap();
    let met = json(at, "eval --checkpoint runs/photos --data moved --json");
    assert_eq!((&met["top1"], &met["count"]), (&own["top1"], &8.into()));
    let line = refusal(at, "eval --checkpoint runs/photos");
    assert!(
        line.contains(
            "--data is not given, and photos, where the run had its data, does not exist"
        ),
        "{line}"
    );
    let line = refusal(at, "train --resume runs/photos");
    assert!(
        line.contains("data.root is photos, where the run in runs/photos had its data; that place does not exist")
            && line.contains("--set data.root=PLACE"),
        "{line}"
    );
    paint(&at.join("moved"), &[("blue", 2)], 21);
    let met = json(at, "eval --checkpoint runs/photos --data moved --json");
    assert_eq!((&met["split"], &met["count"]), (&"all".into(), &41.into()));
    // Most of that set was trained on, which its figures do not tell.
    let known = "32 of 41 images have path and size of images that the run trained on: if they are the same, the figures \
                 are optimistic";
    assert_eq!(met["notes"], serde_json::json!([known]));
    printed(
        at,
        "export --checkpoint runs/photos --data moved --format model --licence MIT --out net",
    );
    let card = fs::read_to_string(at.join("net/README.md")).unwrap();
    assert!(
        card.contains(&format!("on 41 records of `moved`; {known} |")),
        "{card}"
    );
    for class in ["blue", "red"] {
        fs::create_dir_all(at.join("new").join(class)).unwrap();
        let image = at.join("moved").join(class).join("1.ppm");
        fs::copy(image, at.join("new").join(class).join("new.ppm")).unwrap();
    }
    let met = json(at, "eval --checkpoint runs/photos --data new --json");
    assert_eq!(
        (&met["count"], &met["notes"]),
        (&2.into(), &serde_json::json!([]))
    );
}

#[test]
fn few_images_are_trained_on_and_classes_without_images_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    paint(&at.join("few"), &[("a", 0), ("b", 1), ("c", 2)], 2);
    let text = printed(at, &format!("train --data few {TINY}"));
    assert!(
        text.contains("3 of them, of every class, held out"),
        "{text}"
    );
    assert!(text.contains("in batches of 3"), "{text}");
    let text = printed(
        at,
        "train --data few --print-config --set optimizer.kind=adamw",
    );
    assert!(text.contains("learning_rate = 0.002"), "{text}");

    paint(&at.join("phone"), &[("a", 0)], 4);
    fs::create_dir_all(at.join("phone/b")).unwrap();
    fs::write(at.join("phone/b/1.heic"), "").unwrap();
    paint(&at.join("damaged"), &[("a", 0)], 4);
    fs::create_dir_all(at.join("damaged/b")).unwrap();
    for name in ["1.jpg", "2.jpg", "3.jpg"] {
        fs::write(at.join("damaged/b").join(name), "text").unwrap();
    }
    photographs(at);
    for (line, answer) in [
        (
            "train --data phone",
            "the number of images of class b is 0 (passed over: 1 .heic",
        ),
        (
            "train --data damaged",
            "the number of readable images of class b is 0; accepted: 2 or more",
        ),
        (
            "train --data photos --set data.root=few",
            "data.root is few; accepted: unset, because --data says where",
        ),
    ] {
        let said = refusal(at, line);
        assert!(said.contains(answer), "{line}: {said}");
    }
    let (code, _, errors) = crate::run(at, "train --config a.toml --from runs/few");
    assert_eq!(code, 2);
    assert!(errors.contains("cannot be used with"), "{errors}");
    let (code, _, errors) = crate::run(at, "data verify");
    assert_eq!(code, 2);
    assert!(errors.contains("--config <FILE>|--data <PATH>"), "{errors}");
}

/// New files move images between the parts that are random: figures of such a part are not told as held out.
#[test]
fn a_part_that_is_drawn_anew_is_said_to_be_and_has_no_figure_on_a_card() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    photographs(at);
    let train = format!("train --data photos {TINY}");
    printed(at, &train);
    let fraction = "--set data.options.test_fraction=0.2 --out runs/tested";
    printed(at, &format!("{train} {fraction}"));
    let runs = [("photos", "validation"), ("tested", "test")];
    let changed = |part: &str| {
        format!(
            "the data has changed since the run: the {part} part is drawn anew and may have images that the run trained on"
        )
    };
    for (run, part) in runs {
        let report = json(at, &format!("eval --checkpoint runs/{run} --json"));
        assert_eq!(report["split"], part);
        assert_eq!(report["chosen_by_this_split"], part == "validation");
        assert_eq!(report["notes"], serde_json::json!([]), "{run}");
    }
    paint(&at.join("photos"), &[("blue", 2), ("red", 0)], 30);
    for (run, part) in runs {
        let eval = format!("eval --checkpoint runs/{run}");
        let report = json(at, &format!("{eval} --json"));
        assert_eq!(
            (&report["split"], &report["notes"][0]),
            (&part.into(), &changed(part).into())
        );
        assert_eq!(report["chosen_by_this_split"], false);
        let text = printed(at, &eval);
        assert!(
            text.contains("drawn anew") && !text.contains("best was chosen"),
            "{text}"
        );
        let export =
            format!("export --checkpoint runs/{run} --format model --licence MIT --out nets/{run}");
        let said = printed(at, &export);
        let reason = format!(
            "not evaluated: the data has changed since the run: the {part} part, drawn anew, may have"
        );
        assert!(said.contains(&reason), "{said}");
        let card = fs::read_to_string(at.join("nets").join(run).join("README.md")).unwrap();
        assert!(card.contains(&reason) && !card.contains("top-1"), "{card}");
    }
}

/// The records of an epoch are fewer where its ragged last batch is left out.
#[test]
fn a_card_counts_the_training_records() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    photographs(at);
    let train = format!("train --data photos {TINY} --set train.batch_size=12");
    let text = printed(at, &format!("{train} --set train.drop_last=true"));
    assert!(text.contains("32 training records"), "{text}");
    printed(
        at,
        "export --checkpoint runs/photos --format model --licence MIT --out net",
    );
    let card = fs::read_to_string(at.join("net/README.md")).unwrap();
    assert!(card.contains(", 32 records trained on; SHA-256"), "{card}");
}
