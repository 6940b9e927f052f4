-- What bonuses a consumer's work at one provider has brought in a day is looked up here.
CREATE INDEX ledger_accruals_by_pair ON ledger_accruals (consumer, provider, at_ms);
