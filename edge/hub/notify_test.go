package hub

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge"
	"github.com/headcount-hub/headcount/edge/engine"
	"github.com/headcount-hub/headcount/edge/journal"
)

// manager listens as systemd does.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

// next returns the next message that comes before the limit.
func next(t *testing.T, conn *net.UnixConn, limit time.Duration) (string, bool) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1024)
	n, err := conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n]), true
}

// TestWatchdogStarvesWhenTheEngineIsStuck runs a real engine whose goroutine is made to hang, as
// a commit on a dead disk does: the beats end, and come again when it goes on.
func TestWatchdogStarvesWhenTheEngineIsStuck(t *testing.T) {
	conn := manager(t)
	t.Setenv("WATCHDOG_USEC", "90000")
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), Source: "site", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var disk sync.Mutex // held: whatever the engine does next takes for ever
	e, err := engine.Open(engine.Options{
		Journal: j, Setup: engine.Setup{Hash: "x", Site: edge.Site{ID: "site", Timezone: "UTC"}}, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { disk.Lock(); defer disk.Unlock(); return time.Now() },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var failed atomic.Int64
	failures := make(chan struct{}, 100)
	var all sync.WaitGroup
	all.Go(func() { _ = e.Run(ctx) })
	all.Go(func() {
		watchdog(ctx, func(ctx context.Context) error {
			err := e.Ping(ctx)
			if err != nil {
				failed.Add(1)
				failures <- struct{}{}
			}
			return err
		})
	})
	t.Cleanup(func() { stop(); all.Wait(); j.Close() })

	if m, ok := next(t, conn, 10*time.Second); !ok || m != "WATCHDOG=1" {
		t.Fatalf("first message %q, want WATCHDOG=1", m)
	}
	disk.Lock()
	<-failures
	for ok := true; ok; { // beats that were sent before
		_, ok = next(t, conn, time.Millisecond)
	}
	for range 4 {
		<-failures
	}
	if m, ok := next(t, conn, time.Millisecond); ok {
		t.Errorf("%q although the engine is stuck", m)
	}
	disk.Unlock()
	if m, ok := next(t, conn, 10*time.Second); !ok || m != "WATCHDOG=1" {
		t.Errorf("after the engine went on: %q, want WATCHDOG=1", m)
	}
}

func TestNotifyWithoutAManagerDoesNothing(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	notify("READY=1")
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	notify("READY=1")
	t.Setenv("WATCHDOG_USEC", "")
	watchdog(t.Context(), func(context.Context) error { t.Error("asked without a watchdog"); return nil })
}
