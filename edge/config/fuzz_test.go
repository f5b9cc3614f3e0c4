package config

import (
	"errors"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add(designYAML)
	f.Add(exampleYAML)
	f.Add([]byte("site: {id: \"${X}\"}\nspaces: [&a {id: b}, *a]"))
	f.Add([]byte("a: |\n  b\n? c\n: d\n--- \n..."))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data, Options{Env: []string{"X=1", "HEADCOUNT__SITE__NAME=n"}})
		var errs *Errors
		switch {
		case err == nil && c == nil, err != nil && !errors.As(err, &errs):
			t.Fatalf("got %v, %v", c, err)
		case err != nil && len(errs.Problems) == 0:
			t.Fatal("an error without a problem")
		case err != nil:
			return
		}
		// What is accepted is accepted again as it is shown, and means the same.
		again, err := Parse("f", c.tree.appendJSON(nil), Options{})
		if err != nil || again.Hash != c.Hash {
			t.Fatalf("shown as\n%s\ngives %v", c.Show(), err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"2m", "30d", "1h30m", "1.5h", "", "m", "1", "9999999999w", "1e3s", ".5s", "1..2s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil && (d < 0 || d > maxDuration) {
			t.Errorf("%q is %v", s, d)
		}
		if n, err := ParseSize(s); err == nil && n < 0 {
			t.Errorf("%q is %d bytes", s, n)
		}
	})
}

func TestDurationsAndSizes(t *testing.T) {
	for in, want := range map[string]time.Duration{"500ms": 500 * time.Millisecond, "90s": 90 * time.Second, "2m": 2 * time.Minute, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, "2w": 336 * time.Hour, "1.5h": 90 * time.Minute, "0s": 0} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "5", "m", "-1s", "1 s", "1S", "2min", "1s2", ".5s", "1.2.3s", "101000d"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q: got %v, want an error", in, got)
		}
	}
	for in, want := range map[string]int64{"4GiB": 4 << 30, "4GB": 4e9, "512MiB": 512 << 20, "1.5KiB": 1536, "10B": 10} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "4", "4G", "4 GiB", "-1B", "9999999TiB", "GiB", ".5GiB"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q: got %d, want an error", in, got)
		}
	}
}
