//! Lays flags over environment over file over defaults, and remembers where each value came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, ConfigError, path_is_empty};

/// The variables of this process, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own; variables that are not Unicode are left out.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads it"
    )]
    pub fn of_process() -> Self {
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(unicode).collect())
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The same with another value of one variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self(pairs.into_iter().map(own).collect())
    }
}

/// What was given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--cache-dir`.
    pub cache_dir: Option<PathBuf>,
    /// `--model`, as often as given.
    pub models: Vec<String>,
    /// `--log`.
    pub log: Option<String>,
}

/// The configuration that holds, and where each value of it came from.
#[derive(Clone, Debug)]
pub struct Effective {
    /// What holds.
    pub config: Config,
    /// Dotted key to source; keys that are not here have their defaults.
    pub sources: BTreeMap<String, String>,
}

const PREFIX: &str = "KWAAINET_";
const FILE_VARIABLE: &str = "KWAAINET_CONFIG";
/// Variables of ours that are not configuration: they steer tests and kernels, or are secret.
const OTHER_VARIABLES: [&str; 4] = [
    "KWAAINET_API_KEY",
    "KWAAINET_KERNEL",
    "KWAAINET_TEST_MODELS",
    crate::identity::PASSPHRASE_VARIABLE,
];

impl Effective {
    /// Puts the layers together.
    ///
    /// # Errors
    /// For the first key that is unknown, of the wrong kind, or out of range, with its layer.
    pub fn load(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let mut layers = Layers::with_defaults(environment)?;
        let file = flags
            .file
            .clone()
            .or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
        if let Some(path) = file {
            layers.lay(read_file(&path)?, &format!("file {}", path.display()));
        }
        layers.lay_environment(environment)?;
        layers.lay_flags(flags);
        layers.finish()
    }

    /// The configuration as TOML, each line that is no default with its source. Holds no secrets:
    /// keys of upstreams are named by variable or file, never by value.
    pub fn describe(&self) -> String {
        let text = toml::to_string(&self.config).expect("every value has a TOML form");
        let mut section = String::new();
        let mut described = String::new();
        for line in text.lines() {
            described.push_str(line);
            let header = line.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
            let key = match (header, line.split_once(" = ")) {
                (Some(name), _) => {
                    let name = name.trim_matches(['[', ']']);
                    section = format!("{name}.");
                    Some(name.to_owned())
                }
                (None, Some((key, _))) => Some(format!("{section}{key}")),
                (None, None) => None,
            };
            if let Some(source) = key.and_then(|key| self.sources.get(&key)) {
                described.push_str(&format!("  # {source}"));
            }
            described.push('\n');
        }
        described
    }
}

struct Layers {
    table: Table,
    sources: BTreeMap<String, String>,
}

impl Layers {
    fn with_defaults(environment: &Environment) -> Result<Self, ConfigError> {
        let config = Config {
            data_dir: home_dir(environment, "XDG_DATA_HOME", ".local/share", "--data-dir")?,
            cache_dir: home_dir(environment, "XDG_CACHE_HOME", ".cache", "--cache-dir")?,
            ..Config::default()
        };
        let table = Table::try_from(&config).expect("every value has a TOML form");
        Ok(Self {
            table,
            sources: BTreeMap::new(),
        })
    }

    fn lay(&mut self, layer: Table, source: &str) {
        for (key, value) in layer {
            match (value, self.table.get_mut(&key)) {
                (Value::Table(inner), Some(Value::Table(under))) => {
                    for (inner_key, value) in inner {
                        let dotted = format!("{key}.{inner_key}");
                        self.sources.insert(dotted, source.to_owned());
                        under.insert(inner_key, value);
                    }
                }
                (value, _) => {
                    self.sources.insert(key.clone(), source.to_owned());
                    self.table.insert(key, value);
                }
            }
        }
    }

