package uplink_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/sync/uplink"
	"github.com/headcount-hub/headcount/sync/uplink/uplinktest"
	"github.com/headcount-hub/headcount/sync/wire"
)

// site is a pump with a journal, a link and a cloud around it. Its methods are for use in a
// synctest bubble.
type site struct {
	*uplink.Pump
	t       *testing.T
	journal *uplinktest.Journal
	cloud   *uplinktest.Cloud
	link    *uplinktest.Link
	opts    uplink.Options

	mu        sync.Mutex
	statuses  []uplink.Status
	conflicts []string
	lost      []string
	replies   int
	renew     bool // begin a new epoch on a conflict
}

func newSite(t *testing.T, fate func(string) uplinktest.Fate) *site {
	s := &site{t: t, journal: uplinktest.NewJournal(), cloud: uplinktest.NewCloud()}
	s.link = uplinktest.NewLink(s.cloud, fate)
	s.opts = uplink.Options{
		Journal: s.journal, Link: s.link,
		Heartbeat: func() wire.Heartbeat { return wire.Heartbeat{Site: "site", Time: time.Now()} },
		Snapshot:  func() wire.Snapshot { return wire.Snapshot{Epoch: s.journal.Epoch(), Time: time.Now()} },
		OnStatus: func(st uplink.Status) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.statuses = append(s.statuses, st)
		},
		OnConflict: func(reason string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conflicts = append(s.conflicts, reason)
			if s.renew {
				s.journal.NewEpoch()
			}
		},
		OnLost: func(lane edge.Lane, from, to uint64) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lost = append(s.lost, fmt.Sprintf("%s %d-%d", lane, from, to))
		},
		OnReply: func(wire.HeartbeatReply) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.replies++
		},
	}
	return s
}

// run starts the pump; the function it returns stops it.
func (s *site) run() (stop func()) {
	s.Pump = uplink.New(s.opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run: %v", err)
		}
	}
}

func (s *site) write(lane edge.Lane, n int) {
	for i := range n {
		s.journal.Append(lane, fmt.Sprintf("%s %d %s", lane, i, strings.Repeat("x", 100)))
	}
}

// complete fails the test unless the cloud has both lanes in order, nothing twice.
func (s *site) complete() {
	s.t.Helper()
	for _, lane := range edge.Lanes {
		if got, want := s.cloud.Applied(lane), s.journal.All(lane); !slices.Equal(got, want) {
			s.t.Errorf("%s: %d records applied, want the journal's %d in order", lane, len(got), len(want))
		}
	}
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSendsWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		s.write(edge.Events, 10)
		defer s.link.Close()
		defer s.run()()
		synctest.Wait()
		s.complete()
		s.write(edge.Events, 1)
		s.write(edge.Readings, 100)
		synctest.Wait() // at once: no timer between a record and its batch
		s.complete()
		st := s.Status()
		if !st.Connected || st.Reason != "" || st.Backlog() != 0 || st.Events.Mark != 11 || st.Readings.Sent != 100 || !st.UnsyncedSince.IsZero() {
			t.Errorf("status %+v", st)
		}
		if s.cloud.Repeated() > 0 {
			t.Errorf("%d records were sent twice over a perfect link", s.cloud.Repeated())
		}
		if n := len(s.cloud.Snapshots()); n != 1 {
			t.Errorf("%d snapshots, want 1 on connecting", n)
		}
		wait(time.Minute)
		if n := len(s.cloud.Heartbeats()); n != 5 {
			t.Errorf("%d heartbeats in a minute, want 5", n)
		}
		if h := s.cloud.Heartbeats()[0]; h.Version != wire.Version || h.Epoch != s.journal.Epoch() || h.Events.Head != 10 || h.Events.OldestUnsent.IsZero() {
			t.Errorf("heartbeat %+v", h)
		}
	})
}

func TestEventsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		s := newSite(t, nil)
		s.opts.Timing.Batch = 20 << 10
		s.write(edge.Readings, 5000)
		s.write(edge.Events, 5000)
		stop := s.cloud.Listen(func(m wire.Marks) {
			if m.Events.Seq < 5000 && m.Readings.Seq > 0 {
				order = append(order, fmt.Sprintf("readings %d before event %d", m.Readings.Seq, m.Events.Seq+1))
			}
		})
		defer stop()
		defer s.link.Close()
		defer s.run()()
		synctest.Wait()
		s.complete()
		if len(order) > 0 {
			t.Error(order[0])
		}
	})
}

