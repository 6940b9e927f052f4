//! Addresses of nodes as bytes, for tickets and for the database.

use kwaainet_identity::{EnvelopeError, Fields, Reader};

use crate::PeerAddress;

/// Direct addresses of one node at most.
const DIRECT_MAX: usize = 16;
/// Bytes of a relay's address at most.
const RELAY_MAX: usize = 512;

impl PeerAddress {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.direct.is_empty() && self.relay.is_none()
    }

    /// Adds it to a statement: how many direct addresses and each as text, then how many relays (none or one) and
    /// each as text. Of more than 16 direct ones the first are taken, and a relay whose name is longer than 512
    /// bytes is left out.
    pub fn write(&self, fields: Fields) -> Fields {
        let direct = self.direct.iter().take(DIRECT_MAX);
        let fields = fields.u64(direct.len() as u64);
        let fields = direct.fold(fields, |fields, at| fields.text(&at.to_string()));
        match self.relay.as_ref().filter(|url| url.len() <= RELAY_MAX) {
            None => fields.u64(0),
            Some(url) => fields.u64(1).text(url),
        }
    }

    /// Reads it out of a statement.
    ///
    /// # Errors
    /// When it is not one, or larger than one may be.
    pub fn read(fields: &mut Reader<'_>) -> Result<Self, EnvelopeError> {
        let count = fields.u64()?;
        if count > DIRECT_MAX as u64 {
            return Err(EnvelopeError::Malformed("it has too many addresses"));
        }
        let mut direct = Vec::new();
        for _ in 0..count {
            let address = fields.text()?.parse();
            direct.push(address.map_err(|_| EnvelopeError::Malformed("an address is none"))?);
        }
        let relay = match fields.u64()? {
            0 => None,
            1 => Some(fields.text()?.to_owned()),
            _ => return Err(EnvelopeError::Malformed("it has too many relays")),
        };
        if relay.as_ref().is_some_and(|url| url.len() > RELAY_MAX) {
            return Err(EnvelopeError::Malformed("its relay's name is too long"));
        }
        Ok(Self { direct, relay })
    }

    /// Alone, to be kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.write(Fields::new()).into_bytes()
    }

    /// As it was kept.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let mut fields = Reader::new(bytes);
        let address = Self::read(&mut fields)?;
        fields.end()?;
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were() {
        let whole = PeerAddress {
            direct: vec![
                "192.168.1.5:4433".parse().expect("an address"),
                "[2001:db8::1]:4433".parse().expect("an address"),
            ],
            relay: Some("https://relay.example/".into()),
        };
        for address in [PeerAddress::default(), whole] {
            let bytes = address.to_bytes();
            assert_eq!(PeerAddress::from_bytes(&bytes), Ok(address));
            for at in 0..bytes.len() {
                assert!(PeerAddress::from_bytes(&bytes[..at]).is_err());
            }
        }
    }

    #[test]
    fn what_is_too_large_is_cut_and_not_read() {
        let many = PeerAddress {
            direct: vec!["127.0.0.1:1".parse().expect("an address"); 100],
            relay: Some("x".repeat(RELAY_MAX + 1)),
        };
        let read = PeerAddress::from_bytes(&many.to_bytes()).expect("it was cut");
        assert_eq!((read.direct.len(), read.relay), (DIRECT_MAX, None));
        let endless = Fields::new().u64(u64::MAX).into_bytes();
        assert!(PeerAddress::from_bytes(&endless).is_err());
    }
}
