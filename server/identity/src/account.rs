//! Accounts on chains by their CAIP-10 names, as far as their owner can prove himself without asking the chain:
//! Ethereum's (`eip155:1:0x...`) and Solana's (`solana:<genesis>:<key>`).

use std::fmt;
use std::str::FromStr;

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use sha3::{Digest, Keccak256};

use crate::base58;
use crate::public_key::PublicKey;

/// Solana's main network: the first 32 letters of its genesis block's hash (CAIP-30).
pub(crate) const SOLANA_MAINNET: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";

/// An account on a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// Of Ethereum or one of its kin.
    Eip155 {
        /// The chain's number (EIP-155).
        chain: u64,
        /// The account's address.
        address: [u8; 20],
    },
    /// Of Solana.
    Solana {
        /// The network: the beginning of its genesis block's hash.
        network: String,
        /// The account's Ed25519 key, which is its address.
        key: [u8; 32],
    },
}

/// A text that names no account of a known kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no account of eip155 or solana")]
pub struct BadAccount;

/// What comes of a signature for an Ethereum account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// The account's own key signed.
    Signed,
    /// Another key signed.
    Other,
    /// It is not the signature of a key: a contract may judge it, whom only the chain can ask (ERC-1271, ERC-6492).
    Unverifiable,
}

impl Account {
    /// The address as the chain's wallets show it.
    pub fn address(&self) -> String {
        match self {
            Self::Eip155 { address, .. } => checksummed(address),
            Self::Solana { key, .. } => base58::encode(key),
        }
    }

    /// The chain's name for people, as sign-in messages have it.
    pub(crate) fn chain_name(&self) -> &'static str {
        match self {
            Self::Eip155 { .. } => "Ethereum",
            Self::Solana { .. } => "Solana",
        }
    }

    /// The chain's own name within its kind, as sign-in messages have it.
    pub(crate) fn chain_id(&self) -> String {
        match self {
            Self::Eip155 { chain, .. } => chain.to_string(),
            Self::Solana { network, .. } => NETWORKS
                .iter()
                .find(|(_, genesis)| genesis == network)
                .map_or_else(|| network.clone(), |(name, _)| (*name).to_owned()),
        }
    }

    /// Whether a chain's name in a message means this account's.
    pub(crate) fn is_on(&self, chain: &str) -> bool {
        match self {
            Self::Eip155 { .. } => chain == self.chain_id(),
            Self::Solana { network, .. } => {
                let chain = chain.strip_prefix("solana:").unwrap_or(chain);
                chain == network || chain == self.chain_id()
            }
        }
    }
}

/// Solana's networks by the names that wallets use.
const NETWORKS: [(&str, &str); 3] = [
    ("mainnet", SOLANA_MAINNET),
    ("devnet", "EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
    ("testnet", "4uhcVJyU9pJkvQyS88uRDiswHXSgkY3z"),
];

/// As CAIP-10 writes it; Ethereum's addresses in small letters, so that each account has one name.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eip155 { chain, address } => {
                let address = data_encoding::HEXLOWER.encode(address);
                write!(f, "eip155:{chain}:0x{address}")
            }
            Self::Solana { network, key } => {
                write!(f, "solana:{network}:{}", base58::encode(key))
            }
        }
    }
}

impl FromStr for Account {
    type Err = BadAccount;

    fn from_str(text: &str) -> Result<Self, BadAccount> {
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(BadAccount);
        let (kind, chain, address) = (part()?, part()?, part()?);
        match kind {
            "eip155" => Ok(Self::Eip155 {
                chain: chain_number(chain).ok_or(BadAccount)?,
                address: ethereum_address(address).ok_or(BadAccount)?,
            }),
            "solana" if is_network(chain) => Ok(Self::Solana {
                network: chain.to_owned(),
                key: solana_key(address).ok_or(BadAccount)?,
            }),
            _ => Err(BadAccount),
        }
    }
}

/// One form for each number.
fn chain_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn is_network(text: &str) -> bool {
    text.len() == 32 && base58::decode(text).is_some()
}

pub(crate) fn solana_key(text: &str) -> Option<[u8; 32]> {
    let key = base58::decode(text)?.try_into().ok()?;
    PublicKey::ed25519(key).ok()?;
    Some(key)
}

/// An address of 40 hexadecimal digits; where it has both cases, they must be the checksum of EIP-55.
pub(crate) fn ethereum_address(text: &str) -> Option<[u8; 20]> {
    let digits = text.strip_prefix("0x")?;
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
    let address: [u8; 20] = bytes.ok()?.try_into().ok()?;
    let has_both = digits.bytes().any(|c| c.is_ascii_uppercase())
        && digits.bytes().any(|c| c.is_ascii_lowercase());
    (!has_both || checksummed(&address) == text).then_some(address)
}