// On a line where a batch takes long, readings in flight are few, so that an event does not wait
// behind many of them.
func TestReadingsArePacedOnASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var line sync.Mutex
		free, pace := time.Now(), 20*time.Millisecond
		s := newSite(t, func(what string) uplinktest.Fate {
			if what != "batch" {
				return uplinktest.Fate{}
			}
			line.Lock()
			defer line.Unlock()
			free = later(free, time.Now()).Add(pace) // per batch, one after the other
			return uplinktest.Fate{Delay: time.Until(free)}
		})
		s.opts.Timing.Batch = 20 << 10
		s.write(edge.Readings, 11000)
		defer s.link.Close()
		defer s.run()()
		wait(time.Second) // fast at first
		line.Lock()
		pace = 900 * time.Millisecond
		line.Unlock()
		wait(20 * time.Second)
		for range 5 {
			before := time.Now()
			s.write(edge.Events, 1)
			for s.Status().Events.Mark < s.Status().Events.Head {
				wait(50 * time.Millisecond)
			}
			if took := time.Since(before); took > 4*time.Second {
				t.Errorf("an event took %v behind readings", took)
			}
			wait(3 * time.Second)
		}
		wait(2 * time.Minute)
		s.complete()
		if n := s.cloud.Repeated(); n > 0 {
			t.Errorf("%d records were sent twice over a slow but perfect line", n)
		}
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func TestOfflineThenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		s.link.Cut("offline: no route to host")
		s.write(edge.Events, 100)
		defer s.link.Close()
		defer s.run()()
		wait(time.Hour)
		st := s.Status()
		if st.Connected || st.Reason != "offline: no route to host" || st.Backlog() != 100 || st.UnsyncedSince.IsZero() {
			t.Errorf("offline status %+v", st)
		}
		s.link.Restore()
		synctest.Wait()
		s.complete()
		if st := s.Status(); !st.Connected || !st.UnsyncedSince.IsZero() {
			t.Errorf("status after coming back %+v", st)
		}
		s.link.Cut("offline: again")
		s.link.Restore() // so quickly that the pump may not see it down
		synctest.Wait()
		if n := len(s.cloud.Snapshots()); n != 2 {
			t.Errorf("%d snapshots, want one per connection", n)
		}
	})
}

// A hub that sends all the time is never in step with the cloud at any instant, and yet in sync.
func TestUnsyncedOnlyWhenBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(what string) uplinktest.Fate {
			if what == "mark" {
				return uplinktest.Fate{Delay: 800 * time.Millisecond}
			}
			return uplinktest.Fate{}
		})
		defer s.link.Close()
		defer s.run()()
		for range 300 {
			s.write(edge.Readings, 1)
			wait(500 * time.Millisecond)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, st := range s.statuses {
			if !st.UnsyncedSince.IsZero() {
				t.Errorf("reported not in sync: %+v", st)
			}
		}
		if len(s.statuses) > 2 {
			t.Errorf("%d changes of status reported: each costs the hub a commit", len(s.statuses))
		}
	})
}

func TestLostBatchesAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lose := 3
		s := newSite(t, func(what string) uplinktest.Fate {
			if what == "batch" && lose > 0 {
				lose--
				return uplinktest.Fate{Lose: true}
			}
			return uplinktest.Fate{}
		})
		s.write(edge.Events, 3)
		defer s.link.Close()
		defer s.run()()
		wait(10*time.Second + 20*time.Second + 40*time.Second)
		s.complete()
	})
}

func TestAGapIsFilledAtTheNextMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		batches := 0
		s := newSite(t, func(what string) uplinktest.Fate {
			if what == "batch" {
				batches++
			}
			return uplinktest.Fate{Lose: what == "batch" && batches == 1}
		})
		defer s.link.Close()
		defer s.run()()
		s.write(edge.Events, 1) // lost
		wait(2 * time.Second)
		s.write(edge.Events, 1) // refused: a gap
		wait(100 * time.Millisecond)
		s.complete()
	})
}

// While the cloud does not answer, what is sent waits in its stream: it is not sent again and
// again.
func TestASilentCloudIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(what string) uplinktest.Fate { return uplinktest.Fate{Lose: true} })
		s.write(edge.Events, 100)
		s.write(edge.Readings, 10000)
		defer s.link.Close()
		defer s.run()()
		wait(24 * time.Hour)
		if n := s.link.Sent(); n > 32 {
			t.Errorf("%d batches sent to a silent cloud, want at most the windows of both lanes", n)
		}
		if st := s.Status(); !strings.Contains(st.Reason, "the cloud does not answer") || st.UnsyncedSince.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}

