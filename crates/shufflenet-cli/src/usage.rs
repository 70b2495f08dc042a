//! Refuses wrong command lines: one line on what is wrong, then the usage, if clap gives one.
//!
//! clap's messages have several lines and use other terms. Here every refusal has the form of the program's other
//! errors: the flag, what was found, what is accepted.

use std::error::Error as _;
use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::Error;
use clap::error::{ContextKind, ErrorKind};

/// Exit code of a wrong command.
const WRONG_USAGE: u8 = 2;

/// Answers a command line that does not parse, or that asks for help or the version.
pub fn answer(error: &Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => {}
    }
    let usage = text(error, ContextKind::Usage).map(|usage| one_line(&usage));
    let lines = [Some(format!("error: {}", refusal(error))), usage];
    for line in lines.into_iter().flatten() {
        let _ = writeln!(stderr(), "{line}");
    }
    ExitCode::from(WRONG_USAGE)
}

/// The message, in one line.
fn refusal(error: &Error) -> String {
    let of = |kind| text(error, kind);
    let argument = of(ContextKind::InvalidArg).unwrap_or_default();
    let flag = name(&argument);
    let value = of(ContextKind::InvalidValue).unwrap_or_default();
    let accepted = match of(ContextKind::ValidValue) {
        Some(words) => format!("; accepted: {words}"),
        None => String::new(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument => match is_flag(&argument) {
            true => format!("unknown flag {argument}{}", suggestion(error)),
            false => format!("unexpected argument `{argument}`{}", suggestion(error)),
        },
        ErrorKind::InvalidSubcommand => {
            let command = of(ContextKind::InvalidSubcommand).unwrap_or_default();
            let advice = match suggestion(error) {
                none if none.is_empty() => "; --help lists the commands".into(),
                suggestion => suggestion,
            };
            format!("unknown command `{command}`{advice}")
        }
        ErrorKind::MissingRequiredArgument => format!("missing: {}", one_line(&argument)),
        ErrorKind::InvalidValue if value.is_empty() => format!("{flag} needs a value{accepted}"),
        ErrorKind::InvalidValue => {
            format!("{flag} is `{value}`{accepted}{}", suggestion(error))
        }
        ErrorKind::ValueValidation => match error.source() {
            Some(source) => format!("{flag} is `{value}`; {source}"),
            None => format!("{flag} is `{value}`, which is not accepted"),
        },
        ErrorKind::TooManyValues => format!("{flag} takes no value `{value}`"),
        ErrorKind::ArgumentConflict => match of(ContextKind::PriorArg) {
            Some(other) if other == argument => format!("{flag} is given twice"),
            Some(others) => {
                let others: Vec<&str> = others.split(", ").map(name).collect();
                format!("{flag} cannot be used with {}", others.join(", "))
            }
            None => format!("{flag} cannot be used with the other arguments"),
        },
        _ => {
            let words = error.to_string();
            let first = words.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").into()
        }
    }
}

/// clap's suggestion, if it has one.
fn suggestion(error: &Error) -> String {
    let near = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    let near = near.into_iter().find_map(|kind| text(error, kind));
    match (near, text(error, ContextKind::Suggested)) {
        (Some(near), _) => format!("; did you mean {}?", near.replace(", ", " or ")),
        (None, Some(advice)) => format!("; {}", one_line(&advice)),
        (None, None) => String::new(),
    }
}

/// A fact about the error from clap, if it has one.
fn text(error: &Error, kind: ContextKind) -> Option<String> {
    let text = error.get(kind)?.to_string();
    (!text.is_empty()).then_some(text)
}

/// `--config` from clap's `--config <FILE>`. For an argument without a flag, the name of its value.
fn name(argument: &str) -> &str {
    let flag = argument.split(' ').next().unwrap_or(argument);
    if is_flag(flag) { flag } else { argument }
}

/// Whether an argument is a flag and not a negative number.
fn is_flag(argument: &str) -> bool {
    let rest = argument.strip_prefix('-');
    rest.is_some_and(|rest| !rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    fn refused(line: &str) -> String {
        let words = std::iter::once("shufflenet").chain(line.split_whitespace());
        match Arguments::try_parse_from(words) {
            Ok(_) => String::new(),
            Err(error) => refusal(&error),
        }
    }

    #[test]
    fn every_kind_of_wrong_command_is_refused_in_one_line() {
        for (line, answer) in [
            ("trian", "unknown command `trian`; did you mean train?"),
            ("zzz", "unknown command `zzz`; --help lists the commands"),
            (
                "train --confg x",
                "unknown flag --confg; did you mean --config?",
            ),
            ("eval --checkpoint a b", "unexpected argument `b`"),
            (
                "train",
                "missing: <--config <FILE>|--data <PATH>|--resume [<DIR>]>",
            ),
            ("predict", "missing: --checkpoint <PATH>, <IMAGE>..."),
            ("train --config", "--config needs a value"),
            (
                "export --checkpoint a --out b --format",
                "--format needs a value; accepted: safetensors, onnx, model, web",
            ),
            (
                "export --checkpoint a --out b --format onx",
                "--format is `onx`; accepted: safetensors, onnx, model, web; did you mean onnx?",
            ),
            ("bench foo", "<WORK> is `foo`; accepted: train, infer, data"),
            (
                "train --config a --threads x",
                "--threads is `x`; accepted: a whole number from 1 to 1024",
            ),
            (
                "train --config a --threads 0",
                "--threads is `0`; accepted: a whole number from 1 to 1024",
            ),
            (
                "lr-find --config a --from x",
                "--from is `x`; accepted: a number",
            ),
            (
                "lr-find --config a --steps 1.5",
                "--steps is `1.5`; accepted: a whole number",
            ),
            (
                "import --weights a --out b --std 1 --mean x",
                "--mean is `x`; accepted: numbers, as in 0.5 or 0.485,0.456,0.406",
            ),
            (
                "summary --input 3x3",
                "--input is `3x3`; accepted: channels, height and width, as in 3x32x32",
            ),
            (
                "eval --checkpoint a --precision f16",
                "--precision is `f16`; accepted: f32, bf16",
            ),
            (
                "train --config a --data b",
                "--config cannot be used with --data",
            ),
            ("train --config a --config b", "--config is given twice"),
            ("eval --checkpoint a --json=3", "--json takes no value `3`"),
        ] {
            assert_eq!(refused(line), answer, "{line}");
        }
    }
}
