package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew")

// lint stands for the checks of drivers and expressions that the hub passes in.
func lint() Options {
	return Options{
		Builtin: []string{"over-capacity", "sensor-silent", "hub-not-synced"},
		CheckInput: func(driver string, options json.RawMessage) error {
			if driver == "brokr" {
				return errors.New(`unknown driver "brokr"; known drivers: broker, mqtt`)
			}
			if strings.Contains(string(options), "subscibe") {
				return errors.New(`unknown option "subscibe"`)
			}
			if strings.Contains(string(options), "1884") {
				return errors.New("input x: driver broker: listen :1884 is reachable from other machines")
			}
			return nil
		},
		CheckAlert: func(a Alert) error {
			if i := strings.Index(a.When, "cuont"); i >= 0 {
				return errors.Join(misspelt(i + 1))
			}
			return nil
		},
	}
}

// misspelt is an expression's mistake at a column.
type misspelt int

func (m misspelt) Error() string          { return "mistake" }
func (m misspelt) Where() (string, int)   { return "when", int(m) }
func (m misspelt) Problem() (_, _ string) { return `there is no "cuont"`, `did you mean "count"?` }

func TestEveryMistakeIsToldAtItsPlace(t *testing.T) {
	for _, name := range []string{"broken", "circle", "exposed", "unquoted"} {
		file := "testdata/" + name + ".yaml"
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(file, data, lint())
		var errs *Errors
		if !errors.As(err, &errs) {
			t.Fatalf("%s: got %v, want *Errors", file, err)
		}
		got := err.Error() + "\n"
		golden := "testdata/" + name + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", file, got, want)
		}
		pointsAtText(t, errs, strings.Split(string(data), "\n"))
	}
}

// pointsAtText checks that every place lies within the file.
func pointsAtText(t *testing.T, errs *Errors, lines []string) {
	t.Helper()
	for _, p := range errs.Problems {
		if p.Line < 1 || p.Line > len(lines) || p.Col < 1 || p.Col > len([]rune(lines[p.Line-1]))+1 {
			t.Errorf("%s: not a place in the file", fmt.Sprint(p))
		}
	}
}
