//! What was given to somebody for one time: taken once, good for minutes, and bounded in number. Kept in memory only,
//! since a restart may well ask him to begin anew.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use kwaainet_core::random_id;

/// Things under names that nobody can guess, each for one taking.
pub struct Challenges<T> {
    open: Mutex<HashMap<String, (i64, T)>>,
    /// How many may be open at once.
    max: usize,
    /// How long each is good.
    pub lifetime: Duration,
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many challenges are open")]
pub struct TooMany;

impl<T> Challenges<T> {
    /// None yet.
    pub fn new(max: usize, lifetime: Duration) -> Self {
        Self {
            open: Mutex::default(),
            max,
            lifetime,
        }
    }

    /// Keeps something and names it: 24 letters and digits, 120 random bits. Times are milliseconds since 1970.
    ///
    /// # Errors
    /// When too many are open.
    pub fn open(&self, thing: T, now_ms: i64) -> Result<String, TooMany> {
        let mut open = self.open.lock().expect("no holder panics");
        if open.len() >= self.max {
            open.retain(|_, (ends, _)| now_ms < *ends);
        }
        if open.len() >= self.max {
            return Err(TooMany);
        }
        let nonce = random_id();
        let ends = now_ms + self.lifetime.as_millis() as i64;
        open.insert(nonce.clone(), (ends, thing));
        Ok(nonce)
    }

    /// How many of those that are open are like this.
    pub fn count(&self, is_one: impl Fn(&T) -> bool) -> usize {
        let open = self.open.lock().expect("no holder panics");
        open.values().filter(|(_, thing)| is_one(thing)).count()
    }

    /// Forgets all that are like this; how many there were.
    pub fn forget(&self, is_one: impl Fn(&T) -> bool) -> usize {
        let mut open = self.open.lock().expect("no holder panics");
        let before = open.len();
        open.retain(|_, (_, thing)| !is_one(thing));
        before - open.len()
    }

    /// Gives it away, for good: whoever fails with it has to begin anew. None where it is unknown, taken or over.
    pub fn take(&self, nonce: &str, now_ms: i64) -> Option<T> {
        let mut open = self.open.lock().expect("no holder panics");
        let (ends, thing) = open.remove(nonce)?;
        (now_ms < ends).then_some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_once_and_in_time() {
        let challenges = Challenges::new(2, Duration::from_millis(10));
        let first = challenges.open("first", 0).expect("there is room");
        let second = challenges.open("second", 5).expect("there is room");
        assert_eq!(challenges.open("third", 5), Err(TooMany));
        assert_eq!(challenges.count(|thing| *thing == "second"), 1);
        assert_eq!(challenges.take("unknown", 5), None);
        assert_eq!(challenges.take(&second, 6), Some("second"));
        assert_eq!(challenges.take(&second, 6), None, "once");
        assert_eq!(challenges.take(&first, 10), None, "over");
        for _ in 0..2 {
            challenges.open("more", 10).expect("there is room");
        }
        assert!(challenges.open("more", 19).is_err());
        assert!(challenges.open("more", 20).is_ok(), "the old ones are over");
    }
}
