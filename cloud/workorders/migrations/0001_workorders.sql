CREATE TABLE workorders_orders (
	id       TEXT PRIMARY KEY,
	number   TEXT NOT NULL, -- empty for drafts
	org      TEXT NOT NULL,
	domain   TEXT NOT NULL,
	site     TEXT NOT NULL, -- empty = of the organisation as a whole
	alert    TEXT NOT NULL, -- empty = opened by hand
	state    TEXT NOT NULL,
	priority TEXT NOT NULL,
	assignee TEXT NOT NULL,
	creator  TEXT NOT NULL,
	labels   TEXT NOT NULL, -- each between commas
	breached INTEGER NOT NULL,
	search   TEXT NOT NULL, -- in lower case
	version  BIGINT NOT NULL,
	doc      TEXT NOT NULL  -- the whole order as JSON
);
CREATE UNIQUE INDEX workorders_number_once ON workorders_orders (org, number) WHERE number <> '';
CREATE UNIQUE INDEX workorders_alert_once ON workorders_orders (org, site, alert) WHERE alert <> '';
CREATE INDEX workorders_by_domain ON workorders_orders (domain, state);
CREATE INDEX workorders_by_assignee ON workorders_orders (assignee, state);

CREATE TABLE workorders_numbers (
	org  TEXT NOT NULL,
	year INTEGER NOT NULL,
	last BIGINT NOT NULL,
	PRIMARY KEY (org, year)
);

CREATE TABLE workorders_history (
	id        AUTO_ID,
	workorder TEXT NOT NULL,
	at        BIGINT NOT NULL,
	who       TEXT NOT NULL,
	who_name  TEXT NOT NULL,
	what      TEXT NOT NULL,
	was       TEXT NOT NULL, -- state before
	became    TEXT NOT NULL, -- state after
	why       TEXT NOT NULL
);
CREATE INDEX workorders_history_of ON workorders_history (workorder, id);

CREATE TABLE workorders_timers (
	workorder TEXT NOT NULL,
	kind      TEXT NOT NULL,
	due       BIGINT NOT NULL,
	data      TEXT NOT NULL,
	PRIMARY KEY (workorder, kind)
);
CREATE INDEX workorders_timers_due ON workorders_timers (due);

CREATE TABLE workorders_templates (
	org  TEXT NOT NULL,
	name TEXT NOT NULL,
	doc  TEXT NOT NULL,
	PRIMARY KEY (org, name)
);

CREATE TABLE workorders_rules (
	org  TEXT NOT NULL,
	name TEXT NOT NULL,
	doc  TEXT NOT NULL,
	PRIMARY KEY (org, name)
);

CREATE TABLE workorders_tasks (
	id        TEXT PRIMARY KEY,
	workorder TEXT NOT NULL,
	title     TEXT NOT NULL,
	assignee  TEXT NOT NULL,
	done_at   BIGINT NOT NULL,
	done_by   TEXT NOT NULL
);
CREATE INDEX workorders_tasks_of ON workorders_tasks (workorder, id);

CREATE TABLE workorders_approvals (
	id         TEXT PRIMARY KEY,
	workorder  TEXT NOT NULL,
	state      TEXT NOT NULL, -- pending, approved, rejected, withdrawn
	asked_by   TEXT NOT NULL,
	asked_name TEXT NOT NULL,
	asked_at   BIGINT NOT NULL,
	reason     TEXT NOT NULL,
	cost       TEXT NOT NULL,
	approver   TEXT NOT NULL, -- empty = any manager
	decided_by TEXT NOT NULL,
	decided_name TEXT NOT NULL,
	decided_at BIGINT NOT NULL,
	answer     TEXT NOT NULL
);
CREATE INDEX workorders_approvals_of ON workorders_approvals (workorder, state);

CREATE TABLE workorders_keys (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE workorders_notes (
	id          TEXT PRIMARY KEY,
	workorder   TEXT NOT NULL,
	author      TEXT NOT NULL,
	author_name TEXT NOT NULL,
	text        TEXT NOT NULL,
	mentions    TEXT NOT NULL, -- JSON list of user ids
	at          BIGINT NOT NULL,
	edited      BIGINT NOT NULL,
	deleted     BIGINT NOT NULL
);
CREATE INDEX workorders_notes_of ON workorders_notes (workorder, id);

CREATE TABLE workorders_notelog ( -- what chats are told, in order
	id        AUTO_ID,
	workorder TEXT NOT NULL,
	note      TEXT NOT NULL,
	what      TEXT NOT NULL
);
CREATE INDEX workorders_notelog_of ON workorders_notelog (workorder, id);

CREATE TABLE workorders_guests (
	id        TEXT PRIMARY KEY,
	workorder TEXT NOT NULL,
	name      TEXT NOT NULL,
	hash      TEXT NOT NULL UNIQUE, -- SHA-256 of the token
	invited   BIGINT NOT NULL,
	invited_by TEXT NOT NULL,
	joined    BIGINT NOT NULL, -- 0 = not yet
	expires   BIGINT NOT NULL
);
CREATE INDEX workorders_guests_of ON workorders_guests (workorder);

CREATE TABLE workorders_attachments (
	id        TEXT PRIMARY KEY,
	workorder TEXT NOT NULL,
	state     TEXT NOT NULL, -- uploading, pending, clean, infected, failed, not_scanned
	due       BIGINT NOT NULL, -- when its next job is to be done; 0 = none
	doc       TEXT NOT NULL
);
CREATE INDEX workorders_attachments_of ON workorders_attachments (workorder, id);
CREATE INDEX workorders_attachments_due ON workorders_attachments (due);
