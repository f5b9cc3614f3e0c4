package drivers

import (
	"slices"
	"testing"

	"github.com/headcount-hub/headcount/edge"
)

func TestJoinRejections(t *testing.T) {
	in := []edge.Rejection{
		{Device: "a", Cause: "x", Detail: "old"}, {Device: "b", Cause: "x"},
		{Device: "a", Cause: "x", Detail: "new", Count: 3}, {Device: "a", Cause: "y"},
	}
	want := []edge.Rejection{{Device: "a", Cause: "x", Detail: "new", Count: 4}, {Device: "b", Cause: "x"}, {Device: "a", Cause: "y"}}
	if got := JoinRejections(in); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
