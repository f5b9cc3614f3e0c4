package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams of published events.
const (
	eventStream  = "EV"
	letterStream = "DLQ"
	eventAge     = 7 * 24 * time.Hour
	letterAge    = 90 * 24 * time.Hour
	eventBytes   = 4 << 30
	letterBytes  = 256 << 20
)

// EnsureEvents creates the stream of published events and that of messages which a consumer gave
// up, or brings existing ones up to date. It may be called at any time, also after the store was
// lost.
func (b *Bus) EnsureEvents(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, c := range []jetstream.StreamConfig{
		{Name: eventStream, Description: "events after they were taken in, for systems outside", Subjects: []string{"ev.>"}, MaxAge: eventAge, MaxBytes: eventBytes},
		{Name: letterStream, Description: "events that a consumer gave up", Subjects: []string{"dlq.>"}, MaxAge: letterAge, MaxBytes: letterBytes},
	} {
		c.Retention, c.Storage, c.Discard, c.Replicas = jetstream.LimitsPolicy, jetstream.FileStorage, jetstream.DiscardOld, b.opts.Replicas
		c.Duplicates = 2 * time.Minute
		if _, err := b.js.CreateOrUpdateStream(ctx, c); err != nil {
			return fmt.Errorf("create stream %s: %w", c.Name, err)
		}
	}
	return nil
}
