//go:build integration

package workorders

import (
	"bytes"
	"image"
	"os/exec"
	"testing"
)

func TestIntegrationWebPByTheRealTool(t *testing.T) {
	if _, err := exec.LookPath("cwebp"); err != nil {
		t.Fatal("cwebp is not installed; run .ci/tools, or: apt-get install webp")
	}
	r := newRig(t)
	v := r.order()
	a := r.upload(v, "a.png", picture(500, 300))
	r.treat(0)
	var got []byte
	r.call("vera", "GET", r.content(v, a)+"?variant=webp", nil, 200, &got)
	p, format, err := image.Decode(bytes.NewReader(got))
	if err != nil || format != "webp" || p.Bounds().Dx() != 500 {
		t.Errorf("got %s (%v), want a WebP of 500 pixels: %+v", format, err, r.look(v, a.ID))
	}
}