func TestCloudRestoredFromBackup(t *testing.T) {
	for name, drop := range map[string]bool{"all still here": false, "deleted here": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, nil)
				defer s.link.Close()
				defer s.run()()
				s.write(edge.Events, 10)
				synctest.Wait()
				restore := s.cloud.Backup()
				s.write(edge.Events, 10)
				wait(10 * time.Second)
				if m := s.journal.Mark(edge.Events); m.Seq != 20 {
					t.Fatalf("journal was told mark %d, want 20", m.Seq)
				}
				if drop {
					s.journal.Drop(edge.Events, 15)
				}
				restore()
				wait(20 * time.Second)
				s.write(edge.Events, 5)
				synctest.Wait()
				if !drop {
					s.complete()
					return
				}
				if got, want := len(s.cloud.Applied(edge.Events)), 10+5+5; got != want {
					t.Errorf("%d applied, want %d", got, want)
				}
				if got := s.cloud.Lost(edge.Events); got != 5 {
					t.Errorf("%d declared lost in the batch, want 5", got)
				}
				if got := strings.Join(s.lost, ", "); got != "events 11-15" {
					t.Errorf("declared here: %q, want events 11-15", got)
				}
			})
		})
	}
}

// A push that is still on its way from before the cloud was restored must not be believed: the
// journal would delete what the cloud has lost.
func TestALatePushIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		defer s.link.Close()
		defer s.run()()
		s.write(edge.Events, 10)
		synctest.Wait()
		restore := s.cloud.Backup()
		s.write(edge.Events, 10)
		synctest.Wait()
		late := wire.Marks{Events: s.journal.Head(edge.Events)}
		restore()
		s.link.Limit(10) // nothing can be sent for now
		wait(16 * time.Second)
		s.cloud.Push(late)
		synctest.Wait()
		if m := s.Status().Events.Mark; m != 10 {
			t.Errorf("mark %d, want the cloud's 10", m)
		}
		s.link.Limit(0)
		wait(2 * time.Second)
		s.complete()
	})
}

// An answer that was overtaken by pushes is no sign that the cloud has gone back.
func TestALateAnswerIsNoStepBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(what string) uplinktest.Fate {
			if what == "reply" {
				return uplinktest.Fate{Delay: 3 * time.Second}
			}
			return uplinktest.Fate{}
		})
		defer s.link.Close()
		defer s.run()()
		for range 100 {
			s.write(edge.Events, 1)
			wait(time.Second)
		}
		s.complete()
		if n := s.cloud.Repeated(); n > 0 {
			t.Errorf("%d records were sent twice", n)
		}
	})
}

// What was asked on the line before must not hold up the first heartbeat on the new one.
func TestAsksAtOnceOnANewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		s := newSite(t, func(what string) uplinktest.Fate {
			lose := first && what == "request"
			first = first && what != "request"
			return uplinktest.Fate{Lose: lose}
		})
		defer s.link.Close()
		defer s.run()()
		s.write(edge.Events, 1)
		wait(time.Second)
		s.link.Cut("cut")
		synctest.Wait()
		s.link.Restore()
		synctest.Wait()
		if n := len(s.cloud.Heartbeats()); n != 1 {
			t.Errorf("%d heartbeats at once on the new connection, want 1", n)
		}
		s.complete()
	})
}

func TestCloudEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		empty := s.cloud.Backup()
		defer s.link.Close()
		defer s.run()()
		s.write(edge.Events, 10)
		s.write(edge.Readings, 10)
		synctest.Wait()
		empty()
		s.write(edge.Events, 1) // a gap there: the hub asks and learns
		wait(20 * time.Second)
		s.complete()
		if len(s.conflicts) > 0 {
			t.Errorf("an emptied cloud is no conflict: %v", s.conflicts)
		}
	})
}

// The journal drops unsent records when its disk is full; it has declared them itself.
func TestUnsentRecordsDroppedByTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		s.link.Cut("offline")
		s.write(edge.Readings, 100)
		s.journal.Drop(edge.Readings, 60)
		defer s.link.Close()
		defer s.run()()
		s.link.Restore()
		synctest.Wait()
		s.complete()
		if got := s.cloud.Lost(edge.Readings); got != 60 {
			t.Errorf("%d declared lost in the batch, want 60", got)
		}
		if len(s.lost) > 0 {
			t.Errorf("declared a second time: %v", s.lost)
		}
	})
}

