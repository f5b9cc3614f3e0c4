package catalog

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/drivers"
)

// Every driver refuses an option it does not know, and the catalog says which drivers exist.
func TestAll(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name := range All() {
		_, err := All().New(name, drivers.Config{ID: "in", StateDir: t.TempDir(), Options: json.RawMessage(`{"no_such_option":1}`)}, log)
		if err == nil || !strings.Contains(err.Error(), "no_such_option") {
			t.Errorf("%s: unknown option: %v, want an error that names it", name, err)
		}
	}
	if _, err := All().New("brokr", drivers.Config{ID: "in"}, log); err == nil || !strings.Contains(err.Error(), "broker") {
		t.Errorf("unknown driver: %v, want the known ones", err)
	}
}
