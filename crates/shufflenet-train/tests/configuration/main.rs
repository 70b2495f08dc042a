//! Tests that `docs/configuration.md` describes every key as the code does. Type, meaning and default come from the
//! structs' declarations, their doc comments and their `Default`s. `UPDATE_DOCS=1 cargo test --workspace --test
//! configuration` writes the page again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests may panic like the tests"
)]

mod choices;
mod numbers;
mod sections;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use choices::{Choices, choices};
use sections::{OTHERS, SECTIONS};
use shufflenet_train::experiment::settings;
use syn::{Attribute, Expr, Field, Fields, Item, ItemStruct, Lit, Meta, Type};
use toml::{Table, Value};

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All defaults, including those of the optional sections.
fn defaults() -> Table {
    let overrides = [
        "data.format=cifar10",
        "data.root=DIR",
        "distill.from=DIR",
        "data.augmentation={color_jitter={}, trivial_augment={}, rand_augment={}, random_erasing={}, mixing={}}",
    ];
    let overrides = overrides.map(String::from);
    let experiment = settings::load_or_assemble(None, &overrides).unwrap();
    settings::to_toml(&experiment).unwrap().parse().unwrap()
}

/// A doc comment as one line, without links into the code.
fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value().trim().to_string()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        });
    let text = lines.collect::<Vec<_>>().join(" ");
    let text = text.replace("[`", "`").replace("`]", "`");
    // A parenthesis that is only a link into the code.
    let mut text = text.replace('|', "\\|");
    while let Some(start) = text.find(" (`crate::") {
        let end = start + text[start..].find(')').unwrap() + 1;
        text.replace_range(start..end, "");
    }
    text
}

/// A type in words, and whether it may be left unset.
fn in_words(ty: &Type, choices: &Choices) -> (String, bool) {
    use syn::{GenericArgument, PathArguments};
    let Type::Path(path) = ty else {
        return ("list".into(), false);
    };
    let last = path.path.segments.last().unwrap();
    let inner = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
            Some(GenericArgument::Type(inner)) => Some(inner),
            _ => None,
        },
        _ => None,
    };
    let name = last.ident.to_string();
    match (name.as_str(), inner) {
        ("Option", Some(inner)) => (in_words(inner, choices).0, true),
        ("Vec", Some(_)) | ("Widths", _) => ("list".into(), false),
        ("Teachers", _) => ("path or list of paths".into(), false),
        ("ClassWeights", _) => ("list or `\"balanced\"`".into(), false),
        ("usize" | "u64" | "u32" | "u16", _) => ("whole number".into(), false),
        ("f64" | "Scale", _) => ("number".into(), false),
        ("bool", _) => ("true or false".into(), false),
        ("PathBuf", _) => ("path".into(), false),
        ("String" | "Format", _) => ("text".into(), false),
        (other, _) => {
            let values = choices.get(other);
            let values = values.unwrap_or_else(|| panic!("{other} has no description here"));
            let quoted: Vec<String> = values.iter().map(|v| format!("`\"{v}\"`")).collect();
            (quoted.join(", "), false)
        }
    }
}

fn lookup<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.');
    let first = table.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.as_table()?.get(key))
}

/// The struct of a section.
fn declaration(file: &str, of: &str) -> ItemStruct {
    let source = std::fs::read_to_string(crates().join(file)).unwrap();
    let items = syn::parse_file(&source).unwrap().items;
    let declared = items.into_iter().find_map(|item| match item {
        Item::Struct(item) if item.ident == of => Some(item),
        _ => None,
    });
    declared.unwrap_or_else(|| panic!("{file} declares no {of}"))
}

/// The keys of a section, each with its whole path, without the sections below it.
fn keys(section: &str, fields: Fields) -> Vec<(String, Field)> {
    let path = |field: &Field| match (section, field.ident.as_ref().unwrap()) {
        ("", key) => key.to_string(),
        (section, key) => format!("{section}.{key}"),
    };
    let is_skipped = |field: &Field| {
        field.attrs.iter().any(|attribute| {
            let list = attribute.meta.require_list();
            list.is_ok_and(|list| list.tokens.to_string().starts_with("skip ,"))
        })
    };
    let is_section = |path: &str| {
        SECTIONS
            .iter()
            .chain(&OTHERS)
            .any(|(section, ..)| *section == path)
    };
    let Fields::Named(fields) = fields else {
        return Vec::new();
    };
    let fields = fields.named.into_iter().filter(|field| !is_skipped(field));
    let keyed = fields.map(|field| (path(&field), field));
    keyed.filter(|(path, _)| !is_section(path)).collect()
}

