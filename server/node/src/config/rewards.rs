//! The section `rewards`.

use kwaainet_rewards::{MicroVda, TARIFF, Terms};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// What work is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rewards {
    /// VDA that one who asks may owe this node.
    pub credit_vda: u32,
    /// Hours that another node has to sign what it was served before it need not pay.
    pub hold_h: u32,
    /// Tokens a second that this machine generates with the default model: its class. 0 for what `kwaainet bench` measured
    /// last.
    pub tokens_per_s: u64,
}

impl Default for Rewards {
    fn default() -> Self {
        Self {
            credit_vda: 10_000,
            hold_h: 168,
            tokens_per_s: 0,
        }
    }
}

impl Rewards {
    /// Checks what the types cannot say.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.hold_h {
            1..=8_760 => Ok(()),
            _ => Err(ConfigError::Value(
                "rewards.hold_h must be from 1 to 8760".into(),
            )),
        }
    }

    /// On what terms work is paid.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            credit_max: MicroVda::vda(self.credit_vda),
            hold_s: self.hold_h * 3_600,
        }
    }

    /// The class of this machine in thousandths: as the owner says, else as measured, else one.
    pub(crate) fn class_milli(&self, measured: Option<u64>) -> u64 {
        let tokens_per_s = match self.tokens_per_s {
            0 => measured.unwrap_or(TARIFF.class_one_tokens_per_s),
            said => said,
        };
        TARIFF.class_of(tokens_per_s)
    }
}
