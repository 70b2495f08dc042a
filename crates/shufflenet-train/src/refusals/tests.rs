//! Tests of the text of every kind of refusal.

use std::path::PathBuf;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    #[serde(default, rename = "part")]
    _part: Part,
    #[serde(default, rename = "empty")]
    _empty: Option<Empty>,
    #[serde(rename = "needed")]
    _needed: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Part {
    count: usize,
    small: u16,
    rate: f64,
    name: String,
    place: PathBuf,
    word: Word,
    one: One,
    pair: [f64; 2],
    list: Vec<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    #[default]
    Up,
    Down,
    Left,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum One {
    #[default]
    Only,
}

fn of_toml(text: &str) -> String {
    let table: Table = text.parse().unwrap();
    from_table::<Whole>(&table).unwrap_err().to_string()
}

fn of_json(text: &str) -> String {
    from_json::<Whole>(text.as_bytes()).unwrap_err()
}

#[test]
fn wrong_toml_is_refused_with_the_key_and_what_is_accepted() {
    for (text, line) in [
        (
            "part.count = 'abc'",
            "part.count is \"abc\"; accepted: a whole number",
        ),
        (
            "part.count = -1",
            "part.count is -1; accepted: a whole number",
        ),
        (
            "part.count = 1.5",
            "part.count is 1.5; accepted: a whole number",
        ),
        (
            "part.small = 70000",
            "part.small is 70000; accepted: a whole number",
        ),
        ("part.rate = true", "part.rate is true; accepted: a number"),
        ("part.name = 3", "part.name is 3; accepted: text"),
        (
            "part.count = 1979-05-27",
            "part.count is 1979-05-27; accepted: a whole number",
        ),
        (
            "part.place = [1, 2]",
            "part.place is [1, 2]; accepted: a path",
        ),
        (
            "part.word = 'back'",
            "part.word is \"back\"; accepted: \"up\", \"down\", \"left\"",
        ),
        (
            "part.word = 3",
            "part.word is 3; accepted: \"up\", \"down\", \"left\"",
        ),
        (
            "part.word = {a = 1}",
            "part.word is a section; accepted: \"up\", \"down\", \"left\"",
        ),
        (
            "part.one = 'other'",
            "part.one is \"other\"; accepted: \"only\"",
        ),
        (
            "part.pair = [1.0]",
            "part.pair is [1.0]; accepted: a list of 2 values",
        ),
        (
            "part.pair = [1.0, 2.0, 3.0]",
            "part.pair is [1.0, 2.0, 3.0]; accepted: a list of 2 values",
        ),
        ("part.list = {}", "part.list is a section; accepted: a list"),
        (
            "part.list = [1, 'two, expected `three`']",
            "part.list[1] is \"two, expected `three`\"; accepted: a whole number",
        ),
        ("part = 3", "part is 3; accepted: a section"),
        (
            "part.name = []\nneeded = true",
            "part.name is []; accepted: text",
        ),
        ("needed = 1", "needed is 1; accepted: true or false"),
        ("part = {}", "needed is missing"),
        (
            "part.cuont = 3",
            "unknown key `part.cuont`; did you mean `part.count`? (accepted here: count, small, rate, name, place, word, \
             one, pair, list)",
        ),
        (
            "zzz = 3",
            "unknown key `zzz` (accepted here: part, empty, needed)",
        ),
        (
            "empty.x = 3",
            "unknown key `empty.x` (this section has no keys)",
        ),
    ] {
        assert_eq!(of_toml(text), line, "{text}");
    }
}

#[test]
fn long_values_and_line_breaks_give_one_line() {
    let line = of_toml("part.count = \"\"\"a\nb\"\"\"");
    assert_eq!(line, "part.count is \"a\\nb\"; accepted: a whole number");
    let line = of_toml(&format!("part.count = '{}'", "x".repeat(100)));
    assert_eq!(line, "part.count is a long text; accepted: a whole number");
    let line = of_toml(&format!("part.count = [{}]", "1,".repeat(100)));
    assert_eq!(line, "part.count is a long list; accepted: a whole number");
}

#[test]
fn wrong_json_is_refused_with_the_same_text() {
    for (text, line) in [
        (
            r#"{"part": {"count": "abc"}}"#,
            "part.count is \"abc\"; accepted: a whole number",
        ),
        (
            r#"{"part": {"list": [1, -2]}}"#,
            "part.list[1] is -2; accepted: a whole number",
        ),
        (
            r#"{"part": {"word": "back"}}"#,
            "part.word is \"back\"; accepted: \"up\", \"down\", \"left\"",
        ),
        (
            r#"{"needed": {}}"#,
            "needed is a section; accepted: true or false",
        ),
        (r#"{"part": {}}"#, "needed is missing"),
        (
            r#"{"needed": true, "needed": true}"#,
            "needed is given twice",
        ),
        ("{\"needed\":\n tru", "its JSON ends early, in line 2"),
        ("{\"needed\" true}", "line 1, column 11 is not JSON"),
        ("{\"needed\": true} x", "line 1, column 18 is not JSON"),
        ("", "its JSON ends early, in line 1"),
    ] {
        assert_eq!(of_json(text), line, "{text}");
    }
    from_json::<Whole>(br#"{"needed": true}"#).unwrap();
}

#[test]
fn the_error_of_a_type_follows_its_key() {
    let own = |key: &str, words: &str| {
        let refusal = Refusal {
            path: Vec::new(),
            key: key.into(),
            fault: Fault::Own(words.into()),
        };
        refusal.to_string()
    };
    let words = "scale is 3; accepted: 1, 2";
    assert_eq!(own("model.scale", words), format!("model.{words}"));
    assert_eq!(own("scale", words), words);
    assert_eq!(own("", words), words);
    assert_eq!(own("model.other", words), format!("model.other: {words}"));
}
