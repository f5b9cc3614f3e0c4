package payload

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckJSON(t *testing.T) {
	for in, says := range map[string]string{
		`{}`: "", `[]`: "", `null`: "", ` true `: "", `"x"`: "", `-0.5e-3`: "",
		`{"a":1,"A":2}`:             "",
		`{"a":{"b":1},"c":{"b":2}}`: "",
		`{"a":"\ud83d\ude00é"}`:     "",
		"":                          "empty",
		`{"a":1,"a":2}`:             "stands twice",
		`{"a":1,"b":{"c":1,"c":1}}`: "stands twice",
		`{"a":1,"\u0061":2}`:        "stands twice",
		`{"a":1} x`:                 "data after the end",
		`{"a":1}{"a":1}`:            "data after the end",
		`{"a":1,}`:                  "no key",
		`[1,]`:                      "no JSON value",
		`{"a"}`:                     "no colon",
		`{a:1}`:                     "no key",
		`{"a":1`:                    "ends within",
		`{"a":`:                     "ends where a value",
		`[1 2]`:                     "no comma",
		`nul`:                       "no JSON value",
		`NaN`:                       "no JSON value",
		`Infinity`:                  "no JSON value",
		`+1`:                        "no JSON value",
		`01`:                        "leading zero",
		`1.`:                        "decimal point",
		`1e`:                        "exponent",
		`1e400`:                     "out of range",
		`-1e999`:                    "out of range",
		strings.Repeat("9", 60):     "more than 40 characters",
		"\"\xff\"":                  "not UTF-8",
		"{\"\xc3\x28\":1}":          "not UTF-8",
		"\"a\nb\"":                  "control character",
		`"\x"`:                      "unknown escape",
		`"\u12"`:                    "four hex digits",
		`"\ud800"`:                  "surrogate",
		`"\ude00\ud83d"`:            "surrogate",
		`"abc`:                      "ends within a string",
		`"abc\`:                     "ends within a string",
		strings.Repeat("[", 32) + strings.Repeat("]", 32): "",
		strings.Repeat("[", 33) + strings.Repeat("]", 33): "nested deeper than 32",
		strings.Repeat("[", 200_000):                      "nested deeper",
		`[` + strings.Repeat("1,", 30_000) + `1]`:         "more than 20000",
		strings.Repeat(" ", maxSize) + "1":                "at most 262144",
	} {
		err := CheckJSON([]byte(in), Limits{})
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: %v, want %q", in, err, says)
		}
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%.60s: %T is no *Error", in, err)
		}
	}
}

func TestCheckJSONFindsLateDuplicateAmongMany(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"k0":0`)
	for i := 1; i < 5000; i++ {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	if err := CheckJSON([]byte(b.String()+"}"), Limits{}); err != nil {
		t.Errorf("all keys differ: %v", err)
	}
	if err := CheckJSON([]byte(b.String()+`,"k17":1}`), Limits{}); err == nil || !strings.Contains(err.Error(), `"k17"`) {
		t.Errorf("k17 stands twice: %v", err)
	}
}

func TestJSONValues(t *testing.T) {
	d, err := ParseJSON([]byte(`{"a":{"b":[1,-2.5e1,"x\n\u00e9",true,null]},"c\u0064":7}`), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free()
	b := d.Root().Get("a").Get("b")
	if x, ok := b.Index(1).Float(); !ok || x != -25 {
		t.Errorf("number: %v %v", x, ok)
	}
	if s := b.Index(2).Text(); s != "x\né" {
		t.Errorf("text: %q", s)
	}
	if !b.Index(3).True() || b.Index(4).Type() != Null || b.Index(5).Type() != None || b.Len() != 5 {
		t.Error("true, null, beyond the end, length")
	}
	if x, _ := d.Root().Get("cd").Float(); x != 7 {
		t.Errorf("key with an escape: %v", x)
	}
	if d.Root().Get("nope").Get("x").Index(1).Type() != None {
		t.Error("a path into nothing is not None")
	}
	keys := ""
	for c := range d.Root().Children() {
		keys += c.Key() + " "
	}
	if keys != "a cd " {
		t.Errorf("keys %q", keys)
	}
}

// FuzzCheckJSON: what passes is JSON for the standard library too and has the same value; what
// the standard library refuses does not pass.
func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[1,{"b":[true,null,"\u00e9"]}]`, `1e5`, `"\ud83d\ude00"`, `{"a":1,"a":2}`, `[1,]`, "\"\xff\"", `{"":{"":0}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseJSON(b, Limits{})
		if err != nil {
			return
		}
		defer d.Free()
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("%q passed, but is not JSON", b)
		}
		var want any
		if json.Unmarshal(b, &want) != nil {
			return
		}
		if got := plainValue(d.Root()); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: read as %v, want %v", b, got, want)
		}
	})
}

func plainValue(v Value) any {
	switch v.Type() {
	case Object:
		m := map[string]any{}
		for c := range v.Children() {
			m[c.Key()] = plainValue(c)
		}
		return m
	case Array:
		a := []any{}
		for c := range v.Children() {
			a = append(a, plainValue(c))
		}
		return a
	case String:
		return v.Text()
	case Number:
		x, _ := v.Float()
		return x
	case Bool:
		return v.True()
	}
	return nil
}

func BenchmarkCheckJSON(b *testing.B) {
	msg := []byte(`{"sensor":"door-7","ts":1763700000123,"count_in":103,"count_out":98}`)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckJSON(msg, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
