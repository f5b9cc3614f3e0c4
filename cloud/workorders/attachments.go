package workorders

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/headcount-hub/headcount/cloud/route"
	"github.com/headcount-hub/headcount/cloud/store"
	"github.com/headcount-hub/headcount/sync/token"
)

// FileState is what is known of an attachment's harmlessness.
type FileState string

// The states of an attachment. Only clean ones can be downloaded, and those not scanned because
// no scanner is configured.
const (
	Uploading  FileState = "uploading"
	Pending    FileState = "pending" // waits for the scanner
	Clean      FileState = "clean"
	Infected   FileState = "infected"    // its bytes were deleted
	Failed     FileState = "failed"      // the scanner could not say; scan it again by hand
	NotScanned FileState = "not_scanned" // no scanner is configured
)

// Attachment is a file of an order.
type Attachment struct {
	ID        string    `json:"id"`
	Order     string    `json:"order"`
	Name      string    `json:"name"`
	Declared  string    `json:"declared,omitempty"` // type as the uploader called it
	Type      string    `json:"type,omitempty"`     // by its first bytes
	Mismatch  bool      `json:"mismatch,omitempty"` // it is not what it was called
	Size      int64     `json:"size"`               // of the whole file; -1 = not known yet
	Offset    int64     `json:"offset"`             // bytes that have arrived
	SHA256    string    `json:"sha256,omitempty"`
	State     FileState `json:"state"`
	Reason    string    `json:"reason,omitempty"`  // what the scanner said
	Variants  []Variant `json:"variants"`          // made of it
	Remarks   []string  `json:"remarks,omitempty"` // why variants are missing
	By        string    `json:"by"`
	ByName    string    `json:"by_name"`
	CreatedAt time.Time `json:"created_at"`
	Attempts  int       `json:"attempts,omitempty"` // at scanning
}

// Variant is another form of an attachment.
type Variant struct {
	Name string `json:"name"` // thumbnail, webp, mp4
	Type string `json:"type"`
	Size int64  `json:"size"`
}

// uploadSlack is what multipart/form-data may add to a file.
const uploadSlack = 64 << 10

// files is the directory of attachments.
type files struct {
	dir       string
	maxSize   int64
	maxCount  int
	clamd     string
	converter string

	mu   *sync.Mutex // guards busy
	busy map[string]bool
}

func (m *Module) openFiles(ctx context.Context) (files, error) {
	f := files{dir: m.o.Dir, maxSize: m.o.Files.MaxSize, maxCount: m.o.Files.MaxCount, clamd: m.o.Files.Clamd, converter: m.o.Files.Converter, mu: &sync.Mutex{}, busy: map[string]bool{}}
	if f.maxSize == 0 {
		f.maxSize = 25 << 20
	}
	if f.maxCount == 0 {
		f.maxCount = 20
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return f, fmt.Errorf("directory of attachments: %w", err)
	}
	if _, _, err := clamdAddress(f.clamd); err != nil {
		return f, err
	}
	return f, m.requeue(ctx, f.clamd != "")
}

// requeue fits what waits to whether there is a scanner: with one, what came without is scanned
// now; without one, nothing waits for it.
func (m *Module) requeue(ctx context.Context, scanner bool) error {
	from, to := Pending, NotScanned
	if scanner {
		from, to = NotScanned, Pending
	}
	return m.db.Update(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(`SELECT doc FROM workorders_attachments WHERE state = ?`, string(from))
		list, err := store.Collect(rows, err, func(r *sql.Rows) (Attachment, error) { return decode[Attachment](r) })
		if err != nil {
			return err
		}
		for _, a := range list {
			a.State, a.Attempts = to, 0
			if err := putAttachment(tx, a, m.now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// path is where a file or a variant of it is; ids are ours, never a client's.
func (f *files) path(id, variant string) string {
	if variant != "" {
		id += "." + variant
	}
	return filepath.Join(f.dir, id)
}

var variantNames = []string{"part", "thumbnail", "webp", "mp4"}

func (f *files) remove(id string) {
	for _, v := range append([]string{""}, variantNames...) {
		_ = os.Remove(f.path(id, v)) // the sweep takes what stays
	}
}

// take makes sure that one request or job at a time works on a file.
func (f *files) take(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[id] {
		return false
	}
	f.busy[id] = true
	return true
}

func (f *files) free(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.busy, id)
}

// putAttachment writes an attachment; due is when its next job is to be done, zero = none.
func putAttachment(tx *store.Tx, a Attachment, due time.Time) error {
	doc, err := json.Marshal(a)
	if err != nil {
		return err
	}
	const upsert = `INSERT INTO workorders_attachments (id, workorder, state, due, doc) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, due = excluded.due, doc = excluded.doc`
	if err := tx.Exec(upsert, a.ID, a.Order, string(a.State), store.Millis(due), string(doc)); err != nil {
		return fmt.Errorf("store attachment: %w", err)
	}
	return nil
}

func (m *Module) attachments(ctx context.Context, order string) ([]Attachment, error) {
	rows, err := m.db.Query(ctx, `SELECT doc FROM workorders_attachments WHERE workorder = ? ORDER BY id`, order)
	list, err := store.Collect(rows, err, func(r *sql.Rows) (Attachment, error) { return decode[Attachment](r) })
	for i := range list {
		m.measure(&list[i])
	}
	return orEmpty(list), err
}

// measure tells how much of an upload is there.
func (m *Module) measure(a *Attachment) {
	if a.State != Uploading {
		return
	}
	if info, err := os.Stat(m.files.path(a.ID, "part")); err == nil {
		a.Offset = info.Size()
	}
}

func (m *Module) attachment(ctx context.Context, order, id string) (Attachment, error) {
	a, err := decode[Attachment](m.db.QueryRow(ctx, `SELECT doc FROM workorders_attachments WHERE id = ? AND workorder = ?`, id, order))
	m.measure(&a)
	return a, missing(err)
}

func (m *Module) deleteAttachment(r *route.Request, o Order) (any, error) {
	a, err := m.attachment(r.Context(), o.ID, r.PathValue("attachment"))
	if err != nil {
		return nil, err
	}
	by := actorOf(r, o.Domain)
	if a.By != by.id && r.Who.Role(o.Domain) < token.Manager {
		return nil, route.Problem(http.StatusForbidden, "it is somebody else's; a manager can delete it")
	}
	_, err = m.change(r.Context(), o.ID, 0, func(tx *store.Tx, o *Order) error {
		if err := tx.Exec(`DELETE FROM workorders_attachments WHERE id = ?`, a.ID); err != nil {
			return err
		}
		return m.record(tx, o, by, Step{What: "attachment_deleted", Why: a.Name}, nil)
	})
	if err == nil {
		m.files.remove(a.ID)
	}
	return nil, err
}

// serving makes a handler that streams bodies one that may return an error.
func (m *Module) serving(h func(http.ResponseWriter, *http.Request, Order) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r, route.Found(r.Context()).(Order)); err != nil {
			m.fail(w, r, err)
		}
	})
}

