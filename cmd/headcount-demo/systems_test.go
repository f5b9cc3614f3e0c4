//go:build systems

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checkTime bounds one check; the longest runs a browser and several packages' tests.
const checkTime = 6 * time.Minute

// TestSystems runs every check of the folder systems with real clients against the demo, a cloud and a hub that
// systems/lab has started. It prints a line per check and succeeds when all of them work.
func TestSystems(t *testing.T) {
	if os.Getenv("LABHUB") == "" {
		t.Fatal("nothing is started; run: make systems")
	}
	all, works := checks(t), 0
	for _, c := range all {
		begun := time.Now()
		if reason := c.run(t.Context()); reason != "" {
			fmt.Printf("MISSING  %-18s %s\n", c.id, reason)
			t.Fail()
			continue
		}
		works++
		fmt.Printf("works    %-18s %s (%.1f s)\n", c.id, c.title, time.Since(begun).Seconds())
	}
	fmt.Printf("works %d of %d\n", works, len(all))
}

// run returns why the check does not work; empty = it does.
func (c check) run(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "bash", filepath.Join("systems", c.id+".sh"))
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return ""
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "not done within " + checkTime.String()
	}
	text := strings.TrimSpace(said.String())
	if _, reason, ok := strings.Cut(text, "MISSING: "); ok {
		return strings.TrimSpace(reason)
	}
	return err.Error() + ": " + strings.Join(strings.Fields(text[max(0, len(text)-800):]), " ")
}
