//! Seals 32 secret bytes with a passphrase: argon2id (RFC 9106) makes a key of it, XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha) encrypts with that.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

/// What a human memorises. Never printed.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Wraps one as it was given.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Whether it is long enough to seal something new: argon2id makes guessing slow, not impossible.
    pub fn is_long_enough(&self) -> bool {
        self.0.chars().count() >= Self::CHARS_MIN
    }

    /// Characters of a new one at least.
    pub const CHARS_MIN: usize = 8;
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// What one try of a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Cost {
    /// RFC 9106, section 4, the second recommended option: 64 MiB, 3 passes, 4 lanes.
    pub(crate) const RECOMMENDED: Self = Self {
        memory_kib: 64 << 10,
        passes: 3,
        lanes: 4,
    };

    /// Whether a file may ask for so much: a foreign one must not take the machine's memory.
    fn is_bearable(self) -> bool {
        (8..=1 << 20).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
            && self.memory_kib >= 8 * self.lanes
    }
}

/// How something was sealed; all of it is public.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 24],
}

impl Seal {
    /// One that was never used.
    pub(crate) fn fresh(cost: Cost) -> Self {
        let (mut salt, mut nonce) = ([0; 16], [0; 24]);
        for bytes in [&mut salt[..], &mut nonce] {
            getrandom::fill(bytes).expect("the operating system gives random bytes");
        }
        Self { cost, salt, nonce }
    }

    /// As a line of a file; [`parse`](Self::parse) takes exactly this.
    pub(crate) fn text(&self) -> String {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let (salt, nonce) = (HEXLOWER.encode(&self.salt), HEXLOWER.encode(&self.nonce));
        format!(
            "argon2id m={memory_kib} t={passes} p={lanes} salt={salt} xchacha20-poly1305 nonce={nonce}"
        )
    }

    /// Reads the line. None where it is not one, or asks for more than a key file ever needs.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split(' ').collect();
        let ["argon2id", m, t, p, salt, "xchacha20-poly1305", nonce] = words[..] else {
            return None;
        };
        let cost = Cost {
            memory_kib: m.strip_prefix("m=")?.parse().ok()?,
            passes: t.strip_prefix("t=")?.parse().ok()?,
            lanes: p.strip_prefix("p=")?.parse().ok()?,
        };
        let hex = |word: &str, label| HEXLOWER.decode(word.strip_prefix(label)?.as_bytes()).ok();
        let seal = Self {
            cost,
            salt: hex(salt, "salt=")?.try_into().ok()?,
            nonce: hex(nonce, "nonce=")?.try_into().ok()?,
        };
        (cost.is_bearable() && seal.text() == text).then_some(seal)
    }

    /// Encrypts, and binds to what stands openly beside it. Takes some tenths of a second.
    pub(crate) fn seal(
        &self,
        passphrase: &Passphrase,
        secret: &[u8; 32],
        beside: &[u8],
    ) -> Vec<u8> {
        let payload = Payload {
            msg: secret,
            aad: beside,
        };
        self.cipher(passphrase)
            .encrypt(&self.nonce.into(), payload)
            .expect("so few bytes can be encrypted")
    }

    /// Decrypts; none where the passphrase is another, or anything was changed.
    pub(crate) fn open(
        &self,
        passphrase: &Passphrase,
        sealed: &[u8],
        beside: &[u8],
    ) -> Option<Zeroizing<[u8; 32]>> {
        let payload = Payload {
            msg: sealed,
            aad: beside,
        };
        let cipher = self.cipher(passphrase);
        let secret = Zeroizing::new(cipher.decrypt(&self.nonce.into(), payload).ok()?);
        Some(Zeroizing::new(secret.as_slice().try_into().ok()?))
    }

    fn cipher(&self, passphrase: &Passphrase) -> XChaCha20Poly1305 {
        let cost = self.cost;
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
            .expect("only bearable costs come here");
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.0.as_bytes(), &self.salt, &mut *key)
            .expect("salt and key have allowed lengths");
        XChaCha20Poly1305::new(&(*key).into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What tests can afford.
    pub(crate) const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    #[test]
    fn only_the_passphrase_opens_and_only_unchanged() {
        let (right, wrong) = (Passphrase::new("correct horse"), Passphrase::new("horse"));
        let seal = Seal::fresh(CHEAP);
        let mut sealed = seal.seal(&right, &[7; 32], b"beside");
        assert_eq!(sealed.len(), 48);
        let opened = seal.open(&right, &sealed, b"beside");
        assert_eq!(opened.as_deref(), Some(&[7; 32]));
        assert_eq!(seal.open(&wrong, &sealed, b"beside"), None);
        assert_eq!(seal.open(&right, &sealed, b"other"), None);
        sealed[47] ^= 1;
        assert_eq!(seal.open(&right, &sealed, b"beside"), None);
    }

    #[test]
    fn a_line_says_all_and_has_one_form() {
        let seal = Seal::fresh(Cost::RECOMMENDED);
        let text = seal.text();
        assert!(text.starts_with("argon2id m=65536 t=3 p=4 salt="), "{text}");
        assert_eq!(Seal::parse(&text), Some(seal));
        for (from, to) in [
            ("m=65536", "m=065536"),
            ("m=65536", "m=+65536"),
            // Two gibibytes.
            ("m=65536", "m=2097152"),
            ("m=65536", "m=31"),
            ("t=3", "t=0"),
            ("t=3", "t=1000000"),
            ("p=4", "p=17"),
            ("argon2id", "argon2i"),
            ("salt=", "salt=00"),
            (" nonce", "  nonce"),
        ] {
            let bad = text.replace(from, to);
            assert_eq!(Seal::parse(&bad), None, "{bad}");
        }
    }

    /// RFC 9106, section 5.3, has a secret and associated data that a key file has not; so this is the value of
    /// the reference implementation's test (github.com/P-H-C/phc-winner-argon2, src/test.c, CC0): version 0x13,
    /// t=2, m=256, p=1, "password", "somesalt".
    #[test]
    fn argon2id_is_the_one_of_the_reference_implementation() {
        let params = Params::new(256, 2, 1, Some(32)).expect("allowed");
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"password", b"somesalt", &mut key)
            .expect("it is computed");
        let expected = "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe";
        assert_eq!(HEXLOWER.encode(&key), expected);
    }
}
