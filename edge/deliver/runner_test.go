package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headcount-hub/headcount/edge/deliver"
)

// queue is a durable queue in memory.
type queue struct {
	mu      sync.Mutex
	jobs    []deliver.Job
	results []deliver.Result
	broken  int // Done fails as often
	changed chan struct{}
}

func newQueue(jobs ...deliver.Job) *queue {
	q := &queue{changed: make(chan struct{}, 1)}
	q.add(jobs...)
	return q
}

func (q *queue) add(jobs ...deliver.Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, jobs...)
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

func (q *queue) Pending() []deliver.Job {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.jobs)
}

func (q *queue) Changed() <-chan struct{} { return q.changed }

func (q *queue) Done(_ context.Context, r deliver.Result) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken > 0 {
		q.broken--
		return errors.New("the disk is busy")
	}
	q.results = append(q.results, r)
	q.jobs = slices.DeleteFunc(q.jobs, func(j deliver.Job) bool { return j.ID == r.Job })
	return nil
}

// done lists the results as "job ok" or "job failed".
func (q *queue) done() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []string
	for _, r := range q.results {
		out = append(out, r.Job+map[bool]string{true: " ok", false: " failed"}[r.Delivered])
	}
	return strings.Join(out, ", ")
}

// receiver is a channel that answers as it is told and notes what came when.
type receiver struct {
	mu     sync.Mutex
	answer func(key string, attempt int) error
	got    []string
	times  []time.Time
	tries  map[string]int
}

func newReceiver(answer func(key string, attempt int) error) *receiver {
	return &receiver{answer: answer, tries: map[string]int{}}
}

func (c *receiver) Deliver(_ context.Context, m deliver.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tries[m.Key]++
	c.got = append(c.got, m.Key)
	c.times = append(c.times, time.Now())
	if c.answer == nil {
		return nil
	}
	return c.answer(m.Key, c.tries[m.Key])
}

func (c *receiver) calls() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.got, " ")
}

// when lists the times of the calls.
func (c *receiver) when() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.times)
}

// all lists the results.
func (q *queue) all() []deliver.Result {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.results)
}

func job(id string) deliver.Job {
	return deliver.Job{ID: id, Channel: "hook", Created: time.Now(), Message: deliver.Message{Key: id, Type: "alert.raised"}}
}

func run(t *testing.T, q *queue, channels map[string]deliver.Channel, opts deliver.Options) (r *deliver.Runner, stop func()) {
	r = deliver.New(q, channels, opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var errDown = errors.New("connection refused")

func TestDeliversAtOnceAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, c := newQueue(job("a"), job("b")), newReceiver(nil)
		_, stop := run(t, q, map[string]deliver.Channel{"hook": c}, deliver.Options{})
		defer stop()
		synctest.Wait()
		q.add(job("c"))
		synctest.Wait()
		wait(time.Hour)
		if got, want := c.calls(), "a b c"; got != want {
			t.Errorf("calls %q, want %q", got, want)
		}
		if got, want := q.done(), "a ok, b ok, c ok"; got != want {
			t.Errorf("results %q, want %q", got, want)
		}
	})
}

func TestRetriesWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(job("a"))
		c := newReceiver(func(_ string, attempt int) error {
			if attempt < 5 {
				return errDown
			}
			return nil
		})
		_, stop := run(t, q, map[string]deliver.Channel{"hook": c}, deliver.Options{Breaker: 100})
		defer stop()
		wait(10 * time.Minute)
		if got := q.done(); got != "a ok" || q.all()[0].Attempts != 5 || q.all()[0].Error != errDown.Error() {
			t.Errorf("results %+v", q.all())
		}
		for i, want := range []time.Duration{2, 4, 8, 16} {
			if i+1 >= len(c.when()) {
				t.Fatalf("%d attempts, want 5", len(c.when()))
			}
			pause := c.when()[i+1].Sub(c.when()[i])
			if want *= time.Second; pause < want*3/4 || pause > want*5/4 {
				t.Errorf("pause %d was %v, want %v +- 25 %%", i+1, pause, want)
			}
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(job("a"))
		c := newReceiver(func(_ string, attempt int) error {
			if attempt == 1 {
				return &deliver.RetryAfter{Wait: 5 * time.Minute, Err: errors.New("503")}
			}
			return nil
		})
		_, stop := run(t, q, map[string]deliver.Channel{"hook": c}, deliver.Options{})
		defer stop()
		wait(4*time.Minute + 59*time.Second)
		if n := len(c.when()); n != 1 {
			t.Errorf("%d attempts before the time the receiver asked for", n)
		}
		wait(time.Minute)
		if got := q.done(); got != "a ok" {
			t.Errorf("results %q", got)
		}
	})
}

