//! The functions that Hugging Face's environment adds to Jinja.

use std::fmt;
use std::io;

use kwaainet_core::{Clock, SystemClock, civil_date};
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// What a template said when it refused the messages.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

pub(super) fn raise_exception(words: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "refused").with_source(Refusal(words)))
}

/// Today's date, in UTC. A template that asks for it makes its prompt depend on the day, and means
/// to; nothing else of the engine reads the time.
pub(super) fn strftime_now(format: &str) -> String {
    strftime(format, SystemClock::default().unix_ms())
}

/// Python cannot iterate over nothing; minijinja can, and would then fail at its length.
pub(super) fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// JSON as Python writes it: a space after each comma and colon, nothing escaped for HTML.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let json = match indent {
        Some(width) => write_json(
            value,
            PrettyFormatter::with_indent(&vec![b' '; width.min(16)]),
        ),
        None => write_json(value, Spaced),
    };
    json.map(Value::from)
        .ok_or_else(|| Error::new(ErrorKind::BadSerialization, "not a JSON value"))
}

pub(super) fn spaced(value: &(impl Serialize + ?Sized)) -> Option<String> {
    write_json(value, Spaced)
}

fn write_json(value: &(impl Serialize + ?Sized), formatter: impl Formatter) -> Option<String> {
    let mut out = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut out, formatter))
        .ok()?;
    String::from_utf8(out).ok()
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        w.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        w: &mut W,
        first: bool,
    ) -> io::Result<()> {
        w.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// The fields of `strftime` that templates use; others stay as they are.
fn strftime(format: &str, unix_ms: i64) -> String {
    let seconds = unix_ms.div_euclid(1_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    let month_name = MONTHS[month - 1];
    // Day 0, the first of January 1970, was a Thursday.
    let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('Y') => out.push_str(&year.to_string()),
            Some('m') => out.push_str(&format!("{month:02}")),
            Some('d') => out.push_str(&format!("{day:02}")),
            Some('B') => out.push_str(month_name),
            Some('b') => out.push_str(&month_name[..3]),
            Some('A') => out.push_str(weekday),
            Some('a') => out.push_str(&weekday[..3]),
            Some('H') => out.push_str(&format!("{:02}", second / 3_600)),
            Some('M') => out.push_str(&format!("{:02}", second / 60 % 60)),
            Some('S') => out.push_str(&format!("{:02}", second % 60)),
            Some('%') => out.push('%'),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds: i64| strftime("%A %d %b %Y, %H:%M:%S %% %q", seconds * 1_000);
        assert_eq!(at(0), "Thursday 01 Jan 1970, 00:00:00 % %q");
        assert_eq!(at(951_782_399), "Monday 28 Feb 2000, 23:59:59 % %q");
        assert_eq!(at(951_782_400), "Tuesday 29 Feb 2000, 00:00:00 % %q");
        assert_eq!(at(4_107_542_400), "Monday 01 Mar 2100, 00:00:00 % %q");
        assert_eq!(at(-1), "Wednesday 31 Dec 1969, 23:59:59 % %q");
        assert_eq!(strftime("%B %a %m%", 0), "January Thu 01%");
    }

    #[test]
    fn json_is_pythons() {
        let value = Value::from(minijinja::value::Serde(
            serde_json::json!({"a": [1, "<é>"], "b": null}),
        ));
        let compact = tojson(&value, Kwargs::from_iter::<[(&str, Value); 0]>([]));
        let expected = r#"{"a": [1, "<é>"], "b": null}"#;
        assert_eq!(compact.expect("it is JSON").as_str(), Some(expected));
        let options = Kwargs::from_iter([("indent", Value::from(2))]);
        let indented = tojson(&value, options).expect("it is JSON");
        let expected = "{\n  \"a\": [\n    1,\n    \"<é>\"\n  ],\n  \"b\": null\n}";
        assert_eq!(indented.as_str(), Some(expected));
    }
}