func TestConflicts(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *site)
		want   string
	}{
		"journal restored from an old copy": {func(s *site) { s.journal.Truncate(edge.Events, 5) }, "restored copy"},
		"restored, and longer by now": {func(s *site) {
			s.journal.Truncate(edge.Events, 5)
			s.write(edge.Events, 50)
		}, "restored or cloned"},
		"the cloud says so": {func(s *site) { s.cloud.Refuse(s.journal.Epoch(), "a clone is connected") }, "a clone is connected"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, nil)
				defer s.link.Close()
				stop := s.run()
				s.write(edge.Events, 20)
				synctest.Wait()
				stop()
				before := s.cloud.Applied(edge.Events)
				tc.change(s)

				stop = s.run() // the hub does nothing about it yet
				wait(5 * time.Minute)
				if len(s.conflicts) != 1 || !strings.Contains(s.conflicts[0], tc.want) {
					t.Errorf("conflicts %q, want one with %q", s.conflicts, tc.want)
				}
				if got := s.cloud.Applied(edge.Events); !slices.Equal(got, before) {
					t.Error("something was applied in spite of the conflict")
				}
				if st := s.Status(); !strings.Contains(st.Reason, tc.want) {
					t.Errorf("status says %q, want %q", st.Reason, tc.want)
				}
				s.journal.NewEpoch()
				s.write(edge.Events, 3)
				wait(5 * time.Minute)
				if len(s.conflicts) != 1 {
					t.Errorf("conflicts go on in the new epoch: %q", s.conflicts)
				}
				all := s.journal.All(edge.Events)
				if got, want := s.cloud.Applied(edge.Events), append(before, all[len(all)-3:]...); !slices.Equal(got, want) {
					t.Errorf("%d applied, want the old %d and the new epoch's 3", len(got), len(before))
				}
				if st := s.Status(); st.Reason != "" || st.Epoch != s.journal.Epoch() {
					t.Errorf("status in the new epoch %+v", st)
				}
				stop()
			})
		})
	}
}

// Two hubs with the same journal: the second to write differently is refused, begins an epoch of
// its own, and both go on.
func TestClone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newSite(t, nil), newSite(t, nil)
		b.cloud = a.cloud
		b.link = uplinktest.NewLink(b.cloud, nil)
		b.opts.Link = b.link
		b.renew = true
		defer a.link.Close()
		defer b.link.Close()
		defer a.run()()
		a.write(edge.Events, 3)
		synctest.Wait()
		b.journal.Append(edge.Events, "other") // the same epoch name, another content
		for range 4 {
			b.journal.Append(edge.Events, "other")
		}
		defer b.run()()
		wait(time.Minute)
		if len(b.conflicts) != 1 {
			t.Fatalf("clone: conflicts %q, want one", b.conflicts)
		}
		if b.journal.Epoch() == a.journal.Epoch() {
			b.journal.NewEpoch()
		}
		b.write(edge.Events, 2)
		a.write(edge.Events, 2)
		wait(time.Minute)
		if got, want := len(a.cloud.Applied(edge.Events)), 3+2+2; got != want {
			t.Errorf("%d applied, want %d of both", got, want)
		}
		if len(a.conflicts)+len(b.conflicts) != 1 {
			t.Errorf("conflicts go on: %q %q", a.conflicts, b.conflicts)
		}
	})
}

// A damaged journal begins an epoch; what is intact of the old one is sent first, and an epoch is
// not begun before the one before it is confirmed.
func TestEpochsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		batches := 0
		s := newSite(t, func(what string) uplinktest.Fate {
			if what == "batch" {
				batches++
			}
			return uplinktest.Fate{Lose: what == "batch" && batches == 2}
		})
		s.link.Cut("offline")
		s.opts.Timing.Batch = 2000
		s.write(edge.Events, 20)
		s.journal.Damage()
		s.journal.Damage()
		s.write(edge.Events, 20)
		s.write(edge.Readings, 20)
		s.journal.Damage()
		defer s.link.Close()
		defer s.run()()
		s.link.Restore()
		wait(40 * time.Second)
		s.complete()
		if st := s.Status(); !st.UnsyncedSince.IsZero() {
			t.Errorf("all is sent, status %+v", st)
		}
		s.write(edge.Readings, 1)
		synctest.Wait()
		s.complete()
		wait(time.Minute)
		if m := s.journal.Mark(edge.Readings); m.Epoch != s.journal.Epoch() || m.Seq != 1 {
			t.Errorf("journal was told mark %+v, want 1 of the present epoch", m)
		}
		if st := s.Status(); !st.UnsyncedSince.IsZero() || st.Reason != "" {
			t.Errorf("status %+v", st)
		}
	})
}

