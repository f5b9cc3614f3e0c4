package forward

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The examples are of AWS's own test suite for version 4 of its signatures.
func TestSignaturesAreThoseOfThePublishedExamples(t *testing.T) {
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		method, url, body string
		service           string
		header            map[string]string
		signed, want      string
	}{
		"get-vanilla": {
			"GET", "https://example.amazonaws.com/", "", "service", nil,
			"host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
		},
		"post-vanilla": {
			"POST", "https://example.amazonaws.com/", "", "service", nil,
			"host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
		},
		"post-x-www-form-urlencoded": {
			"POST", "https://example.amazonaws.com/", "Param1=value1", "service", map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
			"content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
		},
		"get-vanilla-query-order-key-case": {
			"GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1", "", "service", nil,
			"host;x-amz-date", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
		},
		"list users": {
			"GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "", "iam", map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
			"content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
		},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range c.header {
				req.Header.Set(k, v)
			}
			signer{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "", "us-east-1", c.service}.sign(req, []byte(c.body), at)
			want := "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/" + c.service + "/aws4_request, SignedHeaders=" + c.signed + ", Signature=" + c.want
			if got := req.Header.Get("Authorization"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func FuzzMoment(f *testing.F) {
	for _, s := range []string{`"12"`, `12`, `"2026-03-02T08:00:00Z"`, `{}`, `"-1"`, `1e9`, `null`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Moment
		if m.UnmarshalJSON(b) != nil {
			return
		}
		if event, at, err := m.read(); err != nil || event <= 0 && at.IsZero() {
			t.Errorf("%q was taken and is neither id nor time: %v", b, err)
		}
	})
}
