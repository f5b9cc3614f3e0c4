package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

// Inside a synctest bubble the wall clock starts in the year 2000: before the build, as on a
// board without a battery.
func TestBootInThePastRunsFromTheBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(time.Time{})
		if got := c.Now(); got.Before(Built) {
			t.Errorf("Now() = %v, want not before the build %v", got, Built)
		}
		if got := c.State(); got != Unsynced {
			t.Errorf("State() = %q, want %q", got, Unsynced)
		}
		before := c.Now()
		time.Sleep(time.Hour)
		if got := c.Now().Sub(before); got != time.Hour {
			t.Errorf("an hour later the clock moved %v", got)
		}
	})
}

func TestNeverBeforeTheStore(t *testing.T) {
	stored := time.Now().Add(48 * time.Hour)
	c := New(stored)
	if got := c.Now(); got.Before(stored.Truncate(time.Millisecond)) {
		t.Errorf("Now() = %v, want not before the store's newest %v", got, stored)
	}
	if got := c.State(); got != Unsynced {
		t.Errorf("State() = %q, want %q", got, Unsynced)
	}
}

func TestFollowsAGoodWallClock(t *testing.T) {
	c := New(time.Now().Add(-time.Hour))
	if got := time.Since(c.Now()).Abs(); got > time.Second {
		t.Errorf("clock is %v off the wall clock", got)
	}
	if got := c.State(); got != Synced {
		t.Errorf("State() = %q, want %q", got, Synced)
	}
}

func TestNeverBeforeTheStoreNotEvenWithinTheSlack(t *testing.T) {
	for _, ahead := range []time.Duration{time.Millisecond, time.Second, slack - time.Millisecond, slack + time.Second, time.Hour} {
		stored := time.Now().Add(ahead)
		c := New(stored)
		if now := c.Now(); now.Before(stored.Truncate(time.Millisecond)) {
			t.Errorf("%v ahead: the clock says %v, the store ends at %v", ahead, now, stored)
		}
		if got, want := c.State() == Unsynced, ahead > slack; got != want {
			t.Errorf("%v ahead: state %s", ahead, c.State())
		}
	}
}