// download answers GET …/attachments/{attachment}/content. No browser shows it as a page of ours:
// it is an attachment, its type is not guessed, and it is sandboxed.
func (m *Module) download(w http.ResponseWriter, r *http.Request, o Order) error {
	a, err := m.attachment(r.Context(), o.ID, r.PathValue("attachment"))
	if err != nil {
		return err
	}
	if err := a.allowed(); err != nil {
		return err
	}
	kind, name := a.Type, a.Name
	variant := r.URL.Query().Get("variant")
	if variant != "" {
		kind = ""
		for _, v := range a.Variants {
			if v.Name == variant {
				kind, name = v.Type, a.Name+"."+v.Name
			}
		}
		if kind == "" {
			return route.Problem(http.StatusNotFound, "there is no variant %q of it", variant)
		}
	}
	f, err := os.Open(m.files.path(a.ID, variant))
	if err != nil {
		return fmt.Errorf("open attachment: %w", err)
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", disposition(name))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Etag", `"`+a.SHA256[:16]+variant+`"`)
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // a large file over a slow line; TCP ends dead ones
	http.ServeContent(w, r, "", a.CreatedAt, f)
	return nil
}

// disposition offers a file under its name; foreign characters are percent-encoded (RFC 6266).
func disposition(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if strings.IndexByte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return "attachment; filename*=UTF-8''" + b.String()
}

// allowed tells whether it may be handed out.
func (a *Attachment) allowed() error {
	switch a.State {
	case Clean, NotScanned:
		return nil
	case Infected:
		return route.Problem(http.StatusForbidden, "the scanner found %s in it; its bytes were deleted", a.Reason)
	case Failed:
		return route.Problem(http.StatusConflict, "it could not be scanned (%s); a manager can have it scanned again", a.Reason)
	case Uploading:
		return route.Problem(http.StatusConflict, "only %d of %d bytes have arrived", a.Offset, a.Size)
	}
	return route.Problem(http.StatusConflict, "it is not scanned yet; try again in a moment")
}

// sweep removes uploads that nobody has gone on with for a day, and files without a row.
func (m *Module) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(m.files.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, variant, _ := strings.Cut(e.Name(), ".")
		info, err := e.Info()
		if _, uerr := uuid.Parse(id); err != nil || uerr != nil || m.o.Now().Sub(info.ModTime()) < uploadLife || !m.files.take(id) {
			continue
		}
		err = m.sweepOne(ctx, id, variant)
		m.files.free(id)
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Module) sweepOne(ctx context.Context, id, variant string) error {
	a, err := decode[Attachment](m.db.QueryRow(ctx, `SELECT doc FROM workorders_attachments WHERE id = ?`, id))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil && a.State != Uploading && variant != "part" {
		return nil
	}
	if err == nil && a.State == Uploading {
		if err := m.db.Update(ctx, func(tx *store.Tx) error { return tx.Exec(`DELETE FROM workorders_attachments WHERE id = ?`, id) }); err != nil {
			return err
		}
	}
	return os.Remove(m.files.path(id, variant))
}

// hashFile reads a file once for its SHA-256 and its first bytes.
func hashFile(f io.Reader, h io.Writer) (head []byte, size int64, err error) {
	head = make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	head = head[:n]
	_, _ = h.Write(head) // hashes do not fail
	rest, err := io.Copy(h, f)
	return head, int64(n) + rest, err
}