    fn lay_environment(&mut self, environment: &Environment) -> Result<(), ConfigError> {
        let mut keys = BTreeMap::new();
        for (key, value) in &self.table {
            match value {
                Value::Table(section) => {
                    for (inner, value) in section {
                        keys.insert(variable(&[key, inner]), (vec![key, inner], value));
                    }
                }
                // A list of tables has no sensible form as one variable.
                _ if key == "upstream" => {}
                value => {
                    keys.insert(variable(&[key]), (vec![key], value));
                }
            }
        }
        let mut layer = Table::new();
        let mut names = Vec::new();
        for (name, text) in &environment.0 {
            let ours = name.starts_with(PREFIX)
                && name != FILE_VARIABLE
                && !OTHER_VARIABLES.contains(&name.as_str());
            if !ours || text.is_empty() {
                continue;
            }
            let (path, kind) = keys.get(name).ok_or_else(|| ConfigError::Variable {
                name: name.clone(),
                reason: "is not one that kwaainet knows".to_owned(),
            })?;
            let value = parse(text, kind).map_err(|reason| ConfigError::Variable {
                name: name.clone(),
                reason,
            })?;
            match path.as_slice() {
                [section, key] => {
                    let section = layer
                        .entry((*section).clone())
                        .or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(section) = section {
                        section.insert((*key).clone(), value);
                    }
                }
                path => {
                    layer.insert(path[0].clone(), value);
                }
            }
            names.push((
                path.iter()
                    .map(|key| key.as_str())
                    .collect::<Vec<_>>()
                    .join("."),
                name,
            ));
        }
        let sources: Vec<_> = names
            .into_iter()
            .map(|(key, name)| (key, format!("environment {name}")))
            .collect();
        self.lay(layer, "environment");
        self.sources.extend(sources);
        Ok(())
    }

    fn lay_flags(&mut self, flags: &Flags) {
        let path = |path: &PathBuf| Value::String(path.to_string_lossy().into_owned());
        let text = |text: &String| Value::String(text.clone());
        let mut lay = |key: &str, value: Option<Value>, flag: &str| {
            if let Some(value) = value {
                self.lay(Table::from_iter([(key.to_owned(), value)]), flag);
            }
        };
        lay("listen", flags.listen.as_ref().map(text), "flag --listen");
        lay(
            "data_dir",
            flags.data_dir.as_ref().map(path),
            "flag --data-dir",
        );
        lay(
            "cache_dir",
            flags.cache_dir.as_ref().map(path),
            "flag --cache-dir",
        );
        let models = (!flags.models.is_empty())
            .then(|| Value::Array(flags.models.iter().map(text).collect()));
        lay("models", models, "flag --model");
        let log = flags
            .log
            .as_ref()
            .map(|filter| Value::Table(Table::from_iter([("filter".to_owned(), text(filter))])));
        lay("log", log, "flag --log");
    }

    fn finish(self) -> Result<Effective, ConfigError> {
        let config: Config =
            serde_path_to_error::deserialize(Value::Table(self.table)).map_err(|error| {
                let key = error.path().to_string();
                let source = self.sources.get(&key);
                let from = source
                    .map(|source| format!(" ({source})"))
                    .unwrap_or_default();
                let reason = error.inner().message();
                ConfigError::Value(format!("{key}{from}: {reason}"))
            })?;
        config.check()?;
        Ok(Effective {
            config,
            sources: self.sources,
        })
    }
}

fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let invalid = |error: toml::de::Error| ConfigError::File {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    };
    // Read as a whole configuration first: its errors name the line.
    toml::from_str::<Config>(&text).map_err(invalid)?;
    text.parse().map_err(invalid)
}

fn variable(path: &[&String]) -> String {
    let words: Vec<_> = path.iter().map(|key| key.to_uppercase()).collect();
    format!("{PREFIX}{}", words.join("_"))
}

