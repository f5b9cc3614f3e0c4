package hub

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/headcount-hub/headcount/edge/api"
)

// notify tells the service manager a state, as sd_notify(3) does. Without a manager that
// listens it does nothing.
func notify(state string) {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}

// alive is a proof that the pipeline moves, and tells the service manager how the hub is, by the
// checks of /health. A hub that is degraded is alive: it keeps working from its own store.
func (h *Hub) alive(ctx context.Context) error {
	if err := h.engine.Ping(ctx); err != nil {
		return err
	}
	v := api.Judge(h.Status())
	line := v.Status
	for _, c := range v.Checks {
		if c.Status != api.Up {
			line += ", " + c.Name + " " + c.Status
		}
	}
	notify("STATUS=" + line)
	return nil
}

// watchdog feeds the service manager's watchdog as long as alive answers: a proof that the
// pipeline moves, not that a timer ticks. It returns when ctx ends.
func watchdog(ctx context.Context, alive func(context.Context) error) {
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return
	}
	every := time.Duration(usec) * time.Microsecond / 3
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		beat, cancel := context.WithTimeout(ctx, every)
		if alive(beat) == nil {
			notify("WATCHDOG=1")
		}
		cancel()
	}
}
