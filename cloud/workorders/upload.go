package workorders

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/edge/gateway"
	"github.com/headcount-hub/headcount/sync/token"
)

// The bounds of uploads.
const (
	uploadLife  = 24 * time.Hour   // how long the rest of one is waited for
	uploadPause = 30 * time.Second // between two pieces of one body
)

// incoming is a body on its way into a file.
type incoming struct {
	name, declared string
	size           int64 // -1 = not known
	body           io.Reader
}

// upload answers POST …/attachments: a file as the body, as the part "file" of a form, or with
// Upload-Length an upload in pieces, of which the body is the first.
func (m *Module) upload(w http.ResponseWriter, r *http.Request, o Order) error {
	in, err := m.incoming(w, r)
	if err != nil {
		return err
	}
	if in.size > m.files.maxSize {
		return m.tooLarge()
	}
	by := actor{id: token.From(r.Context()).Subject, name: token.From(r.Context()).Who()}
	a := Attachment{
		ID: newID(), Order: o.ID, Name: in.name, Declared: in.declared, Size: in.size, State: Uploading, Variants: []Variant{},
		By: by.id, ByName: by.name, CreatedAt: m.now(),
	}
	if err := m.admit(r.Context(), a); err != nil {
		return err
	}
	if !m.files.take(a.ID) {
		return route.Problem(http.StatusConflict, "somebody else is writing it")
	}
	defer m.files.free(a.ID)
	return m.receive(w, r, o, a, in.body, by)
}

// incoming finds the file in a request.
func (m *Module) incoming(w http.ResponseWriter, r *http.Request) (incoming, error) {
	body := &patient{r: r.Body, control: http.NewResponseController(w)}
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "multipart/form-data" {
		r.Body = io.NopCloser(body)
		return formFile(r, params["boundary"])
	}
	in := incoming{name: r.URL.Query().Get("name"), declared: kind, size: r.ContentLength, body: body}
	if length := r.Header.Get("Upload-Length"); length != "" {
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil || n < 0 {
			return in, route.Problem(http.StatusBadRequest, "Upload-Length %q: want the size of the whole file in bytes", length)
		}
		in.size = n
	}
	in.name = cleanName(in.name)
	return in, nil
}

// formFile finds the part "file"; what stands before it is passed over.
func formFile(r *http.Request, boundary string) (incoming, error) {
	form, err := r.MultipartReader()
	if err != nil || boundary == "" {
		return incoming{}, route.Problem(http.StatusBadRequest, "the form cannot be read; send multipart/form-data with a boundary")
	}
	for range maxList {
		part, err := form.NextPart()
		if err != nil {
			break
		}
		if part.FormName() == "file" {
			return incoming{name: cleanName(part.FileName()), declared: baseType(part.Header.Get("Content-Type")), size: -1, body: part}, nil
		}
	}
	return incoming{}, route.Problem(http.StatusBadRequest, `the form has no file; name its field "file"`)
}

func baseType(s string) string {
	kind, _, _ := mime.ParseMediaType(s)
	return kind
}

// cleanName keeps the last part of a file name, without what could mean something elsewhere.
func cleanName(s string) string {
	s = path.Base(strings.ReplaceAll(s, `\`, "/"))
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || strings.ContainsRune(`/"<>|:*?`+"\u202e\u202d\u2066\u2067\u2068", r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if s = strings.Trim(s, ". "); s == "" {
		return "file"
	}
	for len(s) > maxWord {
		s = strings.ToValidUTF8(s[:maxWord], "")
	}
	return s
}

// patient gives the client time for each piece of a body, so that a slow line works and a silent
// one ends.
type patient struct {
	r       io.Reader
	control *http.ResponseController
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(uploadPause)) // not every test server has deadlines
	_ = p.control.SetWriteDeadline(time.Now().Add(2 * uploadPause))
	return p.r.Read(b)
}

func (m *Module) tooLarge() error {
	return route.Problem(http.StatusRequestEntityTooLarge, "a file may have at most %d bytes", m.files.maxSize)
}

