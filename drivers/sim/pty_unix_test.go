//go:build linux || darwin || freebsd || openbsd

package sim

import (
	"errors"
	"os"
	"testing"
	"time"
)

// A hub that restarts may never answer a line; the boards must not wait for ever.
func TestCableObeysDeadlines(t *testing.T) {
	c, err := OpenCable()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error, 1)
	if err := c.Device.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := c.Device.Read(make([]byte, 1))
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read ended with %v, want %v", err, os.ErrDeadlineExceeded)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a read did not end at its deadline")
	}
}
