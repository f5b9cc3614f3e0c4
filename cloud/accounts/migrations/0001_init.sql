-- Organisations and, below them, sub-organisations and departments; a domain is a path.
CREATE TABLE accounts_domains (
  domain  TEXT NOT NULL PRIMARY KEY,
  name    TEXT NOT NULL,
  created BIGINT NOT NULL
);

-- People. The key of the mail address is its lower-case form.
CREATE TABLE accounts_users (
  id        TEXT NOT NULL PRIMARY KEY,
  email     TEXT NOT NULL,
  email_key TEXT NOT NULL UNIQUE,
  name      TEXT NOT NULL,
  locale    TEXT NOT NULL DEFAULT '',
  timezone  TEXT NOT NULL DEFAULT '',
  password  TEXT NOT NULL DEFAULT '',       -- PHC string; empty = no login by password
  active    INTEGER NOT NULL DEFAULT 1,
  verified  INTEGER NOT NULL DEFAULT 0,     -- the address is proven to be theirs
  created   BIGINT NOT NULL,
  updated   BIGINT NOT NULL
);

CREATE TABLE accounts_memberships (
  user_id TEXT NOT NULL,
  domain  TEXT NOT NULL,
  role    INTEGER NOT NULL,
  subs    INTEGER NOT NULL DEFAULT 1,       -- 0: not in the domains below
  since   BIGINT NOT NULL,
  PRIMARY KEY (user_id, domain)
);
CREATE INDEX accounts_memberships_domain ON accounts_memberships (domain);

-- Logins. A refresh token names its session and generation; only the newest is good.
CREATE TABLE accounts_sessions (
  id         TEXT NOT NULL PRIMARY KEY,
  user_id    TEXT NOT NULL,
  generation BIGINT NOT NULL,
  agent      TEXT NOT NULL,
  address    TEXT NOT NULL,
  created    BIGINT NOT NULL,
  used       BIGINT NOT NULL,
  expires    BIGINT NOT NULL,
  ended      BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX accounts_sessions_user ON accounts_sessions (user_id);

-- One-time links that were sent and not yet used.
CREATE TABLE accounts_links (
  id      TEXT NOT NULL PRIMARY KEY,
  kind    TEXT NOT NULL,
  user_id TEXT NOT NULL,
  expires BIGINT NOT NULL
);
CREATE INDEX accounts_links_user ON accounts_links (user_id, kind);

-- Access tokens that must be refused although they have not expired.
CREATE TABLE accounts_revocations (
  id            AUTO_ID,
  subject       TEXT NOT NULL,
  session       TEXT NOT NULL,
  issued_before BIGINT NOT NULL,
  forget        BIGINT NOT NULL
);

-- Long-lived signed tokens of services and devices; the tokens themselves are not kept.
CREATE TABLE accounts_tokens (
  id          TEXT NOT NULL PRIMARY KEY,
  kind        TEXT NOT NULL,
  org         TEXT NOT NULL,
  domain      TEXT NOT NULL,
  site        TEXT NOT NULL DEFAULT '',
  subject     TEXT NOT NULL,
  role        INTEGER NOT NULL,
  permissions TEXT NOT NULL,
  audience    TEXT NOT NULL,
  author      TEXT NOT NULL,
  created     BIGINT NOT NULL,
  expires     BIGINT NOT NULL,
  revoked     BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX accounts_tokens_org ON accounts_tokens (org, kind);

-- Who is known to which OpenID provider as whom.
CREATE TABLE accounts_identities (
  issuer  TEXT NOT NULL,
  subject TEXT NOT NULL,
  user_id TEXT NOT NULL,
  PRIMARY KEY (issuer, subject)
);

-- Failures of one kind, against guessing and flooding.
CREATE TABLE accounts_attempts (
  attempt TEXT NOT NULL PRIMARY KEY,
  since   BIGINT NOT NULL,
  count   INTEGER NOT NULL,
  locks   INTEGER NOT NULL,
  until   BIGINT NOT NULL
);

-- Every decision about who somebody is and what they may do; rows are never changed.
CREATE TABLE accounts_audit (
  id      AUTO_ID,
  at      BIGINT NOT NULL,
  org     TEXT NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  subject TEXT NOT NULL,
  outcome TEXT NOT NULL,
  address TEXT NOT NULL,
  detail  TEXT NOT NULL
);
CREATE INDEX accounts_audit_org ON accounts_audit (org, id);