/// The text of one section.
fn section(
    page: &mut String,
    (name, file, of): (&str, &str, &str),
    defaults: &Table,
    choices: &Choices,
) {
    let declared = declaration(file, of);
    let title = match name {
        "" => "The top of the file: `name`".into(),
        name => format!("`{name}`"),
    };
    writeln!(page, "\n## {title}\n\n{}\n", documentation(&declared.attrs)).unwrap();
    let mut rows = String::new();
    for (path, field) in keys(name, declared.fields) {
        let key = field.ident.as_ref().unwrap().to_string();
        let (ty, optional) = in_words(&field.ty, choices);
        let default = match lookup(defaults, &path) {
            Some(_) if ["data.format", "data.root", "distill.from"].contains(&path.as_str()) => {
                "required".into()
            }
            _ if path == "name" => "the file's name".into(),
            Some(value) if !optional => format!("`{value}`"),
            None if optional => "unset".into(),
            _ => match (name, key.as_str()) {
                ("optimizer.parts", "names") | ("data.normalization", _) => "required".into(),
                ("optimizer.parts", _) => "`1.0`".into(),
                ("fine_tune", _) | ("train", "progressive") => "`[]`".into(),
                ("train.progressive", _) => "required".into(),
                _ => panic!("{path} has no default"),
            },
        };
        let meaning = documentation(&field.attrs);
        writeln!(rows, "| `{key}` | {ty} | {default} | {meaning} |").unwrap();
    }
    if !rows.is_empty() {
        write!(
            page,
            "| key | type | default | meaning |\n|---|---|---|---|\n{rows}"
        )
        .unwrap();
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Configuration\n\nThis page lists every key of an experiment's TOML file by section. `epochs` in the section `[train]` \
         is also `--set train.epochs=3` on the command line. A file holds only what differs from the defaults; `shufflenet train \
         --config FILE --print-config` prints all values. A section below `data.augmentation` switches its augmentation on, even \
         if it is empty (`trivial_augment = {}`). The section `distill` does the same. Fractions are numbers from 0 to 1. Sizes are \
         in pixels.\n\nThe page is generated from the code (`UPDATE_DOCS=1 cargo test --workspace --test configuration`). A \
         test fails if the two differ.\n",
    );
    let (defaults, choices) = (defaults(), choices());
    for of in SECTIONS {
        section(&mut page, of, &defaults, &choices);
        if of.0 == "train" {
            section(&mut page, OTHERS[2], &defaults, &choices);
        }
        if of.0 == "optimizer.muon" {
            section(&mut page, OTHERS[0], &defaults, &choices);
        }
        if of.0 == "schedule.exponential" {
            section(&mut page, OTHERS[1], &defaults, &choices);
        }
    }
    page
}

#[test]
fn the_page_agrees_with_the_structs() {
    let file = crates().join("../docs/configuration.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let difference = page
        .lines()
        .zip(found.lines())
        .find(|(new, old)| new != old);
    assert!(
        found == page,
        "docs/configuration.md differs from the code, first at {difference:?}: UPDATE_DOCS=1 writes it again"
    );
}

#[test]
fn every_section_of_an_experiment_is_on_the_page() {
    fn walk(prefix: &str, table: &Table) {
        for (key, value) in table {
            let path = format!("{prefix}{key}");
            if let Value::Table(inner) = value {
                let known = SECTIONS
                    .iter()
                    .chain(&OTHERS)
                    .any(|(section, ..)| *section == path);
                assert!(known, "{path} is missing from SECTIONS");
                walk(&format!("{path}."), inner);
            }
        }
    }
    walk("", &defaults());
}

/// Every value that the page lists for a key is accepted. The error for another value lists them all.
#[test]
fn listed_values_are_accepted_and_named_when_another_is_refused() {
    let choices = choices();
    let assemble = |key: &str, value: &str| {
        let assignments = [
            "data.format=cifar10",
            "data.root=DIR",
            "distill.from=DIR",
            &format!("{key}={value}"),
        ];
        settings::load_or_assemble(None, &assignments.map(String::from))
    };
    let mut tried = 0;
    for (section, file, of) in SECTIONS {
        for (key, field) in keys(section, declaration(file, of).fields) {
            let (words, _) = in_words(&field.ty, &choices);
            if !words.starts_with("`\"") {
                continue;
            }
            let values = words
                .split(", ")
                .map(|value| value.trim_matches(['`', '"']));
            let values: Vec<&str> = values.collect();
            for value in &values {
                // A value may need other settings, which gives another error.
                let error = assemble(&key, value).err().map(|error| error.to_string());
                let refused = format!(": {key} is \"{value}\"; accepted: ");
                assert!(
                    !error.is_some_and(|line| line.contains(&refused)),
                    "{key} = {value}"
                );
                tried += 1;
            }
            let line = assemble(&key, "\"other\"").unwrap_err().to_string();
            for value in values {
                assert!(line.contains(&format!("\"{value}\"")), "{key}: {line}");
            }
        }
    }
    assert!(tried > 20, "{tried}");
}
