//! Who a node is: one Ed25519 key, the file that holds it, its names, and the one envelope for everything that it
//! signs. And who others are: their keys and DIDs, what they sign in with, and the credentials that are said of them.
//!
//! No HTTP door and no SQL: whatever has to be kept or asked comes and goes through the types here.

mod account;
mod addresses;
mod base58;
mod capability;
mod carried;
mod challenge;
mod credential;
mod did;
mod document;
mod envelope;
mod fetch;
mod file;
mod history;
mod jcs;
mod key;
mod names;
mod note;
mod passkey;
mod phrase;
mod proof;
mod public_key;
mod reach;
mod resolve;
mod seal;
mod secret_box;
mod sign_in;
mod standing;
mod status;
mod timestamp;
mod verifier;

pub use account::{Account, BadAccount};
pub use capability::{
    Allowance, BadCapability, CAPABILITY_PREFIX, Capabilities, Capability, Minter, PATHS_MAX,
    Wanted,
};
pub use challenge::{Challenges, TooMany};
pub use credential::{Credential, Presentation, Problem, StatusEntry};
pub use did::{BadDid, Did, WebDid};
pub use document::{DidDocument, Purpose};
pub use envelope::{Domain, Envelope, EnvelopeError, Fields, Reader};
pub use fetch::{Fetch, FetchError, WebFetcher};
pub use file::{KeyFile, KeyFileError, KeyFileFacts};
pub use history::{BadHistory, KeyChange, KeyHistory};
pub use jcs::canonical;
pub use key::{NodeKey, verify};
pub use names::{BadNodeName, did_key, node_of_name, peer_id};
pub use note::{BadNote, note_key, open_note, sign_note};
pub use passkey::{KeptPasskey, LoggingIn, PASSKEYS_MAX, PasskeyDoor, PasskeyError, Registering};
pub use phrase::{BadPhrase, key_of_phrase, recovery_phrase};
pub use proof::{Proof, ProofError, ProofOptions, sign as sign_document};
pub use public_key::{BadPublicKey, PublicKey};
pub use reach::client_to;
pub use resolve::{ResolveError, Resolver};
pub use seal::Passphrase;
pub use secret_box::SecretBox;
pub use sign_in::{BadText, Expected, NoSigner, Refusal, SignInText, Signer, check_signature};
pub use standing::Standing;
pub use status::{BadList, LIST_LENGTH, StatusList, entry as status_entry, list_credential};
pub use timestamp::{parse_timestamp, timestamp};
pub use verifier::{Audience, OwnLists, Verifier};