// Part of an epoch whose end was lost by damage may have been applied: that is no conflict.
func TestTheCloudHasMoreOfAnOldEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		defer s.link.Close()
		stop := s.run()
		s.write(edge.Events, 20)
		synctest.Wait()
		stop()
		before := s.cloud.Applied(edge.Events)
		s.journal.Truncate(edge.Events, 15)
		s.journal.Damage()
		s.write(edge.Events, 5)
		defer s.run()()
		wait(time.Minute)
		all := s.journal.All(edge.Events)
		if got, want := s.cloud.Applied(edge.Events), append(before, all[len(all)-5:]...); !slices.Equal(got, want) {
			t.Errorf("%d applied, want %d", len(got), len(want))
		}
		if len(s.conflicts) > 0 {
			t.Errorf("conflicts %q", s.conflicts)
		}
	})
}

func TestMessageTooLargeForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		s.link.Limit(20 << 10)
		s.write(edge.Events, 1000)
		defer s.link.Close()
		defer s.run()()
		wait(time.Second)
		s.complete()
		s.link.Limit(10)
		s.write(edge.Events, 1)
		wait(5 * time.Second)
		if st := s.Status(); !strings.Contains(st.Reason, "too large") {
			t.Errorf("a record that never fits: status says %q", st.Reason)
		}
		s.link.Limit(0)
		wait(2 * time.Second)
		s.complete()
		if st := s.Status(); st.Reason != "" {
			t.Errorf("the reason stays: %q", st.Reason)
		}
	})
}

func TestServerComplaintIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, nil)
		defer s.link.Close()
		defer s.run()()
		s.link.Complain("not allowed: publish to up.x")
		synctest.Wait()
		if st := s.Status(); !st.Connected || st.Reason != "not allowed: publish to up.x" {
			t.Errorf("status %+v", st)
		}
	})
}

func TestSnapshotsWhileCatchingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, func(what string) uplinktest.Fate {
			if what == "batch" {
				return uplinktest.Fate{Delay: 5 * time.Second}
			}
			return uplinktest.Fate{}
		})
		s.opts.Timing.Batch = 20 << 10
		s.write(edge.Events, 8000)
		defer s.link.Close()
		defer s.run()()
		wait(9 * time.Second)
		if n := len(s.cloud.Snapshots()); n < 4 || n > 6 {
			t.Errorf("%d snapshots in 9 s of catching up, want one per 2 s", n)
		}
	})
}

// Whatever is lost, repeated, overtaken or cut, in the end the cloud has applied the journal in
// order and nothing twice.
func TestWhateverHappensOnTheLine(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	calm, damage := false, seed%2 == 1
	bad := rnd.Float64() * 0.6
	s := newSite(t, func(string) uplinktest.Fate {
		mu.Lock()
		defer mu.Unlock()
		if calm || rnd.Float64() > bad {
			return uplinktest.Fate{}
		}
		return uplinktest.Fate{
			Lose: rnd.IntN(2) == 0, Twice: rnd.IntN(3) == 0,
			Delay: time.Duration(rnd.IntN(3000)) * time.Millisecond, Repeat: time.Duration(rnd.IntN(40000)) * time.Millisecond,
		}
	})
	s.opts.Timing.Batch = 2000
	stop := s.run()
	restore := func() {}
	roll := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	for range 60 {
		s.write(edge.Lanes[roll(2)], roll(100))
		switch roll(14) {
		case 6:
			if damage {
				s.journal.Damage()
			}
		case 0:
			s.link.Cut("cut")
		case 1, 2:
			s.link.Restore()
		case 3: // the hub restarts
			stop()
			stop = s.run()
		case 4:
			if !damage { // see the package comment: it looks back within an epoch only
				restore = s.cloud.Backup()
			}
		case 5:
			restore()
		}
		time.Sleep(time.Duration(roll(20000)) * time.Millisecond)
	}
	mu.Lock()
	calm = true
	mu.Unlock()
	s.link.Restore()
	wait(10 * time.Minute)
	s.complete()
	if len(s.conflicts) > 0 {
		t.Errorf("conflict: %v", s.conflicts)
	}
	if st := s.Status(); st.Backlog() != 0 || !st.UnsyncedSince.IsZero() || st.Reason != "" {
		t.Errorf("status at the end %+v", st)
	}
	stop()
	s.link.Close()
}
