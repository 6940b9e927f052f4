-- The public half of what opens what was encrypted for a key's owner (X25519); none for a key of before that was not
-- used yet.
ALTER TABLE api_keys ADD COLUMN sharing_key BLOB;
