package api_test

import (
	"os"
	"regexp"
	"testing"
)

// The table of docs/operations.md has every metric of a hub, and none that there is not: the
// dashboard's test relies on it.
func TestMetricsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"headcount_http_request_duration_seconds": true, "headcount_live_clients": true}
	for _, m := range regexp.MustCompile(`desc\("([a-z_]+)"`).FindAllSubmatch(src, -1) {
		names["headcount_"+string(m[1])] = true
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(headcount_[a-z_]+)`").FindAllSubmatch(doc, -1) {
		listed[string(m[1])] = true
	}
	for name := range names {
		if !listed[name] {
			t.Errorf("docs/operations.md does not list %s", name)
		}
	}
	for name := range listed {
		if !names[name] && name[:min(len(name), 16)] != "headcount_cloud_" {
			t.Errorf("docs/operations.md lists %s, which there is not", name)
		}
	}
}