/// EIP-55: a letter is a capital where the hash of the small ones has a high digit.
pub(crate) fn checksummed(address: &[u8; 20]) -> String {
    let digits = data_encoding::HEXLOWER.encode(address);
    let hash: [u8; 32] = Keccak256::digest(digits.as_bytes()).into();
    let cased = digits.chars().enumerate().map(|(at, digit)| {
        let nibble = hash[at / 2] >> if at % 2 == 0 { 4 } else { 0 } & 0x0F;
        if nibble >= 8 {
            digit.to_ascii_uppercase()
        } else {
            digit
        }
    });
    format!("0x{}", cased.collect::<String>())
}

/// What a signature of a text, made as EIP-191 (version 0x45, "personal message") says, tells of an address.
pub(crate) fn recover(address: &[u8; 20], text: &str, signature: &[u8]) -> Recovered {
    let Ok(signature) = <&[u8; 65]>::try_from(signature) else {
        return Recovered::Unverifiable;
    };
    let (rs, v) = signature.split_at(64);
    // Wallets write 27 and 28, hardware sometimes 0 and 1.
    let id = match v[0] {
        0 | 27 => 0,
        1 | 28 => 1,
        _ => return Recovered::Other,
    };
    let prehash = Keccak256::new()
        .chain_update(format!("\x19Ethereum Signed Message:\n{}", text.len()))
        .chain_update(text)
        .finalize();
    let key = RecoveryId::from_byte(id)
        .zip(Signature::from_slice(rs).ok())
        .and_then(|(id, signature)| {
            VerifyingKey::recover_from_prehash(&prehash, &signature, id).ok()
        });
    match key {
        Some(key) if address_of(&key) == *address => Recovered::Signed,
        _ => Recovered::Other,
    }
}

/// The last 20 bytes of the hash of the point.
fn address_of(key: &VerifyingKey) -> [u8; 20] {
    let point = key.to_sec1_point(false);
    let hash: [u8; 32] = Keccak256::digest(&point.as_bytes()[1..]).into();
    hash[12..].try_into().expect("32 less 12 are 20")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of EIP-55 (CC0).
    #[test]
    fn addresses_have_the_checksum_of_eip_55() {
        for address in [
            "0x52908400098527886E0F7030069857D2E4169EE7",
            "0xde709f2102306220921060314715629080e2fb77",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            let bytes = ethereum_address(address).expect("it is one");
            let small = address.to_lowercase();
            assert_eq!(ethereum_address(&small), Some(bytes));
            assert_eq!(ethereum_address(&checksummed(&bytes)), Some(bytes));
        }
        let wrong = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD";
        assert_eq!(ethereum_address(wrong), None, "one letter's case");
        for bad in ["", "0x", "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "0x5a"] {
            assert_eq!(ethereum_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_account_has_one_name() {
        for name in [
            "eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a",
            "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:CKg5d12Jhpej1JqtmxLJgaFqqeYjxgPqToJ4LBdvG9Ev",
        ] {
            let account: Account = name.parse().expect("an account");
            assert_eq!(account.to_string(), name);
        }
        for bad in [
            "",
            "eip155",
            "eip155:1",
            "eip155:01:0xb9c5714089478a327f09197987f16f9e5d936e8a",
            "eip155:+1:0xb9c5714089478a327f09197987f16f9e5d936e8a",
            "eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8",
            "solana:mainnet:CKg5d12Jhpej1JqtmxLJgaFqqeYjxgPqToJ4LBdvG9Ev",
            "bip122:000000000019d6689c085ae165831e93:128Lkh3S7CkDTBZ8W7BbpsN3YYizJMp8p6",
        ] {
            assert_eq!(bad.parse::<Account>(), Err(BadAccount), "{bad}");
        }
    }

    #[test]
    fn a_key_signs_for_its_own_address_only() {
        let key = k256::ecdsa::SigningKey::from_slice(&[9; 32]).expect("a scalar");
        let address = address_of(key.verifying_key());
        let prehash = Keccak256::digest("\x19Ethereum Signed Message:\n5hello");
        let (signature, id) = key.sign_prehash_recoverable(&prehash);
        for shift in [0, 27] {
            let mut bytes = signature.to_bytes().to_vec();
            bytes.push(id.to_byte() + shift);
            assert_eq!(recover(&address, "hello", &bytes), Recovered::Signed);
            assert_eq!(recover(&address, "hallo", &bytes), Recovered::Other);
            assert_eq!(recover(&[0; 20], "hello", &bytes), Recovered::Other);
            let longer = [&bytes[..], &[0]].concat();
            assert_eq!(
                recover(&address, "hello", &longer),
                Recovered::Unverifiable,
                "a contract's"
            );
            bytes[64] = 99;
            assert_eq!(recover(&address, "hello", &bytes), Recovered::Other);
        }
    }
}
