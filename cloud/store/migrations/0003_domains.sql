-- The domains that a site belongs to, separated by spaces, the owner first; empty = its organisation.
ALTER TABLE sites ADD COLUMN domains TEXT NOT NULL DEFAULT '';
