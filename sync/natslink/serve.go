package natslink

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/headcount-hub/headcount/sync/wire"
)

// Serve calls f, one call at a time, for each request of down.….<what> and sends what it returns
// back, until stop is called. It lasts across reconnects. The hub may only publish under
// up.ORG.SITE., so a request whose reply subject lies elsewhere is dropped unheard: nobody could
// learn what became of it.
func (l *Link) Serve(what string, f func(body []byte) []byte) (stop func(), err error) {
	subject := wire.DownSubject(l.opts.Org, l.opts.Site, what)
	mine := wire.UpSubject(l.opts.Org, l.opts.Site, "")
	sub, err := l.conn.Subscribe(subject, func(m *nats.Msg) {
		if !strings.HasPrefix(m.Reply, mine) {
			l.opts.Log.Warn("request dropped: its reply subject is not this site's", "subject", subject, "reply", m.Reply)
			return
		}
		if err := l.conn.Publish(m.Reply, f(m.Data)); err != nil {
			l.opts.Log.Warn("answer not sent", "subject", subject, "error", err)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", subject, err)
	}
	return func() {
		if err := sub.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
			l.opts.Log.Warn("stop listening", "subject", subject, "error", err)
		}
	}, nil
}
