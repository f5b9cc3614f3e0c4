package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge/api"
)

// TestBackupIsRestored backs a hub up while it takes readings, lets it go on, and puts the backup back:
// everything accepted before the backup is there, and a new epoch begins.
func TestBackupIsRestored(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office})
	hub := start(t, nil)
	hub.settled()
	for n := range 50 {
		hub.post(fmt.Sprintf(`{"sensor":"door-7","count_in":%d,"count_out":0,"seq":%d}`, n, n))
	}
	hub.ask("backup", "store.backup").is(exitOK, "wrote store.backup")
	hub.ask("backup", "store.backup").is(exitFailure, "exists")
	if info, err := os.Stat("store.backup"); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the backup: %v %v, want mode 0600", info, err)
	}
	for n := 50; n < 80; n++ {
		hub.post(fmt.Sprintf(`{"sensor":"door-7","count_in":%d,"count_out":0,"seq":%d}`, n, n))
	}
	var before api.Status
	hub.ask("status", "--json").is(exitOK).json(&before)
	headcount(t, "restore", "store.backup").is(exitFailure, "stop it first")
	hub.stop()

	headcount(t, "restore", "store.backup").is(exitOK, "restored office", "before-restore-")
	if n := readingsOf(t); n != 50 {
		t.Errorf("%d readings of door-7 are in the restored store, want the 50 that were accepted before the backup", n)
	}
	again := start(t, nil)
	again.settled()
	var after api.Status
	again.ask("status", "--json").json(&after)
	if after.Epoch == before.Epoch || after.Epoch == "" {
		t.Errorf("epoch %s after the restore, %s before: want a new one", after.Epoch, before.Epoch)
	}
	again.post(`{"sensor":"door-7","count_in":90,"count_out":0,"seq":90}`)
	again.stop()
	headcount(t, "journal", "verify").is(exitOK, "byte for byte")
	headcount(t, "backup", "stopped.backup").is(exitOK, "wrote stopped.backup")
}

// readingsOf counts the readings of door-7 in the store of the stopped hub.
func readingsOf(t *testing.T) (n int) {
	t.Helper()
	for line := range strings.Lines(headcount(t, "journal", "export").is(exitOK).out) {
		var r struct{ Data json.RawMessage }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		var rs []struct{ Sensor string }
		if json.Unmarshal(r.Data, &rs) == nil {
			for _, x := range rs {
				if x.Sensor == "door-7" {
					n++
				}
			}
		}
	}
	return n
}

func TestRestoreRefusesWhatIsNotWhole(t *testing.T) {
	inDir(t, map[string]string{"headcount.yaml": office, "junk": "this is no backup"})
	hub := start(t, nil)
	hub.settled()
	hub.post(`{"sensor":"seats","count_abs":2}`)
	hub.ask("backup", "store.backup").is(exitOK)
	hub.stop()
	whole, err := os.ReadFile("store.backup")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("cut", whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"junk", "cut"} {
		headcount(t, "restore", file).is(exitFailure, "not whole")
	}
	headcount(t, "restore", "missing").is(exitFailure, "missing")
	other := strings.Replace(office, "id: office", "id: elsewhere", 1)
	if err := os.WriteFile("other.yaml", []byte(other+"storage: {dir: other}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	headcount(t, "restore", "store.backup", "--config", "other.yaml").is(exitFailure, `"office"`, `"elsewhere"`)
	if left, _ := filepath.Glob("headcount-data/*restore*"); len(left) > 0 {
		t.Errorf("refused restores leave %v behind", left)
	}
	headcount(t, "journal", "verify").is(exitOK)
}
