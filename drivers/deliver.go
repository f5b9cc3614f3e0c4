package drivers

import (
	"context"
	"errors"
	"sync"

	"github.com/headcount-hub/headcount/edge"
)

// rejectsAtOnce is how many calls of Reject wait for the same commit.
const rejectsAtOnce = 64

// Deliver hands a batch to the sink: the readings in one Put, then what could not be
// understood, joined by device and cause. It returns nil only when all of it is durable; then
// the whole batch may be acknowledged.
func Deliver(ctx context.Context, out Sink, readings []edge.Reading, rejected []edge.Rejection) error {
	if len(readings) > 0 {
		if _, err := out.Put(ctx, readings...); err != nil {
			return err
		}
	}
	for rest := JoinRejections(rejected); len(rest) > 0; {
		n := min(len(rest), rejectsAtOnce)
		if err := rejectAll(ctx, out, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func rejectAll(ctx context.Context, out Sink, rs []edge.Rejection) error {
	if len(rs) == 1 {
		return out.Reject(ctx, rs[0])
	}
	errs := make([]error, len(rs))
	var wg sync.WaitGroup
	for i, r := range rs {
		wg.Go(func() { errs[i] = out.Reject(ctx, r) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// JoinRejections joins rejections of one driver, device and cause: the newest, with the sum of
// the counts. The order is that of the first of each.
func JoinRejections(rs []edge.Rejection) []edge.Rejection {
	if len(rs) < 2 {
		return rs
	}
	type key struct{ driver, device, cause string }
	at := make(map[key]int, len(rs))
	joined := make([]edge.Rejection, 0, len(rs))
	for _, r := range rs {
		k := key{r.Driver, r.Device, r.Cause}
		i, ok := at[k]
		if !ok {
			at[k] = len(joined)
			joined = append(joined, r)
			continue
		}
		count := max(1, joined[i].Count) + max(1, r.Count)
		joined[i] = r
		joined[i].Count = count
	}
	return joined
}