// admit stores the row of an upload that begins, within the order's count.
func (m *Module) admit(ctx context.Context, a Attachment) error {
	_, err := m.change(ctx, a.Order, 0, func(tx *store.Tx, o *Order) error {
		if o.State == Closed {
			return route.Problem(http.StatusConflict, "it is closed; reopen it first")
		}
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM workorders_attachments WHERE workorder = ?`, o.ID).Scan(&n); err != nil {
			return err
		}
		if n >= m.files.maxCount {
			return route.Problem(http.StatusConflict, "it has %d attachments already; delete one first", n)
		}
		return putAttachment(tx, a, time.Time{})
	})
	return err
}

// receive appends a body to an upload and completes it when all has arrived. What arrived of a
// body that broke off stays, to be gone on with.
func (m *Module) receive(w http.ResponseWriter, r *http.Request, o Order, a Attachment, body io.Reader, by actor) error {
	location := "/v1/work-orders/" + o.ID + "/attachments/" + a.ID
	w.Header().Set("Location", location)
	var err error
	if a.Offset, err = m.appendPart(a, body); err != nil {
		if a.Size < 0 || a.Offset == 0 {
			m.forget(r.Context(), a)
		}
		return err
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(a.Offset, 10))
	if a.Size < 0 {
		a.Size = a.Offset
	}
	status := http.StatusCreated
	if r.Method == http.MethodPatch {
		status = http.StatusOK
	}
	if a.Offset == a.Size {
		if a, err = m.complete(context.WithoutCancel(r.Context()), a, by); err != nil {
			return err
		}
	}
	gateway.WriteJSON(w, "application/json", status, a)
	return nil
}

// forget drops an upload that cannot be gone on with; the sweep would do so too.
func (m *Module) forget(ctx context.Context, a Attachment) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := m.db.Update(ctx, func(tx *store.Tx) error { return tx.Exec(`DELETE FROM workorders_attachments WHERE id = ?`, a.ID) })
	if err != nil {
		m.o.Log.Warn("broken upload not forgotten yet", "attachment", a.ID, "err", err)
		return
	}
	m.files.remove(a.ID)
}

// appendPart writes a body behind what has arrived and returns how much there is then, synced.
func (m *Module) appendPart(a Attachment, body io.Reader) (offset int64, err error) {
	f, err := os.OpenFile(m.files.path(a.ID, "part"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fmt.Errorf("write attachment: %w", err)
	}
	defer f.Close()
	most := a.Size
	if most < 0 {
		most = m.files.maxSize
	}
	n, err := io.Copy(f, io.LimitReader(body, most-a.Offset+1))
	offset = a.Offset + n
	if offset > most {
		return offset, m.overlong(a, f)
	}
	if err := f.Sync(); err != nil {
		return offset, fmt.Errorf("write attachment: %w", err)
	}
	if err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return offset, m.tooLarge()
		}
		return offset, fmt.Errorf("%w: %d of %d bytes have arrived: %w", errBroken, offset, a.Size, err)
	}
	return offset, nil
}

// errBroken says that a body ended too early; nobody reads the answer.
var errBroken = errors.New("upload broke off")

// overlong refuses a body that is longer than was said.
func (m *Module) overlong(a Attachment, f *os.File) error {
	if a.Size < 0 {
		return m.tooLarge()
	}
	if err := f.Truncate(a.Offset); err != nil {
		return fmt.Errorf("write attachment: %w", err)
	}
	return route.Problem(http.StatusRequestEntityTooLarge, "the file was said to have %d bytes; this is more", a.Size)
}

// complete makes an upload an attachment: its hash and type are found, and it gets its place.
func (m *Module) complete(ctx context.Context, a Attachment, by actor) (Attachment, error) {
	f, err := os.Open(m.files.path(a.ID, "part"))
	if err != nil {
		return a, fmt.Errorf("read attachment: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	head, _, err := hashFile(f, h)
	if err != nil {
		return a, fmt.Errorf("read attachment: %w", err)
	}
	a.SHA256, a.Type = hex.EncodeToString(h.Sum(nil)), sniff(head)
	a.Mismatch = mismatch(a.Declared, a.Type, a.Name)
	if err := os.Rename(m.files.path(a.ID, "part"), m.files.path(a.ID, "")); err != nil {
		return a, fmt.Errorf("write attachment: %w", err)
	}
	if err := syncDir(m.files.dir); err != nil {
		return a, fmt.Errorf("write attachment: %w", err)
	}
	a.State = NotScanned
	if m.files.clamd != "" {
		a.State = Pending
	}
	_, err = m.change(ctx, a.Order, 0, func(tx *store.Tx, o *Order) error {
		if err := putAttachment(tx, a, m.now()); err != nil {
			return err
		}
		return m.record(tx, o, by, Step{What: "attachment", Why: a.Name}, a)
	})
	return a, err
}

func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// uploadOffset answers HEAD …/attachments/{attachment}.
func (m *Module) uploadOffset(w http.ResponseWriter, r *http.Request, o Order) error {
	a, err := m.attachment(r.Context(), o.ID, r.PathValue("attachment"))
	if err != nil {
		return err
	}
	w.Header().Set("Upload-Offset", strconv.FormatInt(a.Offset, 10))
	w.Header().Set("Upload-Length", strconv.FormatInt(a.Size, 10))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	return nil
}

// resumeUpload answers PATCH …/attachments/{attachment}: the body goes on at Upload-Offset.
func (m *Module) resumeUpload(w http.ResponseWriter, r *http.Request, o Order) error {
	id := r.PathValue("attachment")
	if !m.files.take(id) {
		return route.Problem(http.StatusConflict, "another request is still writing it; ask for the offset again in a moment")
	}
	defer m.files.free(id)
	a, err := m.attachment(r.Context(), o.ID, id)
	if err != nil {
		return err
	}
	who := token.From(r.Context())
	offset, err := strconv.ParseInt(r.Header.Get("Upload-Offset"), 10, 64)
	switch {
	case a.By != who.Subject:
		return route.Problem(http.StatusForbidden, "it is somebody else's upload")
	case a.State != Uploading:
		return route.Problem(http.StatusConflict, "the upload is complete")
	case err != nil:
		return route.Problem(http.StatusBadRequest, "send Upload-Offset: %d", a.Offset)
	case offset != a.Offset:
		w.Header().Set("Upload-Offset", strconv.FormatInt(a.Offset, 10))
		return route.Problem(http.StatusConflict, "%d bytes have arrived; go on there", a.Offset)
	}
	body := &patient{r: r.Body, control: http.NewResponseController(w)}
	return m.receive(w, r, o, a, body, actor{id: who.Subject, name: who.Who()})
}
