package drivers

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDecodeOptions(t *testing.T) {
	type options struct {
		Baud int `json:"baud"`
	}
	for in, want := range map[string]struct {
		baud int
		says string
	}{
		``:                      {7, ""},
		`{}`:                    {7, ""},
		`{"baud":9600}`:         {9600, ""},
		`{"boud":9600}`:         {7, `unknown option "boud"`},
		`{"baud":"fast"}`:       {7, "options: "},
		`{"baud":1} {"baud":2}`: {1, "more than one"},
	} {
		o := options{Baud: 7}
		err := DecodeOptions(json.RawMessage(in), &o)
		if o.Baud != want.baud || (err == nil) != (want.says == "") || (err != nil && !strings.Contains(err.Error(), want.says)) {
			t.Errorf("%s: baud %d, error %v; want %d, %q", in, o.Baud, err, want.baud, want.says)
		}
	}
}
