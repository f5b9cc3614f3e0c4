package steer

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/headcount-hub/headcount/edge/gateway"
)

func TestCSVSaysEveryMistakeByLine(t *testing.T) {
	_, err := parseImport([]byte("kind,id,capacity,from,to\nroom,r1,x,,\nbox,b,,,\ndoor,d1,,hall,\nroom,R 1,,,\nroom,r2,3,hall,\n"), "text/csv")
	var p *gateway.Problem
	if !errors.As(err, &p) || p.Status != http.StatusUnprocessableEntity {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.Location+" "+e.Message)
	}
	for _, want := range []string{"line 2 capacity", "line 3 kind", "line 4 a door", "line 5 id", "line 6 from"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

func TestCSVThereAndBack(t *testing.T) {
	const file = "kind,id,name,parent,capacity,volume_m3,hours,from,to,class,profile,device,space,door,reversed,horizon\n" +
		"room,hall,Hall,,40,,Mon-Fri 07:00-19:00,,,,,,,,,\n" +
		"door,front,,,,,,outside,hall,,,,,,,\n" +
		"sensor,s1,,,,,,,,line-tof,,d/1,,front,true,2m\n"
	d, err := parseImport([]byte(file), "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.csv()
	if err != nil || string(b) != file {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestPatchWithdrawsASectionByNull(t *testing.T) {
	d := Document{Spaces: []Element{{"id": quote("a")}}, Doors: []Element{{"id": quote("b")}}}
	diff, err := d.patch([]byte(`{"spaces":null,"doors":[{"id":"c"}],"remove":{"doors":["b"]}}`), "")
	if err != nil || d.Spaces != nil || len(d.Doors) != 1 || len(diff.Removed) != 2 {
		t.Errorf("%v %+v %+v", err, d, diff)
	}
}

// Whatever is imported is a document that can be imported again and changes nothing then.
func FuzzImport(f *testing.F) {
	f.Add([]byte("kind,id,from,to\ndoor,d,a,b\n"), "text/csv")
	f.Add([]byte(`{"spaces":[{"id":"a","kind":"room"}],"remove":{"doors":["x"]}}`), "")
	f.Add([]byte("spaces:\n  - {id: a}\n"), "application/yaml")
	f.Add([]byte("a: &x [1]\nb: *x"), "application/yaml")
	f.Fuzz(func(t *testing.T, data []byte, contentType string) {
		over, err := parseImport(data, contentType)
		if err != nil {
			var p *gateway.Problem
			if !errors.As(err, &p) {
				t.Fatalf("the caller is not told: %v", err)
			}
			return
		}
		var d Document
		d.lay(over)
		text, err := d.text()
		if err != nil {
			return
		}
		var again Document
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		diff := again.lay(over)
		if second, err := again.text(); err != nil || string(second) != string(text) || len(diff.Added)+len(diff.Replaced)+len(diff.Removed) > 0 {
			t.Fatalf("laid again: %+v %v\n%s\n%s", diff, err, text, second)
		}
	})
}