func TestGivesUp(t *testing.T) {
	for name, tc := range map[string]struct {
		job    func() deliver.Job
		opts   deliver.Options
		answer error
		calls  int // at least
		want   string
		within time.Duration
	}{
		"refused for good":       {answer: fmt.Errorf("%w: 404", deliver.ErrRefused), calls: 1, want: "404", within: time.Second},
		"too many attempts":      {opts: deliver.Options{MaxAttempts: 3}, answer: errDown, calls: 3, want: "3 attempts: connection refused", within: time.Minute},
		"too old":                {opts: deliver.Options{MaxAge: time.Hour}, answer: errDown, calls: 5, want: "within 1h0m0s: connection refused", within: time.Hour + time.Second},
		"too old before the try": {job: func() deliver.Job { j := job("a"); j.Created = time.Now().Add(-25 * time.Hour); return j }, want: "within 24h0m0s", within: time.Second},
		"no such channel":        {job: func() deliver.Job { j := job("a"); j.Channel = "gone"; return j }, want: `no channel "gone"`, within: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tc.job == nil {
					tc.job = func() deliver.Job { return job("a") }
				}
				q, c := newQueue(tc.job()), newReceiver(func(string, int) error { return tc.answer })
				_, stop := run(t, q, map[string]deliver.Channel{"hook": c}, tc.opts)
				defer stop()
				wait(tc.within)
				if q.done() != "a failed" || !strings.Contains(q.all()[0].Error, tc.want) {
					t.Fatalf("results %+v, want one failure with %q", q.all(), tc.want)
				}
				calls := len(c.when())
				if calls < tc.calls || tc.calls == 0 && calls > 0 {
					t.Errorf("%d attempts, want %d", calls, tc.calls)
				}
				wait(48 * time.Hour)
				if len(c.when()) != calls {
					t.Error("it was tried again after it was given up")
				}
			})
		})
	}
}

// What fails holds up neither other messages nor other channels, but what came after it in the same
// order waits: nobody is told that an alert has cleared before it was raised.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raised, cleared, other := job("raised"), job("cleared"), job("other")
		raised.Order, cleared.Order, other.Order = "alert-1", "alert-1", "alert-2"
		slow := job("elsewhere")
		slow.Channel = "mail"
		c := newReceiver(func(key string, attempt int) error {
			if key == "raised" && attempt < 3 {
				return errDown
			}
			return nil
		})
		q, mail := newQueue(raised, cleared, other, slow), newReceiver(nil)
		_, stop := run(t, q, map[string]deliver.Channel{"hook": c, "mail": mail}, deliver.Options{})
		defer stop()
		synctest.Wait()
		if mail.calls() != "elsewhere" {
			t.Error("another channel waits")
		}
		wait(time.Minute)
		if got, want := c.calls(), "raised other raised raised cleared"; got != want {
			t.Errorf("calls %q, want %q", got, want)
		}
	})
}

// When the raising is given up, the clearing goes on.
func TestOrderAfterGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := job("old"), job("next")
		old.Order, next.Order = "x", "x"
		old.Created = time.Now().Add(-48 * time.Hour)
		q, c := newQueue(old, next), newReceiver(nil)
		_, stop := run(t, q, map[string]deliver.Channel{"hook": c}, deliver.Options{})
		defer stop()
		synctest.Wait()
		if got := q.done(); got != "old failed, next ok" {
			t.Errorf("results %q", got)
		}
	})
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		var mu sync.Mutex
		c := newReceiver(func(string, int) error {
			mu.Lock()
			defer mu.Unlock()
			if down {
				return errDown
			}
			return nil
		})
		q := newQueue()
		for i := range 100 {
			q.add(job(fmt.Sprint("j", i)))
		}
		r, stop := run(t, q, map[string]deliver.Channel{"hook": c}, deliver.Options{})
		defer stop()
		wait(29 * time.Second)
		if n := len(c.when()); n != 5 {
			t.Errorf("%d attempts at a channel that is down, want 5 and then a pause", n)
		}
		st := r.Status()
		if len(st) != 1 || st[0].Name != "hook" || st[0].Failures != 5 || !st[0].PausedTo.After(time.Now()) || st[0].LastError != errDown.Error() {
			t.Errorf("status %+v", st)
		}
		wait(time.Hour)
		if n := len(c.when()); n < 10 || n > 20 {
			t.Errorf("%d attempts in an hour, want one per pause", n)
		}
		mu.Lock()
		down = false
		mu.Unlock()
		wait(21 * time.Minute)
		if n := strings.Count(q.done(), "ok"); n != 100 {
			t.Errorf("%d delivered after the channel came back, want 100", n)
		}
		if st := r.Status(); st[0].Failures != 0 || !st[0].PausedTo.IsZero() || st[0].LastError != "" || st[0].LastOK.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}

// A result that could not be stored is told again; the message is not sent again.
func TestResultIsToldUntilStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, c := newQueue(job("a")), newReceiver(nil)
		q.broken = 3 // before it runs
		_, stop := run(t, q, map[string]deliver.Channel{"hook": c}, deliver.Options{})
		defer stop()
		wait(10 * time.Second)
		if q.done() != "a ok" || c.calls() != "a" {
			t.Errorf("results %q, calls %q", q.done(), c.calls())
		}
	})
}

// blocked is a channel that answers only when its context ends.
type blocked struct{}

func (blocked) Deliver(ctx context.Context, _ deliver.Message) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAttemptsAreBoundedAndCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(job("a"))
		r, stop := run(t, q, map[string]deliver.Channel{"hook": blocked{}}, deliver.Options{Timeout: 15 * time.Second})
		wait(16 * time.Second)
		if st := r.Status(); st[0].Failures != 1 {
			t.Errorf("status %+v, want one failure by timeout", st)
		}
		wait(5 * time.Second) // in the second attempt
		before := time.Now()
		stop()
		if took := time.Since(before); took > 0 {
			t.Errorf("stopping took %v", took)
		}
		if q.done() != "" {
			t.Errorf("results %q: what was cut off stays in the queue", q.done())
		}
	})
}

type panics struct{}

func (panics) Deliver(context.Context, deliver.Message) error { panic("no such phone") }

func TestAPanicIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(job("a"))
		_, stop := run(t, q, map[string]deliver.Channel{"hook": panics{}}, deliver.Options{})
		defer stop()
		synctest.Wait()
		if q.done() != "a failed" || !strings.Contains(q.all()[0].Error, "no such phone") {
			t.Errorf("results %+v", q.all())
		}
	})
}
