-- How often another backend had to go on with a job.
ALTER TABLE receipts ADD COLUMN continued INTEGER NOT NULL DEFAULT 0;
