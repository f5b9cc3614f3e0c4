package config

import (
	_ "embed"
	"testing"
)

//go:embed testdata/design.yaml
var designYAML []byte

func TestTheDesignsExampleLoadsVerbatim(t *testing.T) {
	c, err := Parse("headcount.yaml", designYAML, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	t.Logf("%s", c.Show())
	for _, in := range c.Inputs {
		t.Logf("%s %s %s %s", in.ID, in.Driver, in.Options, in.Pos)
	}
	for _, e := range c.Explain("") {
		t.Logf("%+v", e)
	}
}
