-- What notifications and work orders follow: the list is that of DB.NotifyEvents, word for word, or the index is of no use.
DROP INDEX events_notify;
CREATE INDEX events_alerts ON events (id) WHERE type IN ('alert.raised', 'alert.acknowledged', 'alert.cleared', 'action.delivered', 'action.failed');
