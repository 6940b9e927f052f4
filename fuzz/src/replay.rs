//! Without a fuzzer: `replay samples DIR` writes good bytes for each target to begin with, `replay read TARGET
//! FILE|DIR...` reads files as that target does, and `replay change SECONDS [TARGET...]` changes good bytes at random
//! and reads those. What breaks is in the file `broken`, to be read again.

use std::error::Error;
use std::io::Write;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, io};

use kwaainet_federation::Seeded;
use kwaainet_federation::fuzz::mutate;

type Outcome = Result<(), Box<dyn Error>>;

/// Good bytes of each target.
const SAMPLES: u64 = 64;

fn main() -> Outcome {
    let words: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["samples", dir] => samples(Path::new(dir)),
        ["read", target, paths @ ..] if !paths.is_empty() => {
            for path in paths {
                read(target, Path::new(path))?;
            }
            Ok(())
        }
        ["change", seconds, targets @ ..] => {
            let each = Duration::from_secs(seconds.parse()?);
            let targets: Vec<_> = match targets {
                [] => kwaainet_fuzz::names().collect(),
                targets => targets.to_vec(),
            };
            targets.into_iter().try_for_each(|target| change(target, each))
        }
        _ => Err("samples DIR | read TARGET FILE|DIR... | change SECONDS [TARGET...]".into()),
    }
}

fn samples(dir: &Path) -> Outcome {
    for target in kwaainet_fuzz::names() {
        let dir = dir.join(target);
        fs::create_dir_all(&dir)?;
        for seed in 0..SAMPLES {
            fs::write(dir.join(format!("sample-{seed}")), kwaainet_fuzz::sample(target, seed))?;
        }
    }
    Ok(())
}

fn read(target: &str, path: &Path) -> Outcome {
    if path.is_dir() {
        let inside: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        return inside.iter().try_for_each(|path| read(target, path));
    }
    let bytes = fs::read(path)?;
    // A panic names its place; this says by which file it came.
    if catch_unwind(|| kwaainet_fuzz::read(target, &bytes)).is_err() {
        return Err(format!("{} breaks '{target}'", path.display()).into());
    }
    Ok(())
}

fn change(target: &str, each: Duration) -> Outcome {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64;
    let mut random = Seeded::new(seed);
    let (began, mut rounds) = (Instant::now(), 0_u64);
    while began.elapsed() < each {
        for _ in 0..100 {
            let mut bytes = kwaainet_fuzz::sample(target, random.draw());
            mutate(&mut || random.draw(), &mut bytes);
            if catch_unwind(|| kwaainet_fuzz::read(target, &bytes)).is_err() {
                fs::write("broken", &bytes)?;
                return Err(format!("the bytes in 'broken' break '{target}'").into());
            }
        }
        rounds += 100;
    }
    writeln!(io::stdout(), "{target}: {rounds} rounds, nothing broke")?;
    Ok(())
}
