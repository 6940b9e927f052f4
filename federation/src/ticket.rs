//! Tickets: what somebody is given so that his node may join this one. Whoever has a ticket can use it, so it is a
//! secret: never logged, never listed, shown only to whoever made it and to the node that issued it.

use std::fmt;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE, HEXLOWER};
use kwaainet_core::{NodeId, Tier};
use kwaainet_identity::{Domain, Envelope, EnvelopeError, Fields, NodeKey};

use crate::PeerAddress;

const VERSION: u64 = 1;
/// What the text of each begins with.
const PREFIX: &str = "kwaai1";
/// Characters of a ticket's text at most.
const TEXT_MAX: usize = 4_096;

/// Names an invitation; not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvitationId(pub [u8; 16]);

impl InvitationId {
    /// A new one.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(bytes)
    }
}

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl std::str::FromStr for InvitationId {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(TicketError::NoId)
    }
}

/// Why a text is no good ticket. Never repeats it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It does not look like one.
    #[error("this is no ticket: one begins with '{PREFIX}'")]
    NoTicket,
    /// Some of it is missing or mistyped.
    #[error("the ticket is not whole: {0}")]
    Damaged(#[from] EnvelopeError),
    /// A later version of this program made it.
    #[error("the ticket was made by a newer version of kwaainet")]
    Newer,
    /// It is no invitation's id.
    #[error("this is no id of an invitation: 32 hexadecimal digits")]
    NoId,
}

/// A signed invitation.
///
/// Its statement: the version, 1; the invitation's id, 16 bytes; the tier's number; when it ends, in milliseconds
/// since 1970; the issuer's address. The signer is the issuer.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The invitation.
    pub id: InvitationId,
    /// Who invites.
    pub issuer: NodeId,
    /// What the issuer takes whoever shows it for.
    pub tier: Tier,
    /// Milliseconds since 1970.
    pub expires_at_ms: u64,
    /// Where the issuer was when it made this.
    pub address: PeerAddress,
    bytes: Vec<u8>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.id)
    }
}

impl Ticket {
    /// Makes one.
    pub fn issue(
        key: &NodeKey,
        id: InvitationId,
        tier: Tier,
        expires_at_ms: u64,
        address: &PeerAddress,
    ) -> Self {
        let fields = Fields::new()
            .u64(VERSION)
            .array(id.0)
            .u64(tier.number().into())
            .u64(expires_at_ms);
        let signed = Envelope::sign(key, Domain::Invitation, address.write(fields));
        Self::open(signed.as_bytes()).expect("what was just written can be read")
    }

    /// Reads the signed bytes. Whether the invitation still holds, only its issuer knows.
    ///
    /// # Errors
    /// When they are no ticket, or were changed.
    pub fn open(bytes: &[u8]) -> Result<Self, TicketError> {
        let signed = Envelope::open(bytes, Domain::Invitation)?;
        let mut fields = signed.fields();
        if fields.u64()? != VERSION {
            return Err(TicketError::Newer);
        }
        let id = InvitationId(fields.array()?);
        let tier = u8::try_from(fields.u64()?).ok().and_then(Tier::of_number);
        let ticket = Self {
            id,
            issuer: signed.signer(),
            tier: tier.ok_or(EnvelopeError::Malformed("its tier is none"))?,
            expires_at_ms: fields.u64()?,
            address: PeerAddress::read(&mut fields)?,
            bytes: bytes.to_vec(),
        };
        fields.end()?;
        Ok(ticket)
    }

    /// Reads the text, in capitals or not, whatever white space came into it.
    ///
    /// # Errors
    /// When it is no ticket, or is damaged.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let whole: String = text.split_ascii_whitespace().collect();
        let head = whole.get(..PREFIX.len()).ok_or(TicketError::NoTicket)?;
        if !head.eq_ignore_ascii_case(PREFIX) || whole.len() > TEXT_MAX {
            return Err(TicketError::NoTicket);
        }
        let bytes = BASE32_NOPAD_NOCASE
            .decode(&whole.as_bytes()[PREFIX.len()..])
            .map_err(|_| EnvelopeError::Malformed("some of it is missing or mistyped"))?;
        Self::open(&bytes)
    }

    /// As text, for people to hand on: `kwaai1` and base32 (RFC 4648) in small letters.
    pub fn text(&self) -> String {
        let code = BASE32_NOPAD.encode(&self.bytes).to_ascii_lowercase();
        format!("{PREFIX}{code}")
    }

    /// The signed bytes, for the issuer to check.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        let address = PeerAddress {
            direct: vec!["192.168.1.5:4433".parse().expect("an address")],
            relay: None,
        };
        let key = NodeKey::generate();
        Ticket::issue(&key, InvitationId::random(), Tier::T1, 5, &address)
    }

    #[test]
    fn a_ticket_survives_people() {
        let ticket = ticket();
        let text = ticket.text();
        assert!(text.starts_with(PREFIX) && text.len() < 500, "{text}");
        let broken = format!(" {}\r\n  {}\n", &text[..70], &text[70..]);
        for text in [text.clone(), text.to_ascii_uppercase(), broken] {
            assert_eq!(Ticket::parse(&text), Ok(ticket.clone()));
        }
    }

    #[test]
    fn a_damaged_ticket_is_refused_and_not_repeated() {
        let text = ticket().text();
        for at in 0..text.len() {
            let other = if &text[at..=at] == "a" { "b" } else { "a" };
            let bad = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            for bad in [&bad, &text[..at]] {
                let error = Ticket::parse(bad).expect_err("it is damaged");
                assert!(!error.to_string().contains(&text[20..60]), "{error}");
            }
        }
        assert_eq!(Ticket::parse("hello"), Err(TicketError::NoTicket));
        assert_eq!(Ticket::parse("kwäai1"), Err(TicketError::NoTicket));
    }

    #[test]
    fn nothing_prints_the_secret() {
        let ticket = ticket();
        assert_eq!(format!("{ticket:?}"), format!("Ticket({})", ticket.id));
    }

    #[test]
    fn a_later_version_is_told_as_such() {
        let fields = Fields::new().u64(2).text("who knows");
        let signed = Envelope::sign(&NodeKey::generate(), Domain::Invitation, fields);
        assert_eq!(Ticket::open(signed.as_bytes()), Err(TicketError::Newer));
    }
}
