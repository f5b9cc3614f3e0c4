package hub

import (
	"testing"
	"time"

	"github.com/headcount-hub/headcount/edge/api"
)

func TestBacklogFollowsTheNewerMark(t *testing.T) {
	old := time.Unix(1_800_000_000, 0)
	stored := api.Lane{Head: 110, Mark: 90, BacklogRecords: 20, BacklogBytes: 4000, OldestUnsent: old}
	for name, c := range map[string]struct {
		mark uint64
		want api.Lane
	}{
		"all applied":               {110, api.Lane{Head: 110, Mark: 110}},
		"half applied":              {100, api.Lane{Head: 110, Mark: 100, BacklogRecords: 10, BacklogBytes: 2000, OldestUnsent: old}},
		"an older mark":             {80, stored},
		"newer than the head told":  {111, api.Lane{Head: 110, Mark: 110}},
		"of a lane not yet started": {0, stored},
	} {
		got := stored
		if advance(&got, c.mark); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}
