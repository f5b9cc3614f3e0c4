package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/wire"
)

// EnsureOrg creates the organisation's stream, or brings an existing one up to the settings of
// Options. It may be called at any time, also after the store was lost.
func (b *Bus) EnsureOrg(ctx context.Context, org string) error {
	if !wire.ValidToken(org) {
		return fmt.Errorf("organisation %q: want 1 to 64 of a-z 0-9 _ -", org)
	}
	_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        wire.StreamName(org),
		Description: "batches from the hubs of " + org + " on their way into the database",
		Subjects: []string{
			wire.UpSubject(org, "*", string(edge.Events)),
			wire.UpSubject(org, "*", string(edge.Readings)),
		},
		Retention:  jetstream.LimitsPolicy,
		Storage:    jetstream.FileStorage,
		Discard:    jetstream.DiscardNew,
		MaxAge:     b.opts.MaxAge,
		MaxBytes:   b.opts.MaxBytes,
		MaxMsgSize: wire.MaxMessage,
		Replicas:   b.opts.Replicas,
		Duplicates: min(2*time.Minute, b.opts.MaxAge), // unused: Nats-Msg-Id is never trusted
		DenyDelete: true,
		DenyPurge:  true,
	})
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: does the NATS server have JetStream, and may this user use it?", err)
		}
		return fmt.Errorf("create stream %s: %w", wire.StreamName(org), err)
	}
	return nil
}