/// Reads a variable's text as the kind of value that its key has.
fn parse(text: &str, kind: &Value) -> Result<Value, String> {
    match kind {
        Value::Integer(_) => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| "must be a whole number".to_owned()),
        Value::Float(_) => text
            .parse()
            .map(Value::Float)
            .map_err(|_| "must be a number".to_owned()),
        Value::Boolean(_) => text
            .parse()
            .map(Value::Boolean)
            .map_err(|_| "must be true or false".to_owned()),
        Value::Array(_) => Ok(Value::Array(
            text.split(',')
                .map(|item| Value::String(item.trim().to_owned()))
                .collect(),
        )),
        Value::Table(_) => text
            .split(',')
            .map(pair)
            .collect::<Result<_, _>>()
            .map(Value::Table),
        _ => Ok(Value::String(text.to_owned())),
    }
}

fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| "must be a list of name=value".to_owned())?;
    Ok((
        key.trim().to_owned(),
        Value::String(value.trim().to_owned()),
    ))
}

fn home_dir(
    environment: &Environment,
    xdg: &str,
    below_home: &str,
    flag: &str,
) -> Result<PathBuf, ConfigError> {
    let base = environment
        .get(xdg)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            environment
                .get("HOME")
                .map(|home| Path::new(home).join(below_home))
        });
    let base = base.unwrap_or_default();
    if path_is_empty(&base) {
        let reason = format!("neither {xdg} nor HOME is set; say where with {flag}");
        return Err(ConfigError::Value(reason));
    }
    Ok(base.join("kwaainet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: (&str, &str) = ("HOME", "/home/ann");

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("it can be written");
        file
    }

    #[test]
    fn flags_beat_environment_beats_file_beats_defaults() {
        let file = file("listen = '127.0.0.1:1'\n[limits]\nslots = 2\nwaiting = 2\n");
        let mut flags = Flags {
            file: Some(file.path().to_owned()),
            ..Flags::default()
        };
        let load =
            |flags: &Flags, environment| Effective::load(flags, &environment).expect("it is valid");
        let loaded = load(&flags, Environment::from([HOME]));
        assert_eq!(loaded.config.listen.port(), 1, "the file beats the default");
        assert_eq!(loaded.config.limits.per_key, Limits::default().per_key);
        assert_eq!(
            loaded.config.data_dir,
            Path::new("/home/ann/.local/share/kwaainet")
        );

        let environment = Environment::from([
            HOME,
            ("KWAAINET_LISTEN", "127.0.0.1:3"),
            ("KWAAINET_LIMITS_SLOTS", "3"),
            ("KWAAINET_MODELS", "a, b"),
        ]);
        let loaded = load(&flags, environment.clone());
        assert_eq!(
            loaded.config.listen.port(),
            3,
            "the environment beats the file"
        );
        assert_eq!(loaded.config.limits.slots, 3);
        assert_eq!(
            loaded.config.limits.waiting, 2,
            "the file's other keys stay"
        );
        assert_eq!(loaded.config.models, ["a", "b"]);

        flags.listen = Some("127.0.0.1:4".into());
        flags.models = vec!["c".into()];
        let loaded = load(&flags, environment);
        assert_eq!(loaded.config.listen.port(), 4, "the flag beats all");
        assert_eq!(loaded.config.models, ["c"]);
        let described = loaded.describe();
        assert!(
            described.contains("listen = \"127.0.0.1:4\"  # flag --listen"),
            "{described}"
        );
        assert!(described.contains("slots = 3  # environment KWAAINET_LIMITS_SLOTS"));
        assert!(described.contains("per_key = 200\n"), "{described}");
    }

    #[test]
    fn draft_models_are_a_table_in_a_file_and_pairs_in_a_variable() {
        let file = file("[engine.drafts]\nbig = 'small'\n'/models/b.gguf' = 'c'\n");
        let flags = Flags {
            file: Some(file.path().to_owned()),
            ..Flags::default()
        };
        let loaded = Effective::load(&flags, &Environment::from([HOME])).expect("it is valid");
        let drafts = &loaded.config.engine.drafts;
        assert_eq!(drafts["big"], "small");
        assert_eq!(drafts["/models/b.gguf"], "c");
        let described = loaded.describe();
        assert!(described.contains("[engine.drafts]  # file"), "{described}");

        let set = |value| Environment::from([HOME, ("KWAAINET_ENGINE_DRAFTS", value)]);
        let loaded = Effective::load(&flags, &set("a=b, c = d")).expect("it is valid");
        let drafts = loaded.config.engine.drafts.into_iter();
        let drafts: Vec<_> = drafts.map(|(model, draft)| model + ":" + &draft).collect();
        assert_eq!(drafts, ["a:b", "c:d"], "the variable beats the file");
        let error = Effective::load(&flags, &set("a")).expect_err("it is no pair");
        assert!(error.to_string().contains("name=value"), "{error}");
    }

    use super::super::{Device, Limits};

    #[test]
    fn unknown_keys_are_errors_in_every_layer() {
        let environment = Environment::from([HOME, ("KWAAINET_LISTNE", "x")]);
        let error = Effective::load(&Flags::default(), &environment).expect_err("a typo");
        assert!(error.to_string().contains("KWAAINET_LISTNE"), "{error}");

        for text in [
            "listne = 'x'",
            "[limits]\nslot = 1",
            "[[upstream]]\nid='a'\nurl='b'",
        ] {
            let file = file(text);
            let flags = Flags {
                file: Some(file.path().to_owned()),
                ..Flags::default()
            };
            let error = Effective::load(&flags, &Environment::from([HOME]));
            let error = error.expect_err("a typo").to_string();
            assert!(error.contains("unknown field"), "{error}");
            assert!(error.contains("line"), "{error}");
        }
    }

    #[test]
    fn a_device_that_the_node_was_built_without_is_refused_with_its_feature() {
        let load = |device| {
            let environment = Environment::from([HOME, ("KWAAINET_ENGINE_DEVICE", device)]);
            Effective::load(&Flags::default(), &environment)
        };
        let config = load("cpu").expect("every node has it").config;
        assert_eq!(config.engine.device, Device::default());
        for device in [Device::Cuda, Device::Metal] {
            match load(device.name()) {
                Ok(_) => assert!(device.is_built_in()),
                Err(error) => assert!(error.to_string().contains("without the feature"), "{error}"),
            }
        }
        let error = load("tpu").expect_err("there is no such thing");
        assert!(error.to_string().contains("cuda"), "{error}");
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let file = file("[[upstream]]\nid = 'a'\nbase_url = 'http://ann:hunter2@host/v1'\n");
        let flags = Flags {
            file: Some(file.path().to_owned()),
            ..Flags::default()
        };
        let error = Effective::load(&flags, &Environment::from([HOME]));
        let error = error.expect_err("it holds a password").to_string();
        assert!(
            error.contains("api_key_env") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn wrong_values_are_errors() {
        for (name, value) in [
            ("KWAAINET_LIMITS_SLOTS", "many"),
            ("KWAAINET_LIMITS_SLOTS", "0"),
            ("KWAAINET_LIMITS_SLOTS", "-1"),
            ("KWAAINET_LISTEN", "here"),
            ("KWAAINET_LOG_FORMAT", "xml"),
            ("KWAAINET_ENGINE_SEQUENCES", "1000000"),
            ("KWAAINET_ENGINE_SPECULATION", "wild"),
            ("KWAAINET_ENGINE_KV", "q4"),
        ] {
            let environment = Environment::from([HOME, (name, value)]);
            let loaded = Effective::load(&Flags::default(), &environment);
            let error = loaded.expect_err(value).to_string();
            let key = name
                .trim_start_matches("KWAAINET_")
                .to_lowercase()
                .replacen('_', ".", 1);
            assert!(
                error.contains(name) || error.contains(&key),
                "{name}={value}: {error}"
            );
        }
        assert!(Effective::load(&Flags::default(), &Environment::default()).is_err());
    }
}
