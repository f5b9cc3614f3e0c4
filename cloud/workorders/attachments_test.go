package workorders

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// eicar is the test file that every scanner finds, put together so that none finds it here.
var eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-` + `STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`

// clamd speaks clamd's protocol over TCP: it finds the EICAR file in what it is streamed.
type clamd struct {
	address string
	sick    atomic.Bool  // answers with an error
	limit   atomic.Int64 // StreamMaxLength; 0 = none
	scans   atomic.Int64
}

func newClamd(t *testing.T) *clamd {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	c := &clamd{address: "tcp://" + ln.Addr().String()}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go c.serve(conn)
		}
	}()
	return c
}

func (c *clamd) serve(conn net.Conn) {
	defer conn.Close()
	c.scans.Add(1)
	command := make([]byte, 10)
	if _, err := io.ReadFull(conn, command); err != nil || string(command) != "zINSTREAM\x00" {
		fmt.Fprint(conn, "UNKNOWN COMMAND\x00")
		return
	}
	var file []byte
	for {
		var size uint32
		if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
			return
		}
		if size == 0 {
			break
		}
		piece := make([]byte, size)
		if _, err := io.ReadFull(conn, piece); err != nil {
			return
		}
		file = append(file, piece...)
		if limit := c.limit.Load(); limit > 0 && int64(len(file)) > limit {
			fmt.Fprint(conn, "INSTREAM size limit exceeded. ERROR\x00")
			return
		}
	}
	switch {
	case c.sick.Load():
		fmt.Fprint(conn, "Can't allocate memory ERROR\x00")
	case bytes.Contains(file, []byte(eicar)):
		fmt.Fprint(conn, "stream: Eicar-Test-Signature FOUND\x00")
	default:
		fmt.Fprint(conn, "stream: OK\x00")
	}
}

// upload sends a raw body as ole.
func (r *rig) upload(v View, name string, body []byte) (a Attachment) {
	r.t.Helper()
	r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/attachments?name="+name, body, 201, &a)
	return a
}

func (r *rig) content(v View, a Attachment) string {
	return "/v1/work-orders/" + v.ID + "/attachments/" + a.ID + "/content"
}

// look reads an attachment from the list.
func (r *rig) look(v View, id string) Attachment {
	r.t.Helper()
	var list struct{ Attachments []Attachment }
	r.call("vera", "GET", "/v1/work-orders/"+v.ID+"/attachments", nil, 200, &list)
	for _, a := range list.Attachments {
		if a.ID == id {
			return a
		}
	}
	r.t.Fatalf("attachment %s is not in %+v", id, list)
	return Attachment{}
}

// treat does what is due.
func (r *rig) treat(d time.Duration) {
	r.t.Helper()
	r.pass(d)
	_, err := r.m.treatDue(r.t.Context())
	must(r.t, err)
}

func picture(w, h int) []byte {
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	for x := range w {
		p.Set(x, x%h, color.RGBA{200, 30, 30, 255})
	}
	var b bytes.Buffer
	_ = png.Encode(&b, p)
	return b.Bytes()
}

func TestInfectedFilesAreRefusedAndCleanOnesHandedOut(t *testing.T) {
	c := newClamd(t)
	r := newRig(t, func(o *Options) { o.Files.Clamd = c.address })
	v := r.order()
	clean, bad := r.upload(v, "plan.txt", []byte("the floor plan")), r.upload(v, "invoice.pdf", []byte("%PDF-1.7 "+eicar))
	if clean.State != Pending {
		t.Errorf("state is %s, want pending", clean.State)
	}
	r.call("vera", "GET", r.content(v, clean), nil, 409, nil)
	r.treat(0)
	var got []byte
	h := r.call("vera", "GET", r.content(v, clean), nil, 200, &got)
	if string(got) != "the floor plan" {
		t.Errorf("got %q", got)
	}
	for name, want := range map[string]string{
		"Content-Disposition": "attachment; filename*=UTF-8''plan.txt", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "sandbox; default-src 'none'", "Content-Type": "text/plain",
	} {
		if h.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, h.Get(name), want)
		}
	}
	if a := r.look(v, bad.ID); a.State != Infected || a.Reason != "Eicar-Test-Signature" {
		t.Errorf("attachment is %+v, want infected", a)
	}
	r.call("vera", "GET", r.content(v, bad), nil, 403, nil)
	r.call("mia", "POST", strings.TrimSuffix(r.content(v, bad), "content")+"scan", nil, 409, nil)
	if _, err := os.Stat(filepath.Join(r.dir, bad.ID)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the infected bytes are still there: %v", err)
	}
	if info, err := os.Stat(filepath.Join(r.dir, clean.ID)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v (%v), want 0600", info.Mode(), err)
	}
	if told := r.told("infected"); len(told) != 1 || told[0].User != "ole" {
		t.Errorf("told %+v, want who uploaded it", told)
	}
}

func TestAScannerThatIsAwayIsAskedAgain(t *testing.T) {
	c := newClamd(t)
	c.sick.Store(true)
	r := newRig(t, func(o *Options) { o.Files.Clamd = c.address })
	v := r.order()
	a := r.upload(v, "x.txt", []byte("x"))
	r.treat(0)
	r.treat(firstRetry - time.Millisecond)
	if got := r.look(v, a.ID); got.State != Pending || got.Attempts != 1 || !strings.Contains(got.Reason, "allocate") {
		t.Fatalf("attachment is %+v, want pending after one attempt", got)
	}
	for range maxAttempts {
		r.treat(2 * time.Hour)
	}
	if got := r.look(v, a.ID); got.State != Failed || c.scans.Load() != maxAttempts {
		t.Fatalf("attachment is %+v after %d scans, want failed after %d", got, c.scans.Load(), maxAttempts)
	}
	r.call("vera", "GET", r.content(v, a), nil, 409, nil)
	c.sick.Store(false)
	r.call("mia", "POST", strings.TrimSuffix(r.content(v, a), "content")+"scan", nil, 202, nil)
	r.treat(0)
	r.call("vera", "GET", r.content(v, a), nil, 200, nil)
	c.limit.Store(100_000)
	big := r.upload(v, "big.bin", make([]byte, 5<<20))
	r.treat(0)
	if got := r.look(v, big.ID); got.State != Pending || !strings.Contains(got.Reason, "size limit") {
		t.Errorf("attachment is %+v, want the scanner's own reason", got)
	}
}

func TestWithoutAScannerItSaysSo(t *testing.T) {
	r := newRig(t)
	v := r.order()
	a := r.upload(v, "x.txt", []byte("x "+eicar))
	if a.State != NotScanned {
		t.Errorf("state is %s, want not_scanned", a.State)
	}
	r.call("vera", "GET", r.content(v, a), nil, 200, nil)
	r.call("mia", "POST", strings.TrimSuffix(r.content(v, a), "content")+"scan", nil, 409, nil)
	r.m.Close()
	c := newClamd(t)
	r.open(func(o *Options) { o.Files.Clamd = c.address }) // the scanner comes later
	_, err := r.m.treatDue(t.Context())
	must(t, err)
	if got := r.look(v, a.ID); got.State != Infected {
		t.Errorf("attachment is %+v, want what came before scanned too", got)
	}
}

func TestABrokenUploadGoesOn(t *testing.T) {
	r := newRig(t)
	v := r.order()
	file := bytes.Repeat([]byte("0123456789"), 100_000)
	// A connection that breaks in the middle of the body.
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	must(t, err)
	fmt.Fprintf(conn, "POST /v1/work-orders/%s/attachments?name=film.bin HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ole\r\nContent-Length: %d\r\n\r\n", v.ID, len(file))
	_, err = conn.Write(file[:400_000])
	must(t, err)
	must(t, conn.Close())
	var a Attachment
	eventually(t, "what arrived is kept", func() bool {
		var list struct{ Attachments []Attachment }
		r.call("ole", "GET", "/v1/work-orders/"+v.ID+"/attachments", nil, 200, &list)
		if len(list.Attachments) == 1 {
			a = list.Attachments[0]
		}
		return a.Offset > 0 && r.m.files.take(a.ID)
	})
	r.m.files.free(a.ID)
	at := "/v1/work-orders/" + v.ID + "/attachments/" + a.ID
	offset, err := strconv.Atoi(r.call("ole", "HEAD", at, nil, 200, nil).Get("Upload-Offset"))
	must(t, err)
	r.call("vera", "GET", at+"/content", nil, 409, nil)
	r.call("ole", "PATCH", at, file, 409, nil, "Upload-Offset", "0")
	r.call("olga", "PATCH", at, file[offset:], 403, nil, "Upload-Offset", strconv.Itoa(offset))
	r.call("ole", "PATCH", at, file, 413, nil, "Upload-Offset", strconv.Itoa(offset))
	r.call("ole", "PATCH", at, file[offset:], 200, &a, "Upload-Offset", strconv.Itoa(offset))
	if sum := sha256.Sum256(file); offset == 0 || a.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("resumed at %d it is %+v, want the whole file", offset, a)
	}
}

func TestAnUploadInPieces(t *testing.T) {
	r := newRig(t)
	v := r.order()
	file := bytes.Repeat([]byte("0123456789"), 1000)
	var a Attachment
	path := "/v1/work-orders/" + v.ID + "/attachments"
	r.call("ole", "POST", path+"?name=a.txt", nil, 201, &a, "Upload-Length", "10000")
	if a.State != Uploading || a.Size != 10000 {
		t.Fatalf("attachment is %+v, want uploading", a)
	}
	at := path + "/" + a.ID
	for from := 0; from < len(file); from += 2500 {
		r.call("ole", "PATCH", at, file[from:from+2500], 200, &a, "Upload-Offset", strconv.Itoa(from))
	}
	sum := sha256.Sum256(file)
	if a.State != NotScanned || a.SHA256 != hex.EncodeToString(sum[:]) || a.Offset != 10000 {
		t.Errorf("attachment is %+v, want it whole", a)
	}
	var got []byte
	r.call("vera", "GET", at+"/content", nil, 206, &got, "Range", "bytes=5-9")
	if string(got) != "56789" {
		t.Errorf("range is %q", got)
	}
	r.call("ole", "PATCH", at, []byte("x"), 409, nil, "Upload-Offset", "10000")
	r.call("ole", "POST", path, nil, 400, nil, "Upload-Length", "-1")
	r.call("ole", "POST", path, nil, 413, nil, "Upload-Length", "99999999999")
}

func TestFormsAreTaken(t *testing.T) {
	r := newRig(t)
	v := r.order()
	path := "/v1/work-orders/" + v.ID + "/attachments"
	form := func(field string) (string, []byte) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		_ = w.WriteField("comment", "passed over")
		part, _ := w.CreateFormFile(field, `..\..\evil/../"photo".png`)
		_, _ = part.Write(picture(10, 10))
		w.Close()
		return w.FormDataContentType(), b.Bytes()
	}
	kind, body := form("file")
	var a Attachment
	r.call("ole", "POST", path, body, 201, &a, "Content-Type", kind)
	if a.Name != "photo.png" || a.Type != "image/png" {
		t.Errorf("attachment is %+v, want photo.png", a)
	}
	kind, body = form("photo")
	r.call("ole", "POST", path, body, 400, nil, "Content-Type", kind)
	kind, body = form("file")
	r.call("ole", "POST", path, body[:len(body)-60], 400, nil, "Content-Type", kind)
	r.call("ole", "POST", path, body, 400, nil, "Content-Type", "multipart/form-data")
	r.call("vera", "POST", path, body, 403, nil, "Content-Type", kind)
	left, err := os.ReadDir(r.dir)
	must(t, err)
	if len(left) != 1 {
		t.Errorf("files are %v, want only the whole one", left)
	}
}

func TestSizeAndCountAreBounded(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Files.MaxSize, o.Files.MaxCount = 1000, 2 })
	v := r.order()
	path := "/v1/work-orders/" + v.ID + "/attachments"
	r.call("ole", "POST", path, make([]byte, 1001), 413, nil)
	req, err := http.NewRequest("POST", r.url+path, io.MultiReader(bytes.NewReader(make([]byte, 1001)))) // its length is not said
	must(t, err)
	req.Header.Set("Authorization", "Bearer ole")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("got %d for a long body of unknown length, want 413", resp.StatusCode)
	}
	a := r.upload(v, "a", []byte("a"))
	r.upload(v, "b", []byte("b"))
	r.call("ole", "POST", path, []byte("c"), 409, nil)
	r.call("olga", "DELETE", path+"/"+a.ID, nil, 403, nil)
	r.call("ole", "DELETE", path+"/"+a.ID, nil, 204, nil)
	r.upload(v, "c", []byte("c"))
	if left, _ := os.ReadDir(r.dir); len(left) != 2 {
		t.Errorf("files are %v, want two", left)
	}
}

func TestAFileIsWhatItsBytesSay(t *testing.T) {
	r := newRig(t)
	v := r.order()
	for _, c := range []struct {
		name, body, kind string
		lies             bool
	}{
		{"photo.jpg", "<html><script>alert(1)</script>", "text/html", true},
		{"photo.jpg", string(picture(4, 4)), "image/png", true},
		{"notes.txt", "plain", "text/plain", false},
		{"notes.pdf", "plain", "text/plain", true},
		{"page.txt", "<svg onload=alert(1)>", "image/svg+xml", true},
		{"film.mov", "\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00", "video/quicktime", false},
		{"archive.docx", "PK\x03\x04rest", "application/zip", false},
	} {
		a := r.upload(v, c.name, []byte(c.body))
		if a.Type != c.kind || a.Mismatch != c.lies {
			t.Errorf("%s with %.12q is %s and mismatch %v, want %s and %v", c.name, c.body, a.Type, a.Mismatch, c.kind, c.lies)
		}
		if got := r.call("vera", "GET", r.content(v, a), nil, 200, nil).Get("Content-Security-Policy"); !strings.HasPrefix(got, "sandbox") {
			t.Errorf("%s is served with %q", c.name, got)
		}
	}
}

// bomb is a PNG that says it is as large as it can be.
func bomb() []byte {
	b := picture(1, 1)
	binary.BigEndian.PutUint32(b[16:], 60000)
	binary.BigEndian.PutUint32(b[20:], 60000)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

func TestThumbnailsAreMadeWithinBounds(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Files.Converter = t.TempDir() })
	v := r.order()
	wide, huge, broken := r.upload(v, "wide.png", picture(1000, 200)), r.upload(v, "huge.png", bomb()), r.upload(v, "broken.png", picture(50, 50)[:60])
	r.treat(0)
	a := r.look(v, wide.ID)
	if len(a.Variants) != 1 || a.Variants[0].Name != "thumbnail" || len(a.Remarks) != 1 || a.Remarks[0] != "webp: cwebp is not installed; the original is kept" {
		t.Fatalf("attachment is %+v, want a thumbnail and a remark about cwebp", a)
	}
	var thumb []byte
	r.call("vera", "GET", r.content(v, a)+"?variant=thumbnail", nil, 200, &thumb)
	p, err := jpeg.Decode(bytes.NewReader(thumb))
	must(t, err)
	if p.Bounds().Dx() != 320 || p.Bounds().Dy() != 64 {
		t.Errorf("thumbnail is %v, want 320 x 64", p.Bounds())
	}
	r.call("vera", "GET", r.content(v, a)+"?variant=webp", nil, 404, nil)
	if a = r.look(v, huge.ID); len(a.Variants) != 0 || !strings.Contains(a.Remarks[0], "60000 x 60000 pixels") {
		t.Errorf("bomb is %+v, want no thumbnail and why", a)
	}
	if a = r.look(v, broken.ID); len(a.Variants) != 0 || len(a.Remarks) == 0 {
		t.Errorf("broken picture is %+v, want no thumbnail and why", a)
	}
	r.call("vera", "GET", r.content(v, broken), nil, 200, nil)
}

// TestToolsRunWithinLimits runs small programs in the place of cwebp and ffmpeg: what is tested is
// how they are run.
func TestToolsRunWithinLimits(t *testing.T) {
	dir := t.TempDir()
	install := func(name, script string) {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o700))
	}
	install("cwebp", `test "$(ulimit -v)" = 2097152 && cp "$6" "$8"`)
	install("ffmpeg", `echo "no such codec" >&2; exit 1`)
	r := newRig(t, func(o *Options) { o.Files.Converter = dir })
	v := r.order()
	photo, film := r.upload(v, "a.png", picture(20, 20)), r.upload(v, "a.mov", []byte("\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00"))
	r.treat(0)
	if a := r.look(v, photo.ID); len(a.Variants) != 2 || a.Variants[1].Type != "image/webp" {
		t.Errorf("photo is %+v, want a thumbnail and WebP", a)
	}
	r.call("vera", "GET", r.content(v, photo)+"?variant=webp", nil, 200, nil)
	if a := r.look(v, film.ID); len(a.Variants) != 0 || !strings.Contains(a.Remarks[0], "no such codec") {
		t.Errorf("film is %+v, want the tool's reason", a)
	}
	install("slow", "exec tail -f /dev/null")
	if err := r.m.tool(t.Context(), 50*time.Millisecond, "slow"); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v, want it stopped", err)
	}
}

func TestOldPiecesAreSweptAway(t *testing.T) {
	r := newRig(t)
	v := r.order()
	var part Attachment
	r.call("ole", "POST", "/v1/work-orders/"+v.ID+"/attachments", []byte("xx"), 201, &part, "Upload-Length", "10")
	whole := r.upload(v, "a", []byte("a"))
	stray := filepath.Join(r.dir, newID())
	must(t, os.WriteFile(stray, nil, 0o600))
	r.pass(time.Since(start) + uploadLife + time.Hour) // file times are real
	must(t, r.m.sweep(t.Context()))
	left, err := os.ReadDir(r.dir)
	must(t, err)
	if len(left) != 1 || left[0].Name() != whole.ID {
		t.Errorf("files are %v, want the whole one", left)
	}
	var n int
	must(t, r.db.QueryRow(t.Context(), `SELECT count(*) FROM workorders_attachments`).Scan(&n))
	if n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestScanBelievesOnlyWhatItSent(t *testing.T) {
	for answer, want := range map[string]string{
		"stream: OK\x00": "", "stream: Bad.Thing FOUND\x00": "Bad.Thing", "stream: OK\n": "",
	} {
		if got, err := readVerdict(answer, nil); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", answer, got, err, want)
		}
	}
	for _, bad := range []string{"", "OK", "stream: ", "stream:  FOUND", "stream: X ERROR", "INSTREAM size limit exceeded. ERROR\x00"} {
		if _, err := readVerdict(bad, nil); err == nil {
			t.Errorf("%q was believed", bad)
		}
	}
	if _, err := readVerdict("stream: OK\x00", io.ErrShortWrite); err == nil {
		t.Error("half a file is clean")
	}
	for _, bad := range []string{"localhost:3310", "tcp://localhost", "unix:relative", "http://x:1"} {
		if CheckScanner(bad) == nil {
			t.Errorf("scanner %q was taken", bad)
		}
	}
	if _, err := scan(context.Background(), "unix:"+filepath.Join(t.TempDir(), "none"), strings.NewReader("x")); err == nil {
		t.Error("a scanner that is not there said clean")
	}
}

func FuzzReadVerdict(f *testing.F) {
	f.Add("stream: OK\x00")
	f.Add("stream: X FOUND\x00")
	f.Fuzz(func(t *testing.T, s string) {
		found, err := readVerdict(s, nil)
		if err == nil && found == "" && strings.TrimSpace(strings.TrimRight(s, "\x00\n")) != "stream: OK" {
			t.Errorf("%q is clean", s)
		}
	})
}

func FuzzCleanName(f *testing.F) {
	f.Add(`..\..\x`)
	f.Add("/etc/passwd")
	f.Fuzz(func(t *testing.T, s string) {
		got := cleanName(s)
		if got == "" || len(got) > maxWord || strings.ContainsAny(got, "/\\\x00\r\n\"") || got == "." || got == ".." {
			t.Errorf("%q became %q", s, got)
		}
		if h := disposition(got); strings.ContainsAny(h, "\r\n\"") {
			t.Errorf("header is %q", h)
		}
	})
}

func FuzzSniff(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x14ftypqt  "), "x.mov", "image/png")
	f.Fuzz(func(t *testing.T, head []byte, name, declared string) {
		if sniff(head) == "" {
			t.Errorf("%q has no type", head)
		}
		mismatch(declared, sniff(head), name)
	})
}
