package serialport

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Reopen is how long Keep waits between two tries to open a port.
const Reopen = time.Second

// Keeper holds a port open as long as it can: the loop that every serial driver's Run is.
type Keeper struct {
	ID     Identity
	Mode   Mode
	Reopen time.Duration // 0 = the constant Reopen
}

// Keep opens the port and calls use with it; when use returns, the port is closed and opened
// again, until ctx ends; then it returns nil. The port is looked for anew each time, so it may come back
// under another number. status hears every change, with what to do when it is down. use should
// return when a Read or Write fails or ctx ends; the port is closed after it has returned.
func (k Keeper) Keep(ctx context.Context, status func(up bool, detail string), use func(ctx context.Context, p *Port) error) error {
	pause := k.Reopen
	if pause == 0 {
		pause = Reopen
	}
	for {
		err := k.once(ctx, status, use)
		if ctx.Err() != nil {
			return nil
		}
		status(false, err.Error())
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

func (k Keeper) once(ctx context.Context, status func(up bool, detail string), use func(ctx context.Context, p *Port) error) (err error) {
	p, err := Open(k.ID, k.Mode)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := p.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("close %s: %w", p.Path(), cerr))
		}
	}()
	status(true, p.Path())
	if err = use(ctx, p); err == nil {
		err = fmt.Errorf("%s: released by its driver", p.Path())
	}
	return err
}
