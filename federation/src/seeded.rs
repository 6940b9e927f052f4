//! Numbers that look random and come again with the same seed (Steele et al., "Fast splittable pseudorandom
//! number generators", 2014). For jitter and for tests; never for secrets.

/// A source of them.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The one of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next, from 0 to less than `end`.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
}
